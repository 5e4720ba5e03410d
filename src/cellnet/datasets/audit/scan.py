"""One pass over all images: each is decoded once, and something small is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cellnet.datasets import display
from cellnet.datasets.audit.landmarks import SIDE
from cellnet.datasets.base import CellDataset
from cellnet.errors import DataError

LOOKS = ("brightness", "contrast", "redness", "blueness")
"""What is measured of each image, in grey levels: mean and deviation of the light, mean of red and blue beside it."""

FRAME = SIDE // 9
"""Width of the outer frame in a picture of side `SIDE`: 40 of 360 pixels."""

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Scan:
    """What is kept of N images, the parts one after the other.

    Args:
        part: Index of the part of each image.
        target: Label of each image.
        file: Name of each image.
        content: SHA-256 of each image, None where it cannot be read.
        size: N×2, height and width in pixels, 0 where it cannot be read.
        picture: N×`SIDE`×`SIDE` grey levels.
        look: N×4, see `LOOKS`.
        frame: N×15, five quantiles of red, green and blue in the outer frame.
        error: Why an image cannot be read, by index.
    """

    part: NDArray[np.int64]
    target: NDArray[np.int64]
    file: list[str]
    content: list[str | None]
    size: NDArray[np.int64]
    picture: NDArray[np.uint8]
    look: NDArray[np.float32]
    frame: NDArray[np.float32]
    error: dict[int, str]

    @property
    def readable(self) -> NDArray[np.int64]:
        """Indices of the images that could be read."""
        return np.flatnonzero(self.size[:, 0])


def scan(parts: Sequence[CellDataset], progress: bool = False) -> Scan:
    """Decode every image of every part once.

    Args:
        parts: Data sets with the same labels.
        progress: Show a progress bar on standard error.
    """
    places = [(part, row) for part in parts for row in range(len(part))]
    size = np.zeros((len(places), 2), np.int64)
    picture = np.zeros((len(places), SIDE, SIDE), np.uint8)
    look = np.zeros((len(places), len(LOOKS)), np.float32)
    frame = np.zeros((len(places), 3 * len(_QUANTILES)), np.float32)
    error: dict[int, str] = {}

    def read(index: int) -> None:
        part, row = places[index]
        try:
            image = part.image(row)
        except DataError as reason:
            error[index] = str(reason)
            return
        small = _shrink(image)
        picture[index] = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        look[index], frame[index] = _look(small, picture[index]), _frame(small)
        size[index] = image.shape[1:]

    with ThreadPoolExecutor() as pool:  # threads, since decoding releases the interpreter lock
        done = pool.map(read, range(len(places)))
        for _ in display.track(done, len(places), "Looking at images") if progress else done:
            pass
    return Scan(
        part=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        target=np.concatenate([part.targets for part in parts]),
        file=[file for part in parts for file in part.files],
        content=_contents(parts, size[:, 0] > 0),
        size=size,
        picture=picture,
        look=look,
        frame=frame,
        error=dict(sorted(error.items())),
    )


def _contents(parts: Sequence[CellDataset], readable: NDArray[np.bool_]) -> list[str | None]:
    """Content hashes; those of a part without damage stay with it, for the splits to come."""
    contents: list[str | None] = []
    for part in parts:
        good = readable[len(contents) : len(contents) + len(part)]
        known = iter((part if good.all() else part.subset(good)).content_hashes())
        contents += [next(known) if fine else None for fine in good]
    return contents


def _shrink(image: Tensor) -> NDArray[np.uint8]:
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    # Averaging areas is right when shrinking; small images are enlarged smoothly instead.
    how = cv2.INTER_AREA if min(pixels.shape[:2]) >= SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (SIDE, SIDE), interpolation=how), np.uint8)


def _look(colours: NDArray[np.uint8], grey: NDArray[np.uint8]) -> tuple[float, ...]:
    red, green, blue, _ = cv2.mean(colours)
    middle = (red + green + blue) / 3
    return float(grey.mean()), float(grey.std()), red - middle, blue - middle


def _frame(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Quantiles of each colour in the frame: what it looks like, wherever its red cells happen to lie."""
    sides = np.concatenate([colours[:, :FRAME], colours[:, -FRAME:]], axis=1).reshape(-1, 3)
    ends = np.concatenate([colours[:FRAME, FRAME:-FRAME], colours[-FRAME:, FRAME:-FRAME]]).reshape(-1, 3)
    pixels = np.sort(np.concatenate([sides, ends]), axis=0)
    return pixels[[round(q * (len(pixels) - 1)) for q in _QUANTILES]].ravel().astype(np.float32)
