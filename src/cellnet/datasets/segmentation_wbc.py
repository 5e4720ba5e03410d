"""segmentation_WBC: leukocytes with hand-drawn masks, from two laboratories (Zheng et al. 2018)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

from cellnet.cards import DatasetCard, RemoteFile
from cellnet.datasets.public import Contents, PublicDataset, missing_names
from cellnet.datasets.tables import read_table
from cellnet.errors import DataError, LabelError
from cellnet.labels import LEUKOCYTES

CODES = {"1": "neutrophil", "2": "lymphocyte", "3": "monocyte", "4": "eosinophil", "5": "basophil"}
"""Classes by the number that stands for them in the tables."""


class SegmentationWBC(PublicDataset):
    """What the two sets of segmentation_WBC have in common; `WBCJiangxi` and `WBCCellaVision` are the sets.

    Layout: ``Dataset N/NNN.bmp`` with its mask ``Dataset N/NNN.png``, and ``Class Labels of Dataset N.csv`` with an
    image number and a class from 1 to 5. Masks are grey images: nucleus white, cytoplasm grey, all else black. Layout,
    tables and the meaning of the numbers are confirmed in the publisher's repository; the images were not at hand.

    Args:
        root: Folder that holds the table and the folder of images, or a folder up to two levels above it.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Files to leave out, see `CellDataset.exclude`.
        download: Fetch the repository's archive if the set is not there.

    Raises:
        DataError: The set is not there, the table has other columns or a number twice, or an image is missing.
        LabelError: A class that is not 1 to 5.

    Source: Zheng et al., Micron 107 (2018) 55-71, DOI 10.1016/j.micron.2018.01.010.
    """

    schema = LEUKOCYTES
    number: ClassVar[int]
    label_column: ClassVar[str]

    masks: list[str | None]
    """Path of each image's mask, or None where there is none."""

    @classmethod
    def missing(cls, folder: Path) -> list[str]:
        """The folder of images or the table, if it is not there."""
        return missing_names(folder, (f"Dataset {cls.number}", f"Class Labels of Dataset {cls.number}.csv"))

    @classmethod
    def read(cls, folder: Path) -> Contents:
        """The images that the table names."""
        table = folder / f"Class Labels of Dataset {cls.number}.csv"
        files: list[Path] = []
        targets: list[int] = []
        for row in read_table(table, ("image ID", cls.label_column), key="image ID"):
            image, code = row["image ID"], row[cls.label_column]
            if code not in CODES:
                raise LabelError(f"{table} gives image {image} the class {code!r}; it must be 1 to 5.")
            files.append(folder / f"Dataset {cls.number}" / f"{image.zfill(3)}.bmp")
            targets.append(cls.schema.index(CODES[code]))
        absent = [file.name for file in files if not file.is_file()]
        if absent:
            raise DataError(
                f"{table} names {len(absent)} images that are not in {files[0].parent}, such as {absent[0]}; "
                "download the set again."
            )
        masks = [file.with_suffix(".png") for file in files]
        return Contents(files, targets, columns={"masks": [str(mask) if mask.is_file() else None for mask in masks]})


class WBCJiangxi(SegmentationWBC):
    """Dataset 1 of segmentation_WBC: 120×120 px, rapid stain, yellowish background; see `SegmentationWBC`.

    Example:
        >>> WBCJiangxi.card.licence, WBCJiangxi.card.num_images
        ('GPL-3.0', 300)
    """

    card = DatasetCard(
        name="wbc_jiangxi",
        title="segmentation_WBC, Dataset 1 (Jiangxi Tecom)",
        description="Leukocytes of five classes at 120×120 px, with masks of nucleus and cytoplasm.",
        source="https://github.com/zxaoyou/segmentation_WBC",
        licence="GPL-3.0",
        citation=(
            "Zheng X, Wang Y, Wang G, Liu J. Fast and robust segmentation of white blood cell images by "
            "self-supervised learning. Micron 107 (2018) 55-71. doi:10.1016/j.micron.2018.01.010"
        ),
        doi="10.1016/j.micron.2018.01.010",
        stain="a rapid stain of Jiangxi Tecom",
        scanner="Motic Moticam Pro 252A on an N800-D microscope",
        num_images=300,
        known_defects=(
            "the authors gave some of the labels themselves, unchecked by an expert",
            "one basophil only",
            "no donor or slide of any image is known",
        ),
        files=(
            RemoteFile(
                "segmentation_WBC-master.zip",
                ("https://github.com/zxaoyou/segmentation_WBC/archive/refs/heads/master.zip",),
            ),
        ),
    )
    number = 1
    label_column = "class label"


class WBCCellaVision(SegmentationWBC):
    """Dataset 2 of segmentation_WBC: 300×300 px, from the CellaVision blog, purple; see `SegmentationWBC`.

    Example:
        >>> WBCCellaVision.card.licence, WBCCellaVision.card.num_images
        ('GPL-3.0', 100)
    """

    card = dataclasses.replace(
        WBCJiangxi.card,
        name="wbc_cellavision",
        title="segmentation_WBC, Dataset 2 (CellaVision)",
        description="Leukocytes of five classes at 300×300 px, with masks of nucleus and cytoplasm.",
        stain="",
        scanner="CellaVision, model not stated",
        num_images=100,
        known_defects=(
            "the authors gave some of the labels themselves, unchecked by an expert",
            "three basophils only",
            "no donor or slide of any image is known",
        ),
    )
    number = 2
    label_column = "class"
