"""WBCAtt: eleven morphological attributes of PBC's leukocytes (Tsutsui et al. 2023)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellnet.cards import DatasetCard, RemoteFile
from cellnet.datasets.columns import PARTS
from cellnet.datasets.pbc import PBC
from cellnet.datasets.public import Contents, PublicDataset, missing_names
from cellnet.datasets.tables import read_table
from cellnet.errors import DataError
from cellnet.labels import LEUKOCYTES
from cellnet.registry import check_name

ATTRIBUTES = {
    "cell_size": ("big", "small"),
    "cell_shape": ("round", "irregular"),
    "nucleus_shape": (
        "unsegmented-round",
        "unsegmented-indented",
        "unsegmented-band",
        "segmented-bilobed",
        "segmented-multilobed",
        "irregular",
    ),
    "nuclear_cytoplasmic_ratio": ("low", "high"),
    "chromatin_density": ("densely", "loosely"),
    "cytoplasm_vacuole": ("no", "yes"),
    "cytoplasm_texture": ("clear", "frosted"),
    "cytoplasm_colour": ("light blue", "blue", "purple blue"),
    "granule_type": ("nil", "small", "round", "coarse"),
    "granule_colour": ("nil", "pink", "red", "purple"),
    "granularity": ("no", "yes"),
}
"""The attributes and the words that each may take."""

TABLES = {part: f"pbc_attr_v1_{part}.csv" for part in PARTS}
"""The table of each part."""


_NUCLEI = {
    "unsegmented-round": "round",
    "unsegmented-indented": "indented",
    "unsegmented-band": "band-shaped",
    "segmented-bilobed": "bilobed",
    "segmented-multilobed": "multilobed",
}


def describe_attributes(words: Mapping[str, str]) -> str:
    """The attributes of a cell as a haematologist would say them.

    Args:
        words: Attribute -> word, of `ATTRIBUTES`; some may be missing.

    Example:
        >>> words = {"nucleus_shape": "segmented-bilobed", "granule_type": "coarse", "granule_colour": "red"}
        >>> describe_attributes(words)
        'bilobed nucleus, coarse red granules'
    """
    get = words.get
    parts = []
    if size := get("cell_size"):
        parts.append(f"{size} cell")
    if nucleus := get("nucleus_shape"):
        parts.append(f"{_NUCLEI.get(nucleus, nucleus)} nucleus")
    if chromatin := get("chromatin_density"):
        parts.append({"densely": "dense chromatin", "loosely": "loose chromatin"}.get(chromatin, chromatin))
    if colour := get("cytoplasm_colour"):
        parts.append(f"{colour} cytoplasm")
    if get("cytoplasm_vacuole") == "yes":
        parts.append("vacuoles")
    granules = [word for word in (get("granule_type"), get("granule_colour")) if word and word != "nil"]
    if get("granularity") == "no":
        parts.append("no granules")
    elif granules:
        parts.append(f"{' '.join(granules)} granules")
    return ", ".join(parts)


class WBCAtt(PublicDataset):
    """PBC's five leukocytes with what pathologists see in each: size, shape, nucleus, cytoplasm, granules.

    Layout: ``pbc_attr_v1_{train,val,test}.csv``, one row an image, joined by class and file name to the images of
    `PBC`, which is looked for below the same root. ``attributes`` is a structured array, one field an attribute
    (``ds.attributes["nucleus_shape"]``), sliced along with the images; `ATTRIBUTES` lists the words. ``parts`` are the
    publisher's tables. Rows whose image is not there are left out, and ``left_out`` counts them. Confirmed on the
    real tables, as far as PBC's images were at hand (6,694 of 10,298 rows).

    Args:
        root: Folder that holds the tables and PBC, each up to two levels deeper.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Files to leave out, see `CellDataset.exclude`.
        download: Fetch the tables, and PBC, as far as they are not there.

    Raises:
        DataError: The tables or PBC are not there, a table has other columns, an image stands twice, or no image of any
            row is there.
        UnknownNameError: A class, or a word of an attribute, that is not known.

    Source: Tsutsui, Pang, Wen, NeurIPS 2023 Datasets and Benchmarks, arXiv:2306.13531.

    Example:
        >>> len(ATTRIBUTES), ATTRIBUTES["granule_colour"]
        (11, ('nil', 'pink', 'red', 'purple'))
    """

    card = DatasetCard(
        name="wbcatt",
        title="WBCAtt on PBC",
        description="The five leukocytes of PBC with eleven morphological attributes each.",
        source="https://github.com/apple2373/wbcatt",
        licence="MIT (attributes); CC-BY-4.0 (images)",
        citation=(
            "Tsutsui S, Pang W, Wen B. WBCAtt: A white blood cell dataset annotated with detailed morphological "
            "attributes. NeurIPS 2023 Datasets and Benchmarks. arXiv:2306.13531. "
            "Images: Acevedo et al. 2020, doi:10.17632/snkd93bnjr.1"
        ),
        doi="10.48550/arXiv.2306.13531",
        stain=PBC.card.stain,
        scanner=PBC.card.scanner,
        num_images=10_298,
        known_defects=(
            "the official split parts identical images: for a leak-free one use .split()",
            "the same images as pbc: never use one to judge a model trained on the other",
            "no donor, slide or date of any image is known",
        ),
        files=tuple(
            RemoteFile(
                name,
                (
                    "https://raw.githubusercontent.com/apple2373/wbcatt/"
                    f"3121eea24a0977184bbedcb61b90f7a528f7b4e9/submission/{name}",
                ),
            )
            for name in TABLES.values()
        ),
    )
    schema = LEUKOCYTES

    attributes: NDArray[np.void]
    """Structured array, one field of text an attribute: ``attributes["cell_size"]``."""

    def subgroups(self) -> dict[str, Sequence[Any]]:
        """The attributes."""
        return {name: self.attributes[name].tolist() for name in ATTRIBUTES}

    @classmethod
    def missing(cls, folder: Path) -> list[str]:
        """Tables that are not there."""
        return missing_names(folder, TABLES.values())

    @classmethod
    def find(cls, root: str | os.PathLike[str]) -> Path:
        """``root``, if the tables and PBC are below it.

        Raises:
            DataError: They are not.
        """
        super().find(root)
        PBC.find(root)
        return Path(root)

    @classmethod
    def download(cls, root: str | os.PathLike[str], *, progress: bool = False) -> Path:
        """Fetch PBC and the tables, as far as they are not below ``root`` already.

        Raises:
            DataError: A file cannot be had; the message says how to get it by hand.
        """
        PBC.download(root, progress=progress)
        return super().download(root, progress=progress)

    @classmethod
    def read(cls, folder: Path) -> Contents:
        """The rows whose image is there."""
        tables, images = super().find(folder), PBC.find(folder)
        files: list[Path] = []
        targets: list[int] = []
        parts: list[str] = []
        rows: list[tuple[str, ...]] = []
        left_out = 0
        part_of: dict[str, str] = {}
        for part, name in TABLES.items():
            table = tables / name
            for row in read_table(table, ("img_name", "label", *ATTRIBUTES, "path"), key="img_name"):
                image = row["img_name"]
                if part_of.setdefault(image, part) != part:
                    raise DataError(f"{image} stands in {TABLES[part_of[image]]} and in {name}; remove one.")
                for attribute, words in ATTRIBUTES.items():
                    check_name(f"{attribute} of {image} in {table}", row[attribute], words)
                label = cls.schema.index(row["label"])
                file = images / cls.schema.names[label] / image
                if not file.is_file():
                    left_out += 1
                    continue
                files.append(file)
                targets.append(label)
                parts.append(part)
                rows.append(tuple(row[attribute] for attribute in ATTRIBUTES))
        if not files:
            raise DataError(f"None of the {left_out} images of {tables} is in {images}; give PBC's own images.")
        kinds = [(name, f"U{max(map(len, words))}") for name, words in ATTRIBUTES.items()]
        return Contents(files, targets, parts=parts, columns={"attributes": np.array(rows, kinds)}, left_out=left_out)
