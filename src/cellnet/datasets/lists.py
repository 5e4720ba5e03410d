"""A list of images on paper: which of a data set's images something is about, as a text file."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np

from cellnet.datasets.base import CellDataset
from cellnet.datasets.columns import rows_named, short_name, written_name
from cellnet.errors import DataError
from cellnet.files import write_text

Dataset = TypeVar("Dataset", bound=CellDataset)


def write_list(path: str | os.PathLike[str], dataset: CellDataset) -> None:
    """Write which images a data set holds: folder and name, one a line, sorted.

    Args:
        path: The text file.
        dataset: The images.

    Raises:
        DataError: The data set is empty, two of its images have the same folder and name, or one a name that a list
            cannot hold.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from cellnet.datasets import samples
        >>> with TemporaryDirectory() as folder:
        ...     write_list(Path(folder) / "some.txt", samples().subset([0, 10, 20]))
        ...     len(read_list(Path(folder) / "some.txt", samples()))
        3
    """
    if not len(dataset):
        raise DataError("A list of no images is of no use; give a data set that holds some.")
    file_of: dict[str, str] = {}
    for file in dataset.files:
        name = written_name(file)
        if name.startswith("#") or name.splitlines() != [name.strip()]:
            raise DataError(f"{name!r} cannot stand in a list, where '#' and blanks mean something; rename it.")
        if file_of.setdefault(name.casefold(), file) != file:
            raise DataError(
                f"{file_of[name.casefold()]} and {file} would be one line of a list, {name}; give each image of a "
                "class folder a name of its own, or use write_split, which goes by content."
            )
    write_text(path, "".join(f"{name}\n" for name in sorted(set(map(short_name, dataset.files)))))


def read_list(path: str | os.PathLike[str], dataset: Dataset) -> Dataset:
    """Those images of ``dataset`` that a list names, in the data set's order.

    The same images give the same seeded splits, whatever else lies in the folder; `split_hash` shows that they are the
    same.

    Args:
        path: A text file: class folder and name of one image a line, with more folders where names repeat. Upper
            and lower case are alike; empty lines, and those that begin with ``#``, say nothing.
        dataset: All images.

    Raises:
        DataError: The file cannot be read or names no image, one that is not in the data set, or one that could be
            several.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:  # ValueError: not text
        reason = getattr(error, "strerror", None) or "it is not text"
        raise DataError(
            f"Cannot read the list {path}: {reason}; give one image a line, e.g. basophil/1.jpg."
        ) from error
    wanted = [line for line in lines if line and not line.startswith("#")]
    if not wanted:
        raise DataError(f"The list {path} names no image; give one a line, e.g. basophil/1.jpg.")
    found = dict(zip(wanted, rows_named(wanted, dataset.files), strict=True))
    if missing := [line for line in wanted if not found[line]]:
        raise DataError(
            f"{len(missing):,} of {len(wanted):,} images in the list {path} are not in the data set, the first is "
            f"{missing[0]}; give the data that the list was made from."
        )
    for line, rows in found.items():
        files = sorted({dataset.files[row] for row in rows})
        if len(files) > 1:
            raise DataError(
                f"{line} in the list {path} could be {files[0]} or {files[1]}; write the folders above it too, as far "
                "as they differ."
            )
    return dataset.subset(np.unique(list(chain.from_iterable(found.values()))))
