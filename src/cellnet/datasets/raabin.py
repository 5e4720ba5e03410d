"""Raabin-WBC: leukocytes photographed with smartphones (Mousavi Kouzehkanan et al. 2022)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellnet.cards import DatasetCard, RemoteFile
from cellnet.datasets.public import Contents, PublicDataset, missing_names, read_classes
from cellnet.labels import LEUKOCYTES

FOLDERS = {"Train": "train", "TestA": "test", "TestB": None}
"""The set's folders and the official part of the images in each."""

_URL = "https://dl.raabindata.com/WBC/Cropped_double_labeled/{}"
_PHOTOGRAPH = re.compile(r"(\d{8}_\d{6})_\d+")


class Raabin(PublicDataset):
    """Five leukocytes, cut out of photographs and labelled by two experts, with an official split.

    Layout: ``{Train,TestA,TestB}/<Class>/*.jpg``; TestB has neutrophils and lymphocytes alone, and any class may be
    absent from any folder. Train and TestA are the official parts ``train`` and ``test``; TestB is a second test in
    no part, told apart by the column ``source``. The paper says that two microscopes and two cameras were used; which
    took which folder could not be confirmed. Folder names, classes and addresses are confirmed in public code; the
    files were not at hand.

    A file name such as ``20190526_162951_0.jpg`` tells the moment of the photograph: ``groups`` keeps cells of one
    photograph together where names have this form, as they do in public code, and is None for the others.

    Args:
        root: Folder that holds Train, TestA and TestB, or a folder up to two levels above it.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Files to leave out, see `CellDataset.exclude`.
        download: Fetch the three archives if the folders are not there; two are RAR.

    Raises:
        DataError: A folder is not there or holds no image.
        UnknownNameError: A folder of another class.

    Source: Mousavi Kouzehkanan et al., Scientific Reports 12 (2022) 1123, DOI 10.1038/s41598-021-04426-x.

    Example:
        >>> Raabin.schema.names
        ('basophil', 'eosinophil', 'lymphocyte', 'monocyte', 'neutrophil')
    """

    card = DatasetCard(
        name="raabin",
        title="Raabin-WBC, double-labelled cropped cells",
        description="Leukocytes of five classes, cropped, with a second test folder of two classes.",
        source="https://raabindata.com/free-data/",
        licence="free for commercial and non-commercial use (the owner's words)",
        citation=(
            "Mousavi Kouzehkanan Z, Saghari S, Tavakoli S, Rostami P, Abaszadeh M, Mirzadeh F, et al. A large dataset "
            "of white blood cells containing cell locations and types, along with segmented nuclei and cytoplasm. "
            "Scientific Reports 12 (2022) 1123. doi:10.1038/s41598-021-04426-x"
        ),
        doi="10.1038/s41598-021-04426-x",
        stain="Giemsa",
        scanner="two microscopes, two smartphone cameras",
        num_images=16_633,
        known_defects=(
            "no donor or slide of any image is known; a file name may tell the photograph",
            "TestB holds neutrophils and lymphocytes only",
        ),
        files=tuple(
            RemoteFile(name, (_URL.format(name), _URL.format(name).replace("https", "http")))
            for name in ("Train.rar", "TestA.rar", "TestB.zip")
        ),
    )
    schema = LEUKOCYTES

    source: list[str]
    """Folder that each image comes from: Train, TestA or TestB."""

    def subgroups(self) -> dict[str, Sequence[Any]]:
        """The folder that each image comes from."""
        return {"source": self.source}

    @classmethod
    def missing(cls, folder: Path) -> list[str]:
        """Those of the three folders that are not there."""
        return missing_names(folder, FOLDERS)

    @classmethod
    def read(cls, folder: Path) -> Contents:
        """The images of the three folders."""
        files: list[Path] = []
        targets: list[int] = []
        source: list[str] = []
        for name in FOLDERS:
            found, labels = read_classes(folder / name, cls.schema)
            files += found
            targets += labels
            source += [name] * len(found)
        photographs = [match[1] if (match := _PHOTOGRAPH.fullmatch(file.stem)) else None for file in files]
        return Contents(
            files,
            targets,
            groups=np.array(photographs, object) if any(photographs) else None,
            parts=[FOLDERS[name] for name in source],
            columns={"source": source},
        )
