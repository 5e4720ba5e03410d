"""Images in one folder a class, the way most people keep them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from cellnet.cards import DatasetCard
from cellnet.datasets.base import CellDataset
from cellnet.errors import DataError
from cellnet.images import list_images
from cellnet.labels import LabelSchema


class CellFolder(CellDataset):
    """One subfolder a class, in alphabetical order, as torchvision's ``ImageFolder`` reads them.

    Hidden folders and ``__MACOSX`` are skipped; images may lie in deeper folders of a class.

    Args:
        root: Folder that holds the class folders.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Files to leave out, see `CellDataset.exclude`.
        labels: Schema that the folder names are looked up in, by name and synonym. None: the folder names are
            the classes.

    Raises:
        DataError: No such folder, no class folder in it, or a class folder without images.
        UnknownNameError: A folder that ``labels`` does not know.

    Example:
        >>> CellFolder("smears")
        Traceback (most recent call last):
        cellnet.errors.DataError: No such folder: smears; give the folder that holds one subfolder a class.
    """

    card = DatasetCard("folder", "Folder of images", "Images in one subfolder a class.")

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Tensor], Any] | None = None,
        exclude: Iterable[str | os.PathLike[str]] = (),
        labels: LabelSchema | None = None,
    ) -> None:
        root = check_folder(root)
        folders = subfolders(root)
        if not folders:
            raise DataError(
                f"There is no class folder in {root}; put the images of each class into a subfolder "
                "that bears its name, or use model.predict for images without classes."
            )
        if labels is None:
            labels = LabelSchema.from_names((folder.name for folder in folders), name=root.resolve().name)
            targets = list(range(len(folders)))
        else:
            targets = [labels.index(folder.name) for folder in folders]
        files, targets = read_class_folders(folders, targets)
        # Two laboratories' folders are two data sets: what a model learned from is kept by name.
        name = root.resolve().name or self.card.name
        card = dataclasses.replace(self.card, name=name, title=name)
        super().__init__(files, targets, labels, transform=transform, card=card)
        self._drop(exclude)


def check_folder(root: str | os.PathLike[str]) -> Path:
    """The folder as a path.

    Raises:
        DataError: It does not exist, or is a file.
    """
    path = Path(root)
    if not path.is_dir():
        reason = "It is a file, not a folder" if path.exists() else "No such folder"
        raise DataError(f"{reason}: {path}; give the folder that holds one subfolder a class.")
    return path


def subfolders(folder: Path) -> list[Path]:
    """Subfolders in alphabetical order, without hidden ones and what macOS adds to archives.

    Raises:
        DataError: The folder cannot be read.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"Cannot read the folder {folder}: {error.strerror}; check its permissions.") from error
    return [path for path in entries if path.name != "__MACOSX" and path.name[0] != "." and path.is_dir()]


def read_class_folders(folders: Sequence[Path], labels: Sequence[int]) -> tuple[list[Path], list[int]]:
    """Files and targets of the images in ``folders``, whose labels are ``labels``.

    Raises:
        DataError: A folder holds no image.
    """
    files: list[Path] = []
    targets: list[int] = []
    for folder, label in zip(folders, labels, strict=True):
        images = list_images(folder)
        files += images
        targets += [label] * len(images)
    return files, targets
