"""A list of images on paper: which of a data set's images something is about, as a text file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import numpy as np

from cellnet.datasets.base import CellDataset
from cellnet.datasets.columns import short_name
from cellnet.errors import DataError
from cellnet.files import write_text

Dataset = TypeVar("Dataset", bound=CellDataset)


def write_list(path: str | os.PathLike[str], dataset: CellDataset) -> None:
    """Write which images a data set holds: class folder and name, one a line, sorted.

    Args:
        path: The text file.
        dataset: The images.

    Raises:
        DataError: The data set is empty.

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
    write_text(path, "".join(f"{name}\n" for name in sorted({short_name(file) for file in dataset.files})))


def read_list(path: str | os.PathLike[str], dataset: Dataset) -> Dataset:
    """Those images of ``dataset`` that a list names, in the data set's order.

    The same images give the same seeded splits, whatever else lies in the folder; `split_hash` shows that they are the
    same.

    Args:
        path: A text file: class folder and name of one image a line. Upper and lower case are alike;
            empty lines, and those that begin with ``#``, say nothing.
        dataset: All images.

    Raises:
        DataError: The file cannot be read or names no image, or one that is not in the data set.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:  # ValueError: not text
        reason = getattr(error, "strerror", None) or "it is not text"
        raise DataError(
            f"Cannot read the list {path}: {reason}; give one image a line, e.g. basophil/1.jpg."
        ) from error
    wanted = {short_name(line).casefold(): short_name(line) for line in lines if line and not line.startswith("#")}
    if not wanted:
        raise DataError(f"The list {path} names no image; give one a line, e.g. basophil/1.jpg.")
    there = [short_name(file).casefold() for file in dataset.files]
    if missing := sorted(wanted.keys() - there):
        raise DataError(
            f"{len(missing):,} of {len(wanted):,} images in the list {path} are not in the data set, the first is "
            f"{wanted[missing[0]]}; give the data that the list was made from."
        )
    return dataset.subset(np.array([name in wanted for name in there]))
