"""Light and camera: brightness, contrast, white balance, saturation and hue, in one linear map of the colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cellnet.augment.batches import linear_map
from cellnet.augment.draws import Range, check_numbers, check_range, uniform, uniform_batch
from cellnet.augment.pixels import to_array, to_tensor

# NTSC's luma and its two axes of chroma, whose length is saturation and whose direction is hue.
_RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ)
# What keeps the luma of a colour, what keeps its chroma, and what turns its chroma by a right angle.
_LUMA = _YIQ_TO_RGB @ np.diag([1, 0, 0]) @ _RGB_TO_YIQ
_CHROMA = _YIQ_TO_RGB @ np.diag([0, 1, 1]) @ _RGB_TO_YIQ
_TURN = _YIQ_TO_RGB @ np.array([[0, 0, 0], [0, 0, 1], [0, -1, 0]]) @ _RGB_TO_YIQ

_LARGEST = 32  # OpenCV multiplies bytes by numbers in steps of 1/1024, which end here


def adjust_colour(
    image: Tensor,
    *,
    brightness: float = 1.0,
    contrast: float = 1.0,
    saturation: float = 1.0,
    hue: float = 0.0,
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Tensor:
    """Change colours by one linear map, many times faster than by way of HSV.

    White balance scales the channels; then saturation stretches the chroma plane of YIQ and hue turns it, which
    leaves the luma of each pixel as it is; contrast scales about the image's mean luma, and brightness about
    black. After Haeberli, "Matrix Operations for Image Processing" (1993).

    Args:
        image: uint8 3×H×W.
        brightness: Factor; 1 changes nothing.
        contrast: Factor; 0 gives uniform grey.
        saturation: Factor; 0 gives a grey image.
        hue: Degrees; positive turns red towards yellow.
        balance: Factor of red, of green and of blue.

    Returns:
        uint8 3×H×W, within 1 grey level of the exact formula.

    Raises:
        ImageError: ``image`` is something else.
        ConfigError: A negative factor, or not a finite number.

    Example:
        >>> import torch
        >>> red = torch.tensor([200, 100, 100], dtype=torch.uint8).view(3, 1, 1)
        >>> adjust_colour(red, saturation=0).flatten()
        tensor([130, 130, 130], dtype=torch.uint8)
    """
    for name, value in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        check_numbers(name, [value], 0)
    check_numbers("hue", [hue])
    check_numbers("balance", balance, 0)
    array = to_array(image)
    linear, of_mean = _linear(brightness, contrast, saturation, hue, balance)
    matrix = np.empty((3, 4))
    matrix[:, :3] = linear
    matrix[:, 3] = of_mean @ cv2.mean(array)[:3]
    if np.abs(linear).max() < _LARGEST:
        return to_tensor(cv2.transform(array, matrix))
    exact = cv2.transform(array.astype(np.float32), matrix)
    return to_tensor(np.rint(exact).clip(0, 255).astype(np.uint8))


@dataclass(frozen=True)
class RandomColour:
    """Light and colour as they vary between microscopes: `adjust_colour` with drawn numbers.

    Args:
        brightness: Least and greatest factor.
        contrast: Least and greatest factor.
        saturation: Least and greatest factor.
        hue: Greatest turn of the hue in degrees, either way.
        balance: Red and blue are each multiplied by 1 - balance to 1 + balance, as a camera's white balance does.

    Raises:
        ConfigError: A range that `adjust_colour` does not take.
    """

    brightness: Range = (0.8, 1.2)
    contrast: Range = (0.8, 1.2)
    saturation: Range = (0.8, 1.2)
    hue: float = 10.0
    balance: float = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            check_range(name, getattr(self, name), 0)
        check_numbers("hue", [self.hue], 0, 180)
        check_numbers("balance", [self.balance], 0, 1)

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 3×H×W to the same shape."""
        gain = (1 - self.balance, 1 + self.balance)
        brightness, contrast, saturation, hue, red, blue = uniform(
            self.brightness, self.contrast, self.saturation, (-self.hue, self.hue), gain, gain
        )
        return adjust_colour(
            image,
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            balance=(red, 1.0, blue),
        )

    def of_batch(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 N×3×H×W on any device to the same shape; each image has draws of its own."""
        gain = (1 - self.balance, 1 + self.balance)
        brightness, contrast, saturation, hue, red, blue = uniform_batch(
            len(images),
            generator,
            self.brightness,
            self.contrast,
            self.saturation,
            (-self.hue, self.hue),
            gain,
            gain,
        )
        balance = torch.stack([red, torch.ones_like(red), blue], dim=1)
        linear, of_mean = _linear(brightness, contrast, saturation, hue, balance)
        return linear_map(images, torch.from_numpy(linear), torch.from_numpy(of_mean))


def _linear(
    brightness: ArrayLike, contrast: ArrayLike, saturation: ArrayLike, hue: ArrayLike, balance: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The map of `adjust_colour`: what multiplies the colour of a pixel, 3×3, and what the mean colour, 3, adds to it.

    Each number may be one, or one an image; ``balance`` has one more axis of three.
    """
    numbers = (np.asarray(each, np.float64)[..., None, None] for each in (brightness, contrast, saturation, hue))
    brightness, contrast, saturation, hue = numbers
    gains = np.asarray(balance, np.float64)[..., None, :]
    turned = np.cos(np.radians(hue)) * _CHROMA + np.sin(np.radians(hue)) * _TURN
    colours = (_LUMA + saturation * turned) * gains
    of_mean = brightness * (1 - contrast) * _RGB_TO_YIQ[0] * gains
    return brightness * contrast * colours, of_mean[..., 0, :]
