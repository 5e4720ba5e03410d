"""A split on paper: which image is in which part, as a CSV with a hash that a paper can quote."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from cellnet.datasets.base import CellDataset
from cellnet.datasets.columns import PARTS, short_name, written_name
from cellnet.errors import DataError
from cellnet.files import atomic_path
from cellnet.registry import check_name

COLUMNS = ("file", "label", "part", "sha256", "split")
"""Class folder and name of the image, its class, its part, the hash of its content, and the hash of the split."""

Dataset = TypeVar("Dataset", bound=CellDataset)
Row = tuple[str, str, str, str]


def write_split(path: str | os.PathLike[str], *parts: CellDataset) -> str:
    """Write which image is in which part.

    The CSV has the columns file, label, part, sha256 (of the image) and split: the hash of all the others, the
    same in each row, so that no row can be lost or changed unnoticed. Nothing in it depends on the machine.

    Args:
        path: The CSV file.
        parts: Data sets, each with another ``part``.

    Returns:
        The hash of the split, sixteen hexadecimal digits.

    Raises:
        DataError: A part without name, two of one name, an empty one, or a file name that is not UTF-8.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from cellnet.datasets import samples
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder) / "split.csv"
        ...     written = write_split(file, *samples().split((0.6, 0.4), seed=0))
        ...     train, test = read_split(file, samples())
        >>> len(written), train, test
        (16, PBC(24 images, 8 classes, part 'train'), PBC(16 images, 8 classes, part 'test'))
    """
    rows = _rows(parts)
    split = _hash(rows)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((*row, split) for row in rows)
    return split


def split_hash(*parts: CellDataset) -> str:
    """The hash that `write_split` writes: which image, with which label, is in which part.

    Args:
        parts: Data sets, each with another ``part``.

    Returns:
        Sixteen hexadecimal digits, the same for the same split on every machine.

    Raises:
        DataError: A part without name, two of one name, or an empty one.
    """
    return _hash(_rows(parts))


def read_split(path: str | os.PathLike[str], dataset: Dataset) -> tuple[Dataset, ...]:
    """The parts of ``dataset`` that a file of `write_split` describes, in the order train, val, test.

    Images are recognised by their content, so a renamed file is found too. Images of the data set that the file
    does not name are in no part.

    Args:
        path: The CSV file.
        dataset: All images, with the labels of the split.

    Raises:
        DataError: The file is missing, altered or of another form; an image is not in the data set or has
            another label there; or one image stands in two parts, or more often than in the data set.
    """
    rows, names = _read(Path(path)), dataset.labels.names
    where: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(dataset.content_hashes()):
        where[digest].append(index)
    known = set(where)
    chosen: dict[str, list[int]] = {part: [] for part in PARTS}
    part_of: dict[str, str] = {}
    for file, label, part, digest in rows:
        if part_of.setdefault(digest, part) != part:
            raise DataError(f"In {path} one image stands in {part_of[digest]} and in {part}: {file}; divide anew.")
        twins = where[digest]
        if not twins:
            often = ", which has its image, but less often than the split" if digest in known else ""
            raise DataError(
                f"{file} of the split {path} is not in the data set{often}; give the data it was made from, "
                "each image once."
            )
        # Identical images are told apart by name, then by class, so that each keeps its own label.
        index = min(twins, key=lambda i: (short_name(dataset.files[i]) != file, names[dataset.targets[i]] != label))
        twins.remove(index)
        name = names[dataset.targets[index]]
        if name != label:
            raise DataError(f"{file} is {label!r} in {path} and {name!r} in the data set; give the same labels.")
        chosen[part].append(index)
    return tuple(dataset.subset(np.array(rows), part) for part, rows in chosen.items() if rows)


def _rows(parts: Sequence[CellDataset]) -> list[Row]:
    named = [part.part for part in parts]
    if None in named or len(set(named)) < len(named):
        raise DataError(f"Each part needs a name of its own, not {named}; use what .split() or .folds() returned.")
    rows: list[Row] = []
    for part in parts:
        if not len(part):
            raise DataError(f"The part {part.part!r} is empty; give it images or leave it out.")
        for file, target, digest in zip(part.files, part.targets, part.content_hashes(), strict=True):
            rows.append((written_name(file), part.labels.names[target], str(part.part), digest))
    return rows


def _read(path: Path) -> list[Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = list(csv.reader(file))
    except OSError as error:
        raise DataError(f"Cannot read the split {path}: {error.strerror}; check the path.") from error
    except (ValueError, csv.Error) as error:  # ValueError: not text, or no line
        raise DataError(f"{path} is not a split: {error}; give a file that write_split made.") from error
    if tuple(header) != COLUMNS or any(len(line) != len(COLUMNS) for line in lines):
        raise DataError(f"{path} has not the columns {', '.join(COLUMNS)}; give a file that write_split made.")
    rows = [(file, label, part, digest) for file, label, part, digest, _ in lines]
    for row in rows:
        check_name(f"part in {path}", row[2], PARTS)
    if not rows or {line[4] for line in lines} != {_hash(rows)}:
        raise DataError(f"{path} was altered after it was written, or is cut off: its hash does not fit; copy it anew.")
    return rows


def _hash(rows: list[Row]) -> str:
    return hashlib.sha256("\n".join(sorted(map("\t".join, rows))).encode()).hexdigest()[:16]
