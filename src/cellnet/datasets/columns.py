"""Checks of the columns of a data set, and what makes two files the same image."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import takewhile
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


def check_groups(groups: ArrayLike) -> NDArray[np.object_]:
    """Groups as an array of objects; None, NaN, NaT, pandas' NA and ``""`` become None: "not known".

    Raises:
        DataError: They are not one value an image.

    Example:
        >>> check_groups(["ana", "", float("nan"), 7]).tolist()
        ['ana', None, None, 7]
    """
    values = groups.tolist() if hasattr(groups, "tolist") else groups
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise DataError(f"Groups must be a list of one value an image, not {values!r}; for none, give None.")
    listed = list(values)
    array = np.empty(len(listed), object)
    for row, value in enumerate(listed):
        try:
            hash(value)
        except TypeError as error:
            raise DataError(
                f"The group {value!r} of image {row} cannot be compared with others; give one text or number an image, "
                "or a tuple of them."
            ) from error
        array[row] = value if _is_known(value) else None
    return array


def _is_known(value: Any) -> bool:
    try:
        return value is not None and bool(value == value) and value != ""  # NaN and NaT differ from themselves
    except TypeError:  # and pandas' NA does not say whether it does
        return False


def check_images(images: Tensor | NDArray[Any]) -> Tensor:
    """Images as a tensor, sharing memory where possible.

    Raises:
        DataError: They are not uint8 of shape N×3×H×W.
    """
    if not hasattr(images, "dtype"):
        raise DataError(
            f"Images must be one array or tensor, not {type(images).__name__}; np.stack makes one of those of one size."
        )
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


def rows_named(given: Sequence[str | os.PathLike[str]], files: Sequence[str]) -> list[list[int]]:
    """For each of the ``given`` names the rows of the ``files`` that it fits.

    It fits those of the same folder and name, and of several the ones that agree with it in most folders above. One
    without folder fits that name in every folder. Upper and lower case are alike.

    Example:
        >>> files = ["cells/lymphocyte/ana/0.png", "cells/monocyte/ana/0.png"]
        >>> rows_named(["Lymphocyte/ana/0.png", "ana/0.png", "0.png", "1.png"], files)
        [[0], [0, 1], [0, 1], []]
    """
    paths = [_upwards(file) for file in files]
    rows: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, path in enumerate(paths):
        for end in {path[:1], path[:2]}:
            rows[end].append(row)
    found = []
    for name in map(_upwards, given):
        fits = rows.get(name[:2], [])
        if len(fits) > 1:
            common = [_agreement(name, paths[row]) for row in fits]
            fits = [row for row, folders in zip(fits, common, strict=True) if folders == max(common)]
        found.append(fits)
    return found


def _agreement(one: Sequence[str], other: Sequence[str]) -> int:
    """How many entries agree from the first on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _upwards(file: str | os.PathLike[str]) -> tuple[str, ...]:
    """Name, folder, the folder above it and so on, in lower case."""
    return tuple(part.casefold() for part in reversed(_parts(file)))


def _parts(file: str | os.PathLike[str]) -> tuple[str, ...]:
    return PurePath(os.fspath(file).replace("\\", "/")).parts


def written_name(file: str | os.PathLike[str]) -> str:
    """`short_name`, for a text file.

    Raises:
        DataError: It is not UTF-8.
    """
    name = short_name(file)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"The name of {name!r} is not UTF-8 and cannot be written; rename the file.") from error
    return name


def short_name(file: str | os.PathLike[str]) -> str:
    """Folder and file name: enough to recognise an image in one folder a class, nothing of this machine.

    Example:
        >>> short_name("/data/pbc/basophil/BA_101.jpg")
        'basophil/BA_101.jpg'
    """
    return "/".join(_parts(file)[-2:])
