"""Checks of the columns of a data set, and what makes two files the same image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cellnet.errors import DataError, ImageError, LabelError
from cellnet.labels import LabelSchema
from cellnet.registry import check_name

PARTS = ("train", "val", "test")


def check_targets(targets: ArrayLike, labels: LabelSchema) -> NDArray[np.int64]:
    """Targets as int64.

    Raises:
        LabelError: ``labels`` is not a schema, or ``targets`` are not labels of it.
    """
    if not isinstance(labels, LabelSchema):
        raise LabelError(
            f"'labels' must be a LabelSchema, not {type(labels).__name__}; "
            "LabelSchema.from_names(['lymphocyte', ...]) makes one."
        )
    array = np.asarray(targets)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise LabelError(
            f"Targets must be a list of integer labels, not {array.dtype} of shape {array.shape}; "
            "labels.index(name) turns a class name into its label."
        )
    if array.size and not (array.min() >= 0 and array.max() < len(labels)):
        raise LabelError(
            f"Targets from {array.min()} to {array.max()} do not fit the schema {labels.name!r}, "
            f"whose labels are 0 to {len(labels) - 1}; correct the targets or give the schema they belong to."
        )
    return array.astype(np.int64)


def check_images(images: Tensor | NDArray[Any]) -> Tensor:
    """Images as a tensor, sharing memory where possible.

    Raises:
        DataError: They are not uint8 of shape N×3×H×W.
    """
    dtype = str(images.dtype).removeprefix("torch.")
    if dtype != "uint8" or images.ndim != 4 or images.shape[1] != 3:
        raise DataError(
            f"Images must be uint8 of shape N×3×H×W, not {dtype} of shape {tuple(images.shape)}; "
            "cellnet.images.to_uint8_rgb makes each of them so."
        )
    if isinstance(images, Tensor):
        return images.cpu()
    return torch.from_numpy(np.require(images, requirements=["C", "W"]))  # torch wants writable memory


def check_parts(parts: Sequence[str | None]) -> list[str | None]:
    """Official parts as a list of ``train``, ``val``, ``test`` and None.

    Raises:
        UnknownNameError: Another word.
    """
    return [part if part is None else check_name("part", part, PARTS) for part in parts]


def check_indices(indices: ArrayLike, size: int) -> NDArray[np.int64]:
    """Indices of chosen images, from integers or ``size`` booleans.

    Raises:
        DataError: Indices of another type, or of images that do not exist.
    """
    rows = np.asarray(indices)
    if rows.dtype == bool and rows.shape == (size,):
        return np.flatnonzero(rows)
    if rows.size == 0:
        return np.zeros(0, np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise DataError(
            f"Cannot choose images by {rows.dtype} of shape {rows.shape}; give a list of integers, or {size} booleans."
        )
    if not (-size <= rows.min() and rows.max() < size):
        raise DataError(
            f"Indices from {rows.min()} to {rows.max()} do not fit a data set of {size} images; "
            f"give integers below {size}."
        )
    return rows.astype(np.int64)


def hash_file(file: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        ImageError: The file cannot be read.
    """
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError as error:
        raise ImageError(
            f"Cannot read {os.fspath(file)}: {error.strerror}; restore the file or leave it out."
        ) from error


def rows_named_otherwise(given: Sequence[str | os.PathLike[str]], files: Sequence[str]) -> NDArray[np.int64]:
    """Rows of the ``files`` whose class folder and name none of the ``given`` ones has.

    A given file without folder stands for that name in every folder; upper and lower case are alike.
    """
    names = {short_name(file).casefold() for file in given}
    own = [short_name(file).casefold() for file in files]
    return np.flatnonzero([not names & {name, PurePath(name).name} for name in own])


def short_name(file: str | os.PathLike[str]) -> str:
    """Class folder and file name: enough to recognise an image, nothing of this machine.

    Example:
        >>> short_name("/data/pbc/basophil/BA_101.jpg")
        'basophil/BA_101.jpg'
    """
    return "/".join(PurePath(file).parts[-2:])
