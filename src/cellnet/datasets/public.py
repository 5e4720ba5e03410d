"""What all published sets have in common: they are found below a folder, downloaded if asked, and read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cellnet.cards import DatasetCard, RemoteFile
from cellnet.datasets.base import CellDataset
from cellnet.datasets.folder import check_folder, read_class_folders, subfolders
from cellnet.datasets.sources import ImageSource
from cellnet.download import obtain
from cellnet.errors import DataError
from cellnet.labels import LabelSchema

DEPTH = 2
"""Levels below a folder that are searched: archives nest one or two roots."""


@dataclass
class Contents:
    """What a reader found: arguments of `CellDataset`, and further columns.

    Args:
        files: One file, or name, an image.
        targets: One label an image.
        groups: See `CellDataset`.
        parts: See `CellDataset`.
        images: See `CellDataset`.
        columns: Further columns by name, one entry an image; each becomes an attribute that follows every choice of
            images.
        left_out: Number of entries of the publisher's tables that are no images, for a reason that the class states.
    """

    files: Sequence[str | os.PathLike[str]]
    targets: ArrayLike
    groups: ArrayLike | None = None
    parts: Sequence[str | None] | None = None
    images: Tensor | ImageSource | None = None
    columns: dict[str, list[Any] | NDArray[Any]] = field(default_factory=dict)
    left_out: int = 0


class PublicDataset(CellDataset):
    """A published set of images.

    A subclass is one file: it declares ``card`` and ``schema`` and, unless the images lie in one folder a class, says
    in `missing` how to recognise its folder and in `read` what is in it. One with options has a constructor with
    these options that ends in `_fill`.

    Args:
        root: Folder that holds the data, up to two levels deeper; ``root/NAME`` is where a download puts them.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Files to leave out, see `CellDataset.exclude`.
        download: Fetch what is not there.

    Raises:
        DataError: The data are not there, cannot be had, or are not as they should be.
    """

    card: DatasetCard
    schema: ClassVar[LabelSchema]
    """The classes as the publisher names them."""
    left_out: int
    """Number of entries of the publisher's tables that are no images; the class says why."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Tensor], Any] | None = None,
        exclude: Iterable[str | os.PathLike[str]] = (),
        *,
        download: bool = False,
    ) -> None:
        if download:
            self.download(root, progress=True)
        self._fill(self.read(self.find(root)), transform, exclude)

    def _fill(
        self,
        found: Contents,
        transform: Callable[[Tensor], Any] | None,
        exclude: Iterable[str | os.PathLike[str]],
    ) -> None:
        """Take what `read` found: the last step of a constructor, also of a subclass's with options of its own."""
        super().__init__(
            found.files,
            found.targets,
            self.schema,
            images=found.images,
            groups=found.groups,
            parts=found.parts,
            transform=transform,
        )
        for name, column in found.columns.items():
            self._check_length(name, column)
            setattr(self, name, column)
        self._columns = (*self._columns, *found.columns)
        self.left_out = found.left_out
        self._drop(exclude)

    @classmethod
    def missing(cls, folder: Path) -> list[str]:
        """What ``folder`` lacks to be the one that `read` takes, in words; here, classes without a subfolder."""
        return missing_classes(folder, cls.schema)

    @classmethod
    def read(cls, folder: Path) -> Contents:
        """The images and their labels; here, all images in the subfolders, each named after a class."""
        return Contents(*read_classes(folder, cls.schema))

    @classmethod
    def find(cls, root: str | os.PathLike[str]) -> Path:
        """The folder that `read` takes, searched in ``root/NAME`` and ``root``, nearest first.

        Raises:
            DataError: It is not there; the message says what is missing and how to get it.
        """
        best, fewest = Path(root), ["the folder itself"]
        if Path(root).is_dir():
            fewest = cls.missing(Path(root))
            for folder in _nearest_first(Path(root) / cls.card.name, check_folder(root)):
                lacking = cls.missing(folder)
                if not lacking:
                    return folder
                if len(lacking) < len(fewest):
                    best, fewest = folder, lacking
        near = f" (nearest match: {best})" if best != Path(root) else ""
        raise DataError(
            f"{cls.card.title} is not in {root} or {DEPTH} levels below; missing: {', '.join(fewest)}{near}. "
            f"{cls._how_to_get()}"
        )

    @classmethod
    def remote_files(cls) -> tuple[RemoteFile, ...]:
        """The files that `download` fetches."""
        return cls.card.files

    @classmethod
    def download(cls, root: str | os.PathLike[str], *, progress: bool = False) -> Path:
        """Fetch and unpack the data into ``root/NAME``, unless they are below ``root`` already.

        Returns:
            The folder that `read` takes.

        Raises:
            DataError: A file cannot be had; the message says how to get it by hand.
        """
        try:
            return cls.find(root)
        except DataError:
            obtain(cls.remote_files(), Path(root) / cls.card.name, progress=progress)
            return cls.find(root)

    @classmethod
    def _how_to_get(cls) -> str:
        if any(file.urls for file in cls.remote_files()):
            return f"Run `cellnet download {cls.card.name}` or pass download=True; the source is {cls.card.source}."
        by_hand = " ".join(file.instructions for file in cls.remote_files())
        return f"Get the data from {cls.card.source} and give the folder that they unpack to. {by_hand}".rstrip()


def missing_names(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that ``folder`` has no entry of, in exactly this spelling on every file system."""
    try:
        present = {entry.name for entry in folder.iterdir()}
    except OSError:  # a folder that is closed to us, such as lost+found
        present = set()
    return [name for name in names if name not in present]


def missing_classes(folder: Path, schema: LabelSchema) -> list[str]:
    """The classes of ``schema`` that no subfolder of ``folder`` bears as name or synonym."""
    present = {schema.find(child.name) for child in _children(folder)}
    return [name for label, name in enumerate(schema.names) if label not in present]


def read_classes(folder: Path, schema: LabelSchema) -> tuple[list[Path], list[int]]:
    """Files and labels of the images in the subfolders of ``folder``, each named after a class.

    Raises:
        DataError: There is no class folder, or one without images.
        UnknownNameError: A subfolder is no class of ``schema``; the message lists the classes.
    """
    folders = subfolders(folder)
    if not folders:
        raise DataError(f"There is no class folder in {folder}; it needs {', '.join(schema.names)}.")
    return read_class_folders(folders, [schema.index(child.name) for child in folders])


def _nearest_first(*roots: Path) -> Iterator[Path]:
    """The folders and what is below them, level by level."""
    for root in roots:
        level = [root] if root.is_dir() else []
        for _ in range(DEPTH + 1):
            yield from level
            level = [child for folder in level for child in _children(folder)]


def _children(folder: Path) -> list[Path]:
    try:
        return subfolders(folder)
    except DataError:  # a folder that is closed to us, such as lost+found
        return []
