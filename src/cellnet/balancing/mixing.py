"""Mixtures of two images or rows of features: what one is, and how bytes are mixed fast."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cellnet.datasets.sources import ImageSource, Rows
from cellnet.errors import DataError

_DIFFERENCES = np.arange(256.0)
"""Of two bytes; those below zero are halves where these are."""


class ImageMixtures(ImageSource):
    """Mixtures of two images of another source, made when they are asked for: ``base + share · (other - base)``.

    Args:
        source: The images that are mixed, of one size.
        base: Row of each mixture's first image.
        other: Row of its second image.
        share: How much it has of the second, float64, 0-1.
    """

    def __init__(self, source: ImageSource, base: Rows, other: Rows, share: NDArray[np.float64]) -> None:
        self.source = source
        self.base, self.other, self.share = base, other, share

    def __len__(self) -> int:
        return len(self.base)

    def image(self, row: int) -> Tensor:
        """The mixture, rounded."""
        return self._mix(self.source.image(self.base[row])[None], self.source.image(self.other[row])[None], [row])[0]

    def batch(self, rows: Rows) -> Tensor:
        """All mixtures, rounded, in the memory of their first images."""
        return self._mix(self.source.batch(self.base[rows]), self.source.batch(self.other[rows]), rows)

    def hash(self, row: int) -> str:
        """SHA-256 of the hashes of both images and the share."""
        return hash_mixture(self.source.hash(self.base[row]), self.source.hash(self.other[row]), self.share[row])

    def name(self, row: int) -> str:
        """The names of both images."""
        return f"{self.source.name(self.base[row])} and {self.source.name(self.other[row])}"

    def _mix(self, base: Tensor, other: Tensor, rows: Rows | list[int]) -> Tensor:
        if base.shape[1:] != other.shape[1:]:
            raise DataError(
                f"{self.name(rows[0])} are {tuple(base.shape[1:])} and {tuple(other.shape[1:])}; images of one size "
                "can be mixed: use .preload(Preprocess(image_size)) first."
            )
        for image, second, share in zip(base.numpy(), other.numpy(), self.share[rows], strict=True):
            mix_bytes(image, second, float(share))
        return base


def mix(base: NDArray[Any], other: NDArray[Any], share: NDArray[np.float64]) -> NDArray[Any]:
    """``base + share · (other - base)``, in the type of ``base`` and without wrap-around.

    Args:
        base: Pixels or features, of any shape and type.
        other: The same.
        share: float64, of a shape that fits.

    Returns:
        Unsigned integers are rounded, signed ones cut off, as imbalanced-learn does.

    Example:
        >>> mix(np.array([200, 7], np.uint8), np.array([10, 8], np.uint8), np.array([0.25]))
        array([152,   7], dtype=uint8)
    """
    mixed: NDArray[Any]
    if base.dtype.kind == "f":  # floats are subtracted in their own precision, as imbalanced-learn does
        mixed = share * (other - base)
    else:  # and integers where nothing wraps around; in place, since fresh memory takes longer than the sums
        mixed = np.subtract(other, base, dtype=np.float64)
        mixed *= share
    mixed += base
    if base.dtype.kind == "u":
        np.rint(mixed, out=mixed)
    return mixed.astype(base.dtype, copy=False)


def mix_bytes(base: NDArray[np.uint8], other: NDArray[np.uint8], share: float) -> None:
    """`mix` of two arrays of bytes by one share, in place: the same bytes in less time.

    A share of a difference is rounded in float32, unless it lies so near a half that float64 could round it otherwise.

    Args:
        base: Pixels, of any shape; becomes the mixture.
        other: The same.
        share: 0-1.

    Example:
        >>> pixels = np.array([200, 7], np.uint8)
        >>> mix_bytes(pixels, np.array([10, 8], np.uint8), 0.25)
        >>> pixels
        array([152,   7], dtype=uint8)
    """
    if np.abs(share * _DIFFERENCES % 1 - 0.5).min() < 1e-4:  # float32 is off by 255 · 2⁻²³ at most
        base[...] = mix(base, other, np.array(share))
        return
    difference = other.astype(np.int16)
    difference -= base
    part = difference.astype(np.float32)
    part *= share
    difference[...] = np.rint(part, out=part)
    difference += base
    base[...] = difference


def hash_mixture(base: str, other: str, share: float) -> str:
    """SHA-256 of the hashes of two images and the share of the second."""
    return hashlib.sha256(f"{base} {other} {float(share).hex()}".encode()).hexdigest()
