"""Packed sets: any data set as one array of pixels on disk, read by the batch and shared by all processes.

A packed set is a folder of two files. ``images.npy`` is a plain NumPy array, uint8 N×H×W×3. ``index.json`` holds
everything else: labels, targets, names, groups, official parts and card, the SHA-256 of each original file (so splits
and leak checks stay those of the originals), the SHA-256 of each block of pixels, and one of itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellnet.cards import DatasetCard
from cellnet.datasets.base import CellDataset
from cellnet.datasets.sources import ImageSource, Rows
from cellnet.errors import DataError
from cellnet.images import Preprocess
from cellnet.labels import LabelSchema

IMAGES, INDEX = "images.npy", "index.json"
FORMAT, VERSION = "cellnet packed set", 1

_AGAIN = "copy the folder again, or pack the data again with `cellnet pack`"


class PackedCells(CellDataset):
    """A data set that `pack` wrote: opened in a moment, read by the batch, shared by all worker processes.

    Names, targets, groups, official parts and content hashes are those of the images that went in; columns that
    only their class has (such as the attributes of `WBCAtt`) are not kept. ``preprocess`` says how the images were
    cut and resized, or is None where they are as they were.

    Args:
        root: The folder.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Files to leave out, see `CellDataset.exclude`; those are recognised that the images were made of.
        verify: Compare all pixels with their hashes, which reads the whole array once, at 1-2 GB/s a core. False
            still refuses a truncated array and an altered index.

    Raises:
        DataError: Not a packed set, one that was truncated or altered, or one of a newer version of cellnet.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from cellnet.datasets import load_dataset
        >>> from cellnet.datasets.packing import pack
        >>> cells = load_dataset("synthetic", per_class=2, image_size=32)
        >>> with TemporaryDirectory() as folder:
        ...     packed = PackedCells(pack(cells, Path(folder) / "cells"))
        ...     images, targets = packed.batch([0, 15])
        >>> packed, images.shape, targets
        (PackedCells(16 images, 8 classes), torch.Size([2, 3, 32, 32]), tensor([0, 7]))
    """

    card = DatasetCard("packed", "Packed set", "A data set that `cellnet pack` made one array of.")

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Tensor], Any] | None = None,
        exclude: Iterable[str | os.PathLike[str]] = (),
        *,
        verify: bool = True,
    ) -> None:
        folder = Path(root)
        index = read_index(folder)
        try:
            images = ImageMap(folder / IMAGES, tuple(index["shape"]))
            if verify:
                images.verify(**index["blocks"])
            preprocess = index["preprocess"]
            self.preprocess = None if preprocess is None else Preprocess.from_dict(preprocess)
            super().__init__(
                index["files"],
                index["targets"],
                LabelSchema.from_dict(index["labels"]),
                images=images,
                groups=index["groups"],
                parts=index["parts"],
                transform=transform,
                part=index["part"],
                card=None if index["card"] is None else DatasetCard.from_dict(index["card"]),
            )
            self._hashes = list(map(str, index["hashes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{folder / INDEX} is not the index of a packed set ({error!r}); {_AGAIN}.") from error
        self._drop(exclude)


class ImageMap(ImageSource):
    """An array of images on disk, mapped into memory: what is read is shared by all processes that read it.

    A copy in another process, such as a data-loader worker, opens the file anew instead of carrying the pixels.

    Args:
        path: ``.npy`` file, uint8 N×H×W×3.
        shape: What the shape has to be.

    Raises:
        DataError: The file is missing, truncated, or another array.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path.absolute(), shape
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path} is missing, truncated or not an array ({error}); {_AGAIN}.") from error
        if array.dtype != np.uint8 or array.shape != shape or not array.flags.c_contiguous:
            raise DataError(f"{path} holds {array.dtype} {array.shape}, its index says uint8 {shape}; {_AGAIN}.")
        if path.stat().st_size != array.offset + array.nbytes:
            raise DataError(f"{path} has bytes after its {array.nbytes:,} bytes of pixels; {_AGAIN}.")
        self.array: NDArray[np.uint8] = np.asarray(array)

    def __reduce__(self) -> tuple[type[ImageMap], tuple[Path, tuple[int, ...]]]:
        return ImageMap, (self.path, self.shape)

    def __len__(self) -> int:
        return len(self.array)

    def image(self, row: int) -> Tensor:
        """A copy of the image."""
        return torch.from_numpy(self.array[row].copy()).permute(2, 0, 1)

    def batch(self, rows: Rows) -> Tensor:
        """All rows in one copy, which lies channels-last."""
        return torch.from_numpy(np.take(self.array, rows, axis=0)).permute(0, 3, 1, 2)

    def hash(self, row: int) -> str:
        """SHA-256 of the pixels, C×H×W."""
        return hashlib.sha256(self.array[row].transpose(2, 0, 1).tobytes()).hexdigest()

    def verify(self, rows: int, sha256: list[str]) -> None:
        """Compare the pixels with the SHA-256 of each block of ``rows`` images, in threads.

        Raises:
            DataError: A block was altered; the message names its images.
        """
        starts = range(0, len(self), rows)
        with ThreadPoolExecutor() as pool:
            found = pool.map(lambda start: hash_pixels(self.array[start : start + rows]), starts)
            for start, known, digest in zip(starts, sha256, found, strict=True):
                if known != digest:
                    last = min(start + rows, len(self)) - 1
                    raise DataError(f"{self.path}: images {start} to {last} were altered after packing; {_AGAIN}.")


def hash_pixels(images: NDArray[np.uint8]) -> str:
    """SHA-256 of an array's bytes."""
    return hashlib.sha256(images.data).hexdigest()


def hash_index(index: dict[str, Any]) -> str:
    """SHA-256 of everything in an index but this hash."""
    content = {key: value for key, value in index.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a packed set.

    Raises:
        DataError: Not a packed set, an altered one, or one of a newer version of cellnet.
    """
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{folder} is not a packed set: its {INDEX} cannot be read ({error.strerror}); "
            "give a folder that `cellnet pack` wrote."
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is cut off or altered ({error}); {_AGAIN}.") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise DataError(f"{path} is not the index of a packed set; give a folder that `cellnet pack` wrote.")
    if not isinstance(index.get("version"), int) or index["version"] > VERSION:
        raise DataError(
            f"{folder} was packed by a newer cellnet (format {index.get('version')}, this one reads {VERSION}); "
            "update cellnet, or pack the data again."
        )
    if index.get("sha256") != hash_index(index):
        raise DataError(f"{path} was altered after packing; {_AGAIN}.")
    return index
