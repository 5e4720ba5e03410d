"""Colour statistics: mean and spread of lightness and of the two colour axes of CIELAB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

from cellnet.augment.draws import Range, check_numbers, check_range, log_uniform, uniform
from cellnet.augment.pixels import to_array, to_tensor
from cellnet.errors import ConfigError


def perturb_lab(image: Tensor, factors: Sequence[float], offsets: Sequence[float] = (0.0, 0.0, 0.0)) -> Tensor:
    """Multiply the spread of each CIELAB channel about its mean, and shift the mean.

    Reinhard et al. (2001) give an image the channel means and standard deviations of another one; here they move
    away from its own by known amounts. As stain normalisers do, CIELAB (D65) takes the place of their lαβ.

    Args:
        image: uint8 3×H×W, sRGB.
        factors: Of the standard deviation of L, a and b, 0 or more.
        offsets: Added to the mean of L (0-100), a and b.

    Returns:
        uint8 3×H×W, within 2 grey levels of the exact formula; colours outside of sRGB are clipped.

    Raises:
        ImageError: ``image`` is something else.
        ConfigError: Negative factors, or not three numbers.

    Example:
        >>> import torch
        >>> grey = torch.full((3, 2, 2), 119, dtype=torch.uint8)  # L = 50
        >>> perturb_lab(grey, (1, 1, 1), (10, 0, 0))[:, 0, 0]
        tensor([144, 144, 144], dtype=torch.uint8)
    """
    for name, values, least in (("factors", factors, 0.0), ("offsets", offsets, -np.inf)):
        if len(values) != 3:
            raise ConfigError(f"{name}={tuple(values)} must be three numbers: for L, a and b.")
        check_numbers(name, values, least)
    colours = np.multiply(to_array(image), np.float32(1 / 255), dtype=np.float32)
    lab = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)
    constant = (1 - np.asarray(factors)) * cv2.mean(lab)[:3] + offsets
    lab = cv2.transform(lab, np.column_stack([np.diag(factors), constant]))
    return to_tensor(cv2.convertScaleAbs(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), alpha=255))


@dataclass(frozen=True)
class RandomLab:
    """Colour statistics as they vary between laboratories: `perturb_lab` with drawn numbers.

    Args:
        factor: Least and greatest factor of each channel's standard deviation.
        offset: Greatest shift of each channel's mean, either way.

    Raises:
        ConfigError: A range that `perturb_lab` does not take.
    """

    factor: Range = (0.8, 1.25)
    offset: float = 5.0

    def __post_init__(self) -> None:
        check_range("factor", self.factor, 0.01)
        check_numbers("offset", [self.offset], 0)

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 3×H×W to the same shape."""
        factors = log_uniform(*[self.factor] * 3)
        return perturb_lab(image, factors, uniform(*[(-self.offset, self.offset)] * 3))
