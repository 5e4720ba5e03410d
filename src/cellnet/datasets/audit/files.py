"""What lies in the folders of a data set besides its images, and images of an odd size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellnet.images import IMAGE_SUFFIXES

RARE = 0.05
"""A size is odd if fewer images have it, while most images have one size."""


@dataclass(frozen=True)
class ImageSize:
    """A size that images have.

    Args:
        width: Pixels.
        height: Pixels.
        images: Number of images of this size.
        odd: Whether it is rare in a set that is otherwise of one size.
        example: One of its images.
    """

    width: int
    height: int
    images: int
    odd: bool
    example: str

    def __str__(self) -> str:
        return f"{self.width}×{self.height} ({self.images:,})"


def image_sizes(sizes: NDArray[np.int64], files: Sequence[str]) -> tuple[ImageSize, ...]:
    """The sizes of some images, most frequent first.

    Args:
        sizes: N×2, height and width in pixels.
        files: Their N names.
    """
    rows = [tuple(size) for size in sizes.tolist()]
    first = dict(zip(reversed(rows), reversed(files), strict=True))
    counts = Counter(rows).most_common()
    uniform = bool(counts) and counts[0][1] > len(rows) / 2
    return tuple(
        ImageSize(width, height, count, uniform and count < RARE * len(rows), first[height, width])
        for (height, width), count in counts
    )


def stray_files(files: Sequence[str]) -> tuple[str, ...]:
    """Files beside the images of a data set that are none: hidden ones, and those without the suffix of an image.

    Args:
        files: The images; names that are no files on disk are passed over.
    """
    folders = sorted({Path(file).parent for file in files if Path(file).is_file()})
    return tuple(
        str(path)
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.is_file() and (path.name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES)
    )
