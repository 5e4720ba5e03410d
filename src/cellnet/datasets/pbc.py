"""The Barcelona peripheral blood cell set (Acevedo et al. 2020)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellnet.cards import DatasetCard, RemoteFile
from cellnet.datasets.folder import read_class_folders
from cellnet.datasets.public import Contents, PublicDataset, missing_names
from cellnet.labels import PBC_LABELS


class PBC(PublicDataset):
    """Peripheral blood cells of the Hospital Clinic of Barcelona, eight classes.

    Layout: one folder a class, ``<class>/<SUBTYPE>_<number>.jpg``, which the archive and its mirrors put one or two
    folders deep. Any number of images is accepted; further folders beside the eight are no classes. Confirmed on
    the real files; the address of the download is the one in use in public code and was not tried.

    Args:
        root: Folder that holds the eight class folders, or a folder up to two levels above it.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Files to leave out, see `CellDataset.exclude`.
        download: Fetch the archive if the folders are not there.

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
            "cells photographed twice, and neighbours of one field: `cellnet audit` finds 6 and 45 pairs of them among "
            "11,110 of the images",
            "no donor, slide or date of any image is known",
            "backgrounds carry some class signal",
            "neutrophil/.DS_169665.jpg is not an image",
        ),
        files=(
            RemoteFile(
                "snkd93bnjr-1.zip",
                (
                    "https://md-datasets-cache-zipfiles-prod.s3.eu-west-1.amazonaws.com/snkd93bnjr-1.zip",
                    "https://prod-dcd-datasets-cache-zipfiles.s3.eu-west-1.amazonaws.com/snkd93bnjr-1.zip",
                ),
                instructions="Press 'Download All' at https://data.mendeley.com/datasets/snkd93bnjr/1.",
            ),
        ),
    )
    schema = PBC_LABELS

    @classmethod
    def missing(cls, folder: Path) -> list[str]:
        """Class folders that are not there."""
        return missing_names(folder, cls.schema.names)

    @classmethod
    def read(cls, folder: Path) -> Contents:
        """All images of the class folders."""
        names = cls.schema.names
        return Contents(*read_class_folders([folder / name for name in names], range(len(names))))

    @property
    def subtypes(self) -> NDArray[np.str_]:
        """Subtype of each image, the prefix of its file name.

        Within ig: MMY metamyelocyte, MY myelocyte, PMY promyelocyte, IG not specified; within neutrophil:
        SNE segmented, BNE band, NEUTROPHIL not specified. Other classes have one prefix.
        """
        return np.array([Path(file).stem.partition("_")[0] for file in self.files], np.str_)
