"""More or less of a dye: colours changed in optical density, where the dyes of a smear add up (Beer and Lambert)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from cellnet.augment.draws import Range, check_numbers, check_range, check_whole, log_uniform, uniform
from cellnet.augment.pixels import Pixels, to_array, to_tensor
from cellnet.errors import ConfigError, ImageError

GIEMSA = ((0.834750233, 0.513556283, 0.196330403), (0.092789, 0.954111, 0.283111))
"""Optical density of red, green and blue that methylene blue and eosin have in a Giemsa stain; each row has length 1.

The values are Ruifrok's, as ImageJ's colour deconvolution and scikit-image's ``rgb_from_bex`` have them."""

Stains = Sequence[Sequence[float]] | npt.NDArray[np.float64]
"""A row for each stain: its optical density in red, green and blue."""

_WHITE = 255.0
# Black has no logarithm: it counts as a third of a grey level, which rounds back to 0.
_DENSITY = -np.log(np.maximum(np.arange(256), 1 / 3) / _WHITE).astype(np.float32)
_BRIGHTEST = 5.6  # exp(5.6) is above 255; more would leave the range of integers
_LEAST_ANGLE = 10.0  # degrees between two stains, below which taking them apart only amplifies noise
_LEAST_PIXELS = 16
_SAMPLES = 64  # pixels along the shorter side that `RandomStain` looks at to find the stains


def perturb_stain(
    image: Tensor,
    factors: Sequence[float],
    offsets: Sequence[float] = (0.0, 0.0, 0.0),
    stains: Stains = GIEMSA,
) -> Tensor:
    """Multiply and shift the amount of each stain in every pixel.

    The optical density -ln(value / 255) is taken apart into amounts of the stains (colour deconvolution; Ruifrok
    and Johnston 2001), the amounts are changed, and the colours put together again (Tellez et al. 2018).
    Multiplying all amounts by one factor is a gamma curve; an offset tints the background too.

    Args:
        image: uint8 3×H×W.
        factors: Three numbers, 0 or more: of the first stain, the second, and what neither explains.
        offsets: Three amounts that are added, in densities.
        stains: 2×3 or 3×3, a row for each stain: its density in red, green and blue. The third row, where it is
            missing, is the direction at right angles to both.

    Returns:
        uint8 3×H×W.

    Raises:
        ImageError: ``image`` is something else.
        ConfigError: Negative factors, not three numbers, or stains that do not differ.

    Example:
        >>> import torch
        >>> violet = torch.tensor([120, 60, 150], dtype=torch.uint8).view(3, 1, 1)
        >>> perturb_stain(violet, (1, 0.5, 1)).flatten()  # half the eosin
        tensor([126, 102, 176], dtype=torch.uint8)
    """
    check_numbers("factors", _three("factors", factors), 0)
    check_numbers("offsets", _three("offsets", offsets))
    axes, inverse = _axes(tuple(map(tuple, np.atleast_2d(stains).tolist())))
    # The exponent of each level is ln(255) - density.
    exponent = np.empty((3, 4))
    exponent[:, :3] = -(inverse * np.asarray(factors) @ axes).T
    exponent[:, 3] = math.log(_WHITE) - np.asarray(offsets) @ axes
    levels = cv2.transform(_densities(to_array(image)), exponent)
    _, levels = cv2.threshold(levels, _BRIGHTEST, _BRIGHTEST, cv2.THRESH_TRUNC)
    return to_tensor(cv2.convertScaleAbs(cv2.exp(levels)))


def estimate_stains(
    image: Tensor, *, least_density: float = 0.15, percentile: float = 1.0, step: int = 1
) -> npt.NDArray[np.float64]:
    """The two stains that an image itself shows.

    The densities of all stained pixels are laid into the plane in which they vary most, and the stains are the
    outermost directions there, but for a percentile (Macenko et al. 2009).

    Args:
        image: uint8 3×H×W.
        least_density: A pixel is stained if the density of each of its channels is at least this.
        percentile: Share of the pixels, in percent, beyond either stain.
        step: Look at every ``step``-th pixel of every ``step``-th row only, for speed.

    Returns:
        2×3, as `perturb_stain` takes it: each row of length 1, the one that takes more of the red light first.

    Raises:
        ImageError: ``image`` is something else, or does not show two stains.
        ConfigError: ``percentile`` is not in 0-50, the density negative, or ``step`` no whole number of 1 or more.
    """
    check_numbers("least_density", [least_density], 0)
    check_numbers("percentile", [percentile], 0, 50)
    check_whole("step", step, 1)
    density = _densities(np.ascontiguousarray(to_array(image)[::step, ::step])).reshape(-1, 3)
    density = density[density.min(axis=1) >= least_density]
    if len(density) < _LEAST_PIXELS:
        raise ImageError(f"Only {len(density)} pixels are stained, too few to tell two stains; use stains=GIEMSA.")
    _, axes = np.linalg.eigh(np.cov(density, rowvar=False))
    plane = axes[:, :0:-1]
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)  # the sign of an eigenvector is arbitrary
    across, along = (density @ plane).T
    angles = np.percentile(np.arctan2(along, across), [percentile, 100 - percentile])
    if np.degrees(angles[1] - angles[0]) < _LEAST_ANGLE:
        raise ImageError("All stained pixels have one colour, so that two stains cannot be told; use stains=GIEMSA.")
    stains = np.column_stack([np.cos(angles), np.sin(angles)]) @ plane.T
    return np.asarray(stains[np.argsort(-stains[:, 0])], np.float64)


@dataclass(frozen=True)
class RandomStain:
    """Stains as they vary between laboratories: `perturb_stain` with drawn numbers.

    Args:
        strength: Least and greatest factor of all stains together.
        factor: Least and greatest factor of each stain for itself.
        offset: Greatest amount added to or taken from each stain, in densities.
        own: Take the two stains of each image as `estimate_stains` finds them instead of Giemsa's, which takes
            longer; an image that does not show two keeps Giemsa's.

    Raises:
        ConfigError: A range that `perturb_stain` does not take.
    """

    strength: Range = (1.0, 1.0)
    factor: Range = (0.8, 1.25)
    offset: float = 0.05
    own: bool = False

    def __post_init__(self) -> None:
        check_range("strength", self.strength, 0.01)
        check_range("factor", self.factor, 0.01)
        check_numbers("offset", [self.offset], 0)

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 3×H×W to the same shape."""
        strength, *factors = log_uniform(self.strength, *[self.factor] * 3)
        offsets = uniform(*[(-self.offset, self.offset)] * 3)
        return perturb_stain(image, [strength * factor for factor in factors], offsets, self._stains(image))

    def _stains(self, image: Tensor) -> Stains:
        if not self.own:
            return GIEMSA
        try:
            return estimate_stains(image, step=max(1, min(image.shape[1:]) // _SAMPLES))
        except ImageError:
            return GIEMSA


def _densities(array: Pixels) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.LUT(array, _DENSITY), np.float32)


def _three(name: str, values: Sequence[float]) -> Sequence[float]:
    if len(values) != 3:
        raise ConfigError(f"{name}={tuple(values)} must be three numbers: of the first stain, the second, the rest.")
    return values


@lru_cache(maxsize=16)
def _axes(stains: tuple[tuple[float, ...], ...]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Three stains as rows, and the inverse: from densities to amounts."""
    axes = np.array(stains)
    if axes.shape == (2, 3):
        axes = np.vstack([axes, np.cross(axes[0], axes[1])])
    if axes.shape != (3, 3) or not np.isfinite(axes).all() or np.linalg.cond(axes) > 1e3:
        raise ConfigError(f"stains={stains} must be two or three different colours, each a row of three densities.")
    return axes, np.linalg.inv(axes)
