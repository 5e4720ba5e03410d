"""BCCD: photographs of blood smears with boxes around the cells, and a cleaned set of leukocytes cut out of them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from torch import Tensor

from cellnet.cards import DatasetCard, RemoteFile
from cellnet.datasets.columns import PARTS
from cellnet.datasets.public import Contents, PublicDataset, missing_classes, missing_names, read_classes
from cellnet.datasets.sources import ImageRegions
from cellnet.errors import ConfigError, DataError
from cellnet.labels import LEUKOCYTES, CellClass, LabelSchema
from cellnet.registry import unknown_name

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, right and bottom excluded."""

SMALLEST = 2
"""Side in pixels below which a box shows no cell."""


class BCCD(PublicDataset):
    """Red cells, white cells and platelets, cut out of photographs of 640×480 px along the publisher's boxes.

    Layout: Pascal VOC, ``JPEGImages/BloodImage_NNNNN.jpg``, ``Annotations/BloodImage_NNNNN.xml`` and
    ``ImageSets/Main/{train,val,test}.txt``. ``groups`` is the photograph, so that a split never divides one;
    ``parts`` are the lists of ``ImageSets``, as far as they are there. Boxes that show less than 2×2 px of the
    photograph are no images: ``left_out`` counts them (the publisher's issue 11 tells of one). Layout, lists, names
    and boxes are confirmed in the publisher's repository; the photographs were not at hand.

    Args:
        root: Folder that holds the three folders, or a folder up to two levels above it.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Names to leave out, see `CellDataset.exclude`.
        margin: What to add around a box, as a share of its width and height on each side.
        download: Fetch the archive if the folders are not there.

    Raises:
        ConfigError: A margin that is no number of at least 0.
        DataError: The folders are not there, an annotation cannot be read or is not safe, or its photograph is
            missing.
        UnknownNameError: A box of another class.

    Example:
        >>> BCCD.schema.names
        ('RBC', 'WBC', 'Platelets')
    """

    card = DatasetCard(
        name="bccd",
        title="BCCD, boxes cut out",
        description="Red cells, untyped white cells and platelets from 364 photographs with boxes.",
        source="https://github.com/Shenggan/BCCD_Dataset",
        licence="MIT",
        citation="Shenggan. BCCD Dataset (2017). https://github.com/Shenggan/BCCD_Dataset",
        known_defects=(
            "white cells are not typed",
            "BloodImage_00338 has a box of a single pixel",
            "not every red cell has a box, and crops show neighbouring cells",
            "the photographs are those of bccd_cropped: never use one to judge a model trained on the other",
            "neither stain, microscope nor donor is stated",
        ),
        files=(
            RemoteFile(
                "BCCD_Dataset-1.0.zip", ("https://github.com/Shenggan/BCCD_Dataset/archive/refs/tags/v1.0.zip",)
            ),
        ),
    )
    schema = LabelSchema(
        "bccd",
        (
            CellClass("RBC", "Red cell: round, no nucleus.", "erythroid", ("red blood cell", "erythrocyte")),
            CellClass("WBC", "White cell of any kind, not typed.", "", ("white blood cell", "leukocyte")),
            CellClass("Platelets", "Fragment of a megakaryocyte without nucleus.", "megakaryocytic", ("platelet",)),
        ),
    )

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Tensor], Any] | None = None,
        exclude: Iterable[str | os.PathLike[str]] = (),
        *,
        margin: float = 0.0,
        download: bool = False,
    ) -> None:
        if download:
            self.download(root, progress=True)
        self._fill(self.read(self.find(root), margin=margin), transform, exclude)

    @classmethod
    def missing(cls, folder: Path) -> list[str]:
        """The folder of photographs or of annotations, if it is not there."""
        return missing_names(folder, ("JPEGImages", "Annotations"))

    @classmethod
    def read(cls, folder: Path, *, margin: float = 0.0) -> Contents:
        """One image a box of the annotations."""
        if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 <= margin < math.inf:
            raise ConfigError(f"margin={margin!r} must be a number of at least 0, such as 0.1 for a tenth of the box.")
        part_of = _official_parts(folder / "ImageSets" / "Main")
        files: list[Path] = []
        targets: list[int] = []
        boxes: list[Box] = []
        left_out = 0
        for annotation in sorted((folder / "Annotations").glob("[!.]*.xml")):
            photograph = folder / "JPEGImages" / f"{annotation.stem}.jpg"
            if not photograph.is_file():
                raise DataError(f"The photograph of {annotation} is missing: {photograph}; download the set again.")
            for name, box in _read_boxes(annotation, margin):
                label = cls.schema.find(name)
                if label is None:
                    raise unknown_name(f"class in {annotation}", name, cls.schema.names)
                if box is None:
                    left_out += 1
                    continue
                files.append(photograph)
                targets.append(label)
                boxes.append(box)
        if not files:
            raise DataError(f"There is no box in the annotations of {folder}; download the set again.")
        return Contents(
            [f"{file}#xywh={x},{y},{r - x},{b - y}" for file, (x, y, r, b) in zip(files, boxes, strict=True)],
            targets,
            groups=[file.stem for file in files],
            parts=[part_of.get(file.stem) for file in files],
            images=ImageRegions(files, boxes),
            left_out=left_out,
        )


class BCCDCropped(PublicDataset):
    """Single leukocytes of BCCD's photographs, typed and cleaned: a small test from another laboratory.

    Layout: ``<Class>/BloodImage_NNNNN_N.jpg``, where the first number is the photograph: ``groups`` keeps its cells
    together. Confirmed on the real files.

    Args:
        root: Folder that holds the five class folders, or a folder up to two levels above it.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Files to leave out, see `CellDataset.exclude`.
        download: Fetch the repository's archive if the folders are not there.

    Raises:
        DataError: The class folders are not there, or one of them holds no image.
        UnknownNameError: A folder of another class.

    Example:
        >>> BCCDCropped.card.num_images
        351
    """

    card = DatasetCard(
        name="bccd_cropped",
        title="BCCD cleaned, cropped leukocytes",
        description="Leukocytes of five classes, cut out of the BCCD photographs that show a single white cell.",
        source="https://github.com/apple2373/BCCD",
        licence="MIT for the photographs (BCCD_Dataset); none stated for the cleaned copy",
        citation=(
            "Tsutsui S, Su Z, Wen B. Benchmarking white blood cell classification under domain shift. "
            "ICASSP 2023. arXiv:2303.01777. Photographs: Shenggan, BCCD Dataset (2017)"
        ),
        num_images=351,
        known_defects=(
            "three basophils and twenty monocytes only",
            "neither stain, microscope nor donor is stated",
            "the photographs are those of bccd and of the augmented sets made from it: never pool them",
        ),
        files=(
            RemoteFile(
                "BCCD-73e268a.zip",
                ("https://github.com/apple2373/BCCD/archive/73e268a747db2f39d21850e71baceb94d058f8af.zip",),
            ),
        ),
    )
    schema = LEUKOCYTES

    @classmethod
    def missing(cls, folder: Path) -> list[str]:
        """Class folders that are not there; other sets have the same, so the names of the images count too."""
        lacking = missing_classes(folder, cls.schema)
        if not lacking and next(folder.glob("*/BloodImage_*"), None) is None:
            return ["images named BloodImage_NNNNN_N"]
        return lacking

    @classmethod
    def read(cls, folder: Path) -> Contents:
        """All images of the class folders."""
        files, targets = read_classes(folder, cls.schema)
        return Contents(files, targets, groups=[file.stem.rpartition("_")[0] for file in files])


def _official_parts(folder: Path) -> dict[str, str]:
    """Part of each photograph that the lists ``<part>.txt`` name; a list may be absent."""
    part_of: dict[str, str] = {}
    for part in PARTS:
        file = folder / f"{part}.txt"
        try:
            names = file.read_text(encoding="utf-8").split() if file.is_file() else []
        except (OSError, ValueError) as error:  # ValueError: not text
            raise DataError(f"{file} is not a list of photographs ({error}); download the set again.") from error
        for name in names:
            if part_of.setdefault(name, part) != part:
                raise DataError(f"{name} stands in {part_of[name]}.txt and in {file}; remove one.")
    return part_of


def _read_boxes(annotation: Path, margin: float) -> list[tuple[str, Box | None]]:
    """Class and box of each object, the box with its margin and cut at the photograph's border; None if empty."""
    try:
        text = annotation.read_text(encoding="utf-8-sig")
        # A document type may define entities that grow without limit or read other files; VOC needs none.
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise DataError(f"{annotation} defines a document type, which is not safe to read; remove it.")
        root = ElementTree.fromstring(text)  # noqa: S314 - see above
        width, height = _pixels(root, "size/width"), _pixels(root, "size/height")
        boxes: list[tuple[str, Box | None]] = []
        for thing in root.iterfind("object"):
            # VOC counts pixels from 1 and includes the last.
            left, top = _pixels(thing, "bndbox/xmin") - 1, _pixels(thing, "bndbox/ymin") - 1
            right, bottom = _pixels(thing, "bndbox/xmax"), _pixels(thing, "bndbox/ymax")
            more_x, more_y = round(margin * (right - left)), round(margin * (bottom - top))
            shown = min(min(width, right) - max(0, left), min(height, bottom) - max(0, top))
            box = (
                max(0, left - more_x),
                max(0, top - more_y),
                min(width, right + more_x),
                min(height, bottom + more_y),
            )
            boxes.append(((thing.findtext("name") or "").strip(), box if shown >= SMALLEST else None))
    except (OSError, ValueError, OverflowError, ElementTree.ParseError) as error:
        raise DataError(f"{annotation} is not a Pascal VOC annotation ({error}); download the set again.") from error
    return boxes


def _pixels(element: ElementTree.Element, path: str) -> int:
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"it has no {path}")
    return round(float(text))
