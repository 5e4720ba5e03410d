"""The Barcelona peripheral blood cell set (Acevedo et al. 2020)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cellnet.cards import DatasetCard
from cellnet.datasets.base import CellDataset
from cellnet.datasets.folder import check_folder, read_class_folders, subfolders
from cellnet.errors import DataError
from cellnet.labels import PBC_LABELS


class PBC(CellDataset):
    """Peripheral blood cells of the Hospital Clinic of Barcelona, eight classes, from a local folder.

    Reads the original layout, one folder a class, directly in ``root`` or up to two folders deeper, where the
    archive and its mirrors put it. Any number of images is accepted.

    Args:
        root: Folder that holds the eight class folders, or a folder above it.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Files to leave out, see `CellDataset.exclude`.

    Raises:
        DataError: The class folders are not there, or one of them holds no image.

    Source: Acevedo et al., Data in Brief 30 (2020) 105474, DOI 10.1016/j.dib.2020.105474.

    Example:
        >>> print(PBC.card.licence, PBC.card.doi)
        CC-BY-4.0 10.17632/snkd93bnjr.1
    """

    card = DatasetCard(
        name="pbc",
        title="PBC, Hospital Clinic of Barcelona",
        description="Single peripheral blood cells of healthy donors in eight classes, mostly 360×363 px.",
        source="https://doi.org/10.17632/snkd93bnjr.1",
        licence="CC-BY-4.0",
        citation=(
            "Acevedo A, Merino A, Alférez S, Molina Á, Boldú L, Rodellar J. A dataset for microscopic "
            "peripheral blood cell images for development of automatic recognition systems. "
            "Data in Brief 30 (2020) 105474. doi:10.1016/j.dib.2020.105474"
        ),
        doi="10.17632/snkd93bnjr.1",
        stain="May-Grünwald-Giemsa",
        scanner="CellaVision DM96",
        num_images=17_092,
        known_defects=(
            "17 groups of identical images; one of them carries two labels (EO_225902 = BNE_191112)",
            "no donor, slide or date of any image is known",
            "backgrounds carry some class signal",
            "neutrophil/.DS_169665.jpg is not an image",
        ),
    )

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Tensor], Any] | None = None,
        exclude: Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        folders = _find_class_folders(check_folder(root))
        files, targets = read_class_folders(folders, range(len(folders)))
        super().__init__(files, targets, PBC_LABELS, transform=transform)
        self._drop(exclude)

    @property
    def subtypes(self) -> NDArray[np.str_]:
        """Subtype of each image, the prefix of its file name.

        Within ig: MMY metamyelocyte, MY myelocyte, PMY promyelocyte, IG not specified; within neutrophil:
        SNE segmented, BNE band, NEUTROPHIL not specified. Other classes have one prefix.
        """
        return np.array([Path(file).stem.partition("_")[0] for file in self.files], np.str_)


def _find_class_folders(root: Path) -> list[Path]:
    """The eight class folders in label order, searched in ``root`` and two levels below, nearest first."""
    level, best, fewest = [root], root, list(PBC_LABELS.names)
    for _ in range(3):
        below: list[Path] = []
        for folder in level:
            try:
                children = subfolders(folder)
            except DataError:  # a folder that is closed to us, such as lost+found
                continue
            found = {child.name for child in children}
            missing = [name for name in PBC_LABELS.names if name not in found]
            if not missing:
                return [folder / name for name in PBC_LABELS.names]
            if len(missing) < len(fewest):
                best, fewest = folder, missing
            below += children
        level = below
    raise DataError(
        f"PBC needs eight class folders; missing: {', '.join(fewest)}. Looked in {root} and two levels below"
        f"{f' (nearest match: {best})' if best != root else ''}. "
        f"Get the data from {PBC.card.source} and give the folder that it unpacks to."
    )
