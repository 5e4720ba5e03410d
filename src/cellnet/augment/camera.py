"""What optics and files do to an image: blur and JPEG artefacts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import simplejpeg
import torch
from torch import Tensor

from cellnet.augment.batches import blur_batch
from cellnet.augment.draws import Range, check_numbers, check_range, uniform, uniform_batch
from cellnet.augment.pixels import to_array, to_tensor
from cellnet.errors import ConfigError


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, as of a cell out of focus.

    Args:
        image: uint8 3×H×W.
        sigma: Standard deviation in pixels, 0-50; the kernel ends at twice that.

    Returns:
        uint8 3×H×W, reflected beyond its frame.

    Raises:
        ImageError: ``image`` is something else.
        ConfigError: ``sigma`` is out of range.
    """
    check_numbers("sigma", [sigma], 0, 50)
    array = to_array(image)
    if sigma == 0:
        return to_tensor(array)
    side = 2 * math.ceil(2 * sigma) + 1
    return to_tensor(cv2.GaussianBlur(array, (side, side), sigma))


def jpeg(image: Tensor, quality: int) -> Tensor:
    """Compress as JPEG and decode again; colour has half the resolution, as cameras and web pages store it.

    Args:
        image: uint8 3×H×W.
        quality: libjpeg's quality, 1-100.

    Returns:
        uint8 3×H×W.

    Raises:
        ImageError: ``image`` is something else.
        ConfigError: ``quality`` is not a whole number in 1-100.
    """
    _check_quality(quality)
    data = simplejpeg.encode_jpeg(to_array(image), quality, colorspace="RGB", colorsubsampling="420")
    return to_tensor(simplejpeg.decode_jpeg(data, colorspace="RGB"))


@dataclass(frozen=True)
class RandomBlur:
    """`blur` with a drawn width.

    Args:
        sigma: Least and greatest standard deviation in pixels.

    Raises:
        ConfigError: A range that `blur` does not take.
    """

    sigma: Range = (0.1, 1.5)

    def __post_init__(self) -> None:
        check_range("sigma", self.sigma, 0, 50)

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 3×H×W to the same shape."""
        return blur(image, *uniform(self.sigma))

    def of_batch(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 N×3×H×W on any device to the same shape; each image has draws of its own."""
        return blur_batch(images, *uniform_batch(len(images), generator, self.sigma))


@dataclass(frozen=True)
class RandomJpeg:
    """`jpeg` with a drawn quality.

    Args:
        quality: Least and greatest quality.

    Raises:
        ConfigError: A range that `jpeg` does not take.
    """

    quality: tuple[int, int] = (40, 90)

    def __post_init__(self) -> None:
        check_range("quality", self.quality)
        for quality in self.quality:
            _check_quality(quality)

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 3×H×W to the same shape."""
        low, high = self.quality
        return jpeg(image, int(torch.randint(low, high + 1, ())))


def _check_quality(quality: int) -> None:
    if type(quality) is not int or not 1 <= quality <= 100:
        raise ConfigError(f"quality={quality!r} must be a whole number, 1 (worst) to 100 (best).")
