"""Where the pixels of a data set come from: files, an array in memory, or whatever a reader needs."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellnet.datasets.columns import hash_file
from cellnet.errors import DataError
from cellnet.images import Preprocess, decode, stack_images

Rows = NDArray[np.int64]


class ImageSource(ABC):
    """Images by row. All choices of images from a data set share one source and hold rows of it."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def image(self, row: int) -> Tensor:
        """The image, uint8 3×H×W, which the caller may write into.

        Raises:
            ImageError: It cannot be read; the message names it.
        """

    @abstractmethod
    def hash(self, row: int) -> str:
        """SHA-256 of the image's file, or of its pixels where it has none of its own."""

    def batch(self, rows: Rows) -> Tensor:
        """Many images at once, uint8 N×3×H×W.

        Raises:
            DataError: The images differ in size; the message names two of them.
        """
        return stack_images(map(self.image, rows), [self.name(row) for row in rows])

    def hashes(self, rows: Rows) -> list[str]:
        """`hash` of many rows, read in parallel."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self.hash, rows))

    def name(self, row: int) -> str:
        """What an error message calls the image."""
        return f"image {row}"


class ImageFiles(ImageSource):
    """One file an image, decoded when it is asked for."""

    def __init__(self, files: Iterable[str | os.PathLike[str]]) -> None:
        self.files = [os.fspath(file) for file in files]

    def __len__(self) -> int:
        return len(self.files)

    def image(self, row: int) -> Tensor:
        """The decoded file."""
        return decode(self.files[row])

    def hash(self, row: int) -> str:
        """SHA-256 of the file's bytes."""
        return hash_file(self.files[row])

    def name(self, row: int) -> str:
        """The file."""
        return self.files[row]


class ImageRegions(ImageFiles):
    """Rectangles of larger photographs.

    Args:
        files: The photograph of each image.
        boxes: Left, top, right and bottom of each image in pixels, right and bottom excluded. What lies outside
            the photograph is cut off.
    """

    def __init__(self, files: Iterable[str | os.PathLike[str]], boxes: Sequence[tuple[int, int, int, int]]) -> None:
        super().__init__(files)
        self.boxes = list(boxes)

    def image(self, row: int) -> Tensor:
        """The rectangle of the decoded photograph."""
        left, top, right, bottom = self.boxes[row]
        image = decode(self.files[row])[:, max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        if image.numel() == 0:
            raise DataError(f"The box {self.boxes[row]} lies outside {self.name(row)}; correct its annotation.")
        return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)

    def hash(self, row: int) -> str:
        """SHA-256 of the photograph's bytes and the box."""
        return hashlib.sha256(f"{super().hash(row)} {self.boxes[row]}".encode()).hexdigest()

    def name(self, row: int) -> str:
        """File name and box."""
        return f"{Path(self.files[row]).name} {self.boxes[row]}"


class ImageArray(ImageSource):
    """One array in memory.

    Args:
        images: uint8 N×3×H×W, in any memory layout.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def image(self, row: int) -> Tensor:
        """A copy: a transform may write into its argument."""
        return self.images[row].clone()

    def batch(self, rows: Rows) -> Tensor:
        """All rows in one copy."""
        # Along the memory if it lies channels-last, as it does after `preload`.
        return self.images.permute(0, 2, 3, 1).index_select(0, torch.from_numpy(rows)).permute(0, 3, 1, 2)

    def hash(self, row: int) -> str:
        """SHA-256 of the pixels, C×H×W."""
        return hashlib.sha256(self.images[row].contiguous().numpy().tobytes()).hexdigest()


class ChosenImages(ImageSource):
    """Some images of another source.

    Args:
        source: All images.
        rows: Which of them, in order.
    """

    def __init__(self, source: ImageSource, rows: Rows) -> None:
        self.source = source
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, row: int) -> Tensor:
        """The image as its source gives it."""
        return self.source.image(self.rows[row])

    def batch(self, rows: Rows) -> Tensor:
        """The batch as its source gives it."""
        return self.source.batch(self.rows[rows])

    def hash(self, row: int) -> str:
        """The hash that its source gives."""
        return self.source.hash(self.rows[row])

    def name(self, row: int) -> str:
        """The name that its source gives."""
        return self.source.name(self.rows[row])


class PreparedImages(ImageSource):
    """The images of another source, each preprocessed when it is asked for.

    Args:
        source: The images as they are.
        preprocess: Brings each of them to one size.
    """

    def __init__(self, source: ImageSource, preprocess: Preprocess) -> None:
        self.source = source
        self.preprocess = preprocess

    def __len__(self) -> int:
        return len(self.source)

    def image(self, row: int) -> Tensor:
        """The preprocessed image."""
        return self.preprocess(self.source.image(row))

    def hash(self, row: int) -> str:
        """The hash of the image as it was."""
        return self.source.hash(row)

    def name(self, row: int) -> str:
        """The name of the image as it was."""
        return self.source.name(row)


class JoinedImages(ImageSource):
    """The images of one source, followed by those of a second."""

    def __init__(self, first: ImageSource, second: ImageSource) -> None:
        self.first, self.second = first, second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def image(self, row: int) -> Tensor:
        """The image, from where it is."""
        source, place = self._find(row)
        return source.image(place)

    def batch(self, rows: Rows) -> Tensor:
        """One batch from each source, put in order."""
        late = rows >= len(self.first)
        if not late.any():
            return self.first.batch(rows)
        if late.all():
            return self.second.batch(rows - len(self.first))
        one, two = self.first.batch(rows[~late]), self.second.batch(rows[late] - len(self.first))
        if one.shape[1:] != two.shape[1:]:
            return super().batch(rows)  # which names two of them
        images = torch.empty_like(one[:1].expand(len(rows), -1, -1, -1), memory_format=torch.channels_last)
        images[torch.from_numpy(~late)], images[torch.from_numpy(late)] = one, two
        return images

    def hash(self, row: int) -> str:
        """The hash that its source gives."""
        source, place = self._find(row)
        return source.hash(place)

    def name(self, row: int) -> str:
        """The name that its source gives."""
        source, place = self._find(row)
        return source.name(place)

    def _find(self, row: int) -> tuple[ImageSource, int]:
        return (self.first, row) if row < len(self.first) else (self.second, row - len(self.first))
