"""From an image of any size to the square that a model wants, and to the numbers that it wants."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from cellnet.cards import Card
from cellnet.errors import ConfigError, ImageError
from cellnet.images.background import add_margin
from cellnet.registry import check_name

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MIN_IMAGE_SIZE = 16
"""Pixels: of a smaller cell nothing can be told."""

MAX_CROP = 4
"""The widest margin: a cell four times as small is hardly seen any more."""

INTERPOLATIONS = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "nearest": InterpolationMode.NEAREST_EXACT,
}


@dataclass(frozen=True)
class Preprocess(Card):
    """A centred square crop and a resize: from an image of any size to the square that a model wants.

    How large a cell looks is part of what a network learns. Images that are cut closer around the cell than those it
    was trained on want a margin: a ``crop`` above 1.

    Args:
        image_size: Side of the result in pixels, at least 16.
        crop: Side of the square as a share of the image's shorter side, above 0 and at most 4. Above 1, the image
            stands in the middle of a margin of its own background colour, see `background_colour`.
        interpolation: ``"bilinear"``, ``"bicubic"`` or ``"nearest"``; the first two are antialiased.
        mean: Mean of each channel on a scale of 0-1. Only carried: the model normalises.
        std: Standard deviation of each channel, likewise.

    Raises:
        ConfigError: A value out of range.
        UnknownNameError: An unknown interpolation.

    Example:
        >>> preprocess = Preprocess(128, crop=0.9)
        >>> preprocess(torch.zeros(3, 363, 360, dtype=torch.uint8)).shape
        torch.Size([3, 128, 128])
        >>> Preprocess.from_dict(preprocess.to_dict()) == preprocess
        True
    """

    image_size: int
    crop: float = 1.0
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if type(self.image_size) is not int or self.image_size < MIN_IMAGE_SIZE:
            raise ConfigError(
                f"image_size={self.image_size!r} must be a whole number of at least {MIN_IMAGE_SIZE} pixels."
            )
        if not _is_number(self.crop) or not 0 < self.crop <= MAX_CROP:
            raise ConfigError(
                f"crop={self.crop!r} must be above 0 and at most {MAX_CROP}; 1 is the whole shorter side, and above "
                "it a margin is added."
            )
        check_name("interpolation", self.interpolation, INTERPOLATIONS)
        for field in ("mean", "std"):
            value = getattr(self, field)
            if not isinstance(value, tuple | list) or len(value) != 3 or not all(map(_is_number, value)):
                raise ConfigError(f"{field}={value!r} must be three numbers, one each for red, green and blue.")
            object.__setattr__(self, field, tuple(map(float, value)))
        if min(self.std) <= 0:
            raise ConfigError(f"std={self.std!r} must be above 0 in each channel; the model divides by it.")

    def __call__(self, image: Tensor) -> Tensor:
        """Crop and resize.

        Args:
            image: uint8 3×H×W, or a batch N×3×H×W.

        Returns:
            uint8 3×S×S (or N×3×S×S) that lies channels-last in memory, as `decode` gives it and convolutions
            want it. The pixels are untouched where the crop has that size.

        Raises:
            ImageError: Another dtype or shape.
        """
        if image.dtype != torch.uint8 or image.ndim < 3 or image.shape[-3] != 3 or image.numel() == 0:
            raise ImageError(
                f"Preprocess takes uint8 3×H×W, not {image.dtype} {tuple(image.shape)}; "
                "call cellnet.images.to_uint8_rgb first."
            )
        side = max(1, round(self.crop * min(image.shape[-2:])))
        image = F.center_crop(image, [min(side, length) for length in image.shape[-2:]])
        # The margin comes last: it needs no resizing, and an enlarged original no memory.
        size = [max(1, round(length * self.image_size / side)) for length in image.shape[-2:]]
        if size != list(image.shape[-2:]):
            image = F.resize(image, size, INTERPOLATIONS[self.interpolation], antialias=True)
        if self.crop > 1:
            image = add_margin(image, self.image_size)
        return image.movedim(-3, -1).contiguous().movedim(-1, -3)

    def normalise(self, images: Tensor, out: Tensor | None = None) -> Tensor:
        """``(image / 255 - mean) / std``, for a model that does not normalise by itself; cellnet's own do.

        Args:
            images: uint8 N×3×H×W; fastest where it lies channels-last, as loaders give it.
            out: float32 of the same shape that the result is written into: new memory costs more than the
                arithmetic. None takes new memory, in the layout of ``images``.

        Returns:
            float32 N×3×H×W; ``out`` where it was given.

        Raises:
            ImageError: Another dtype or shape.

        Example:
            >>> images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2)
            >>> Preprocess(16, mean=(0.5,) * 3, std=(0.25,) * 3).normalise(images)[0, 0].round(decimals=4)
            tensor([[-2.,  2.]])
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ImageError(f"normalise takes uint8 N×3×H×W, not {images.dtype} {tuple(images.shape)}; stack images.")
        if out is None:
            out = torch.empty_like(images, dtype=torch.float32)
        elif out.dtype != torch.float32 or out.shape != images.shape:
            raise ImageError(
                f"out must be float32 {tuple(images.shape)} like the images, not {out.dtype} {tuple(out.shape)}; "
                "give out[:len(images)] where the last batch is smaller."
            )
        # In double precision, so that the factors are the nearest floats.
        spread = torch.tensor(self.std, dtype=torch.float64)
        scale, shift = (1 / (255 * spread)).float(), (-torch.tensor(self.mean, dtype=torch.float64) / spread).float()
        pixels, result = images.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1)
        if pixels.is_contiguous() and result.is_contiguous():  # whole lines at once, not three values at a time
            pixels, result = pixels.flatten(2), result.flatten(2)
            scale, shift = scale.repeat(images.shape[3]), shift.repeat(images.shape[3])
        for image, target in zip(pixels, result, strict=True):  # one by one, so that each stays in the cache
            torch.addcmul(shift, target.copy_(image), scale, out=target)
        return out


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
