"""Where the pixels are: turns, mirror images, rotation, size and place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from cellnet.augment.batches import dihedral_batch, rotate_scale_batch
from cellnet.augment.draws import (
    Range,
    check_numbers,
    check_range,
    check_whole,
    log_uniform,
    log_uniform_batch,
    uniform,
    uniform_batch,
)
from cellnet.augment.pixels import Pixels, check_image, to_array, to_tensor
from cellnet.images import background_colour

SCALES = (0.1, 10.0)
"""The least and the greatest factor of size that `rotate_scale` takes."""

Row = tuple[float, float, float]
"""A coordinate as a linear function of x, y and 1."""

_TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}


def dihedral(image: Tensor, *, quarter_turns: int = 0, mirror: bool = False) -> Tensor:
    """One of the eight symmetries of the square; no pixel is resampled.

    Args:
        image: uint8 3×H×W.
        quarter_turns: Number of turns by 90 degrees, counter-clockwise; an odd number swaps the sides.
        mirror: Swap left and right first.

    Returns:
        uint8 3×H×W, or 3×W×H.

    Raises:
        ImageError: ``image`` is something else.
        ConfigError: ``quarter_turns`` is no whole number.

    Example:
        >>> image = torch.arange(2, dtype=torch.uint8).expand(3, 1, 2)
        >>> dihedral(image, quarter_turns=1)[0]
        tensor([[1],
                [0]], dtype=torch.uint8)
    """
    check_whole("quarter_turns", quarter_turns)
    array = to_array(image)
    if mirror:
        array = np.asarray(cv2.flip(array, 1), np.uint8)
    if quarter_turns % 4:
        array = np.asarray(cv2.rotate(array, _TURNS[quarter_turns % 4]), np.uint8)
    return to_tensor(array)


def rotate_scale(
    image: Tensor,
    *,
    angle: float = 0.0,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    mirror: bool = False,
) -> Tensor:
    """Mirror, rotate about the centre, change the size and move, with one bilinear interpolation.

    What comes in from outside is the reflected image: a flat fill would draw corners that no smear has.

    Args:
        image: uint8 3×H×W.
        angle: Degrees, counter-clockwise.
        scale: Factor of size, 0.1-10; above 1 the cell grows.
        shift: How far the image moves to the right and down, as shares of width and height, -1 to 1.
        mirror: Swap left and right before all else.

    Returns:
        uint8 3×H×W.

    Raises:
        ImageError: ``image`` is something else.
        ConfigError: A number out of range.

    Example:
        >>> rotate_scale(torch.zeros(3, 48, 64, dtype=torch.uint8), angle=30, scale=1.5).shape
        torch.Size([3, 48, 64])
    """
    check_numbers("angle", [angle])
    check_numbers("scale", [scale], *SCALES)
    check_numbers("shift", shift, -1, 1)
    array = to_array(image)
    height, width = array.shape[:2]
    x, y = (width - 1) / 2, (height - 1) / 2
    to_x, to_y = x + shift[0] * width, y + shift[1] * height
    cos, sin = math.cos(math.radians(angle)) / scale, math.sin(math.radians(angle)) / scale
    side = -1 if mirror else 1
    # OpenCV asks where each pixel of the result comes from: the inverse, about the centre.
    return to_tensor(
        _warp(
            array,
            (side * cos, -side * sin, x - side * (cos * to_x - sin * to_y)),
            (sin, cos, y - (sin * to_x + cos * to_y)),
        )
    )


def cut_out(image: Tensor, share: float) -> Tensor:
    """Keep the middle of an image and cover all around it with the colour of its background.

    So look cells that were cut out close and then given a margin, as ``Preprocess(crop=2)`` does.

    Args:
        image: uint8 3×H×W.
        share: Share of each side that stays, 0 to 1; a pixel at least.

    Returns:
        uint8 3×H×W.

    Raises:
        ImageError: ``image`` is something else.
        ConfigError: ``share`` is out of range.

    Example:
        >>> image = torch.full((3, 8, 8), 200, dtype=torch.uint8)
        >>> image[:, 1:3, 1:3] = 90  # the neighbour of a cell
        >>> cut_out(image, 0.5)[0, 1:3, 1:3]
        tensor([[200, 200],
                [200,  90]], dtype=torch.uint8)
    """
    check_numbers("share", [share], 0, 1)
    check_image(image)
    height, width = (max(1, round(share * side)) for side in image.shape[1:])
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    middle = (slice(None), slice(top, top + height), slice(left, left + width))
    result = background_colour(image)[:, None, None].repeat(1, *image.shape[1:])
    result[middle] = image[middle]
    return result


@dataclass(frozen=True)
class RandomCutOut:
    """The surroundings of the cell covered: `cut_out` with a drawn share.

    Args:
        share: Least and greatest share of each side that stays.

    Raises:
        ConfigError: A range that `cut_out` does not take.
    """

    share: Range = (0.5, 1.0)

    def __post_init__(self) -> None:
        check_range("share", self.share, 0, 1)

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 3×H×W to the same shape."""
        return cut_out(image, *uniform(self.share))


@dataclass(frozen=True)
class RandomDihedral:
    """One of the eight symmetries of the square; of the four of the rectangle where the sides differ."""

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 3×H×W to the same shape."""
        turns, mirror = torch.randint(4, (2,)).tolist()
        if image.shape[-2] != image.shape[-1]:
            turns = 2 * (turns % 2)
        return dihedral(image, quarter_turns=turns, mirror=mirror % 2 == 1)

    def of_batch(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 N×3×H×W on any device to the same shape; each image has draws of its own."""
        turns, mirror = torch.randint(4, (2, len(images)), generator=generator)
        if images.shape[-2] != images.shape[-1]:
            turns = 2 * (turns % 2)
        return dihedral_batch(images, turns, mirror % 2 == 1)


@dataclass(frozen=True)
class RandomRotationScale:
    """Any angle, mirrored or not, and a change of size and place: `rotate_scale` with drawn numbers.

    Args:
        scale: Least and greatest factor of size, drawn on a logarithmic scale.
        shift: Greatest share of width and of height that the image moves, either way.

    Raises:
        ConfigError: A range that `rotate_scale` does not take.
    """

    scale: Range = (0.8, 1.25)
    shift: float = 0.0

    def __post_init__(self) -> None:
        check_range("scale", self.scale, *SCALES)
        check_numbers("shift", [self.shift], 0, 1)

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 3×H×W to the same shape."""
        angle, right, down, coin = uniform((0, 360), (-self.shift, self.shift), (-self.shift, self.shift), (0, 1))
        (scale,) = log_uniform(self.scale)
        return rotate_scale(image, angle=angle, scale=scale, shift=(right, down), mirror=coin < 0.5)

    def of_batch(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 N×3×H×W on any device to the same shape; each image has draws of its own."""
        moved = (-self.shift, self.shift)
        angle, right, down, coin = uniform_batch(len(images), generator, (0, 360), moved, moved, (0, 1))
        (scale,) = log_uniform_batch(len(images), generator, self.scale)
        return rotate_scale_batch(images, angle, scale, torch.stack([right, down], dim=1), coin < 0.5)


def _warp(array: Pixels, source_x: Row, source_y: Row) -> Pixels:
    """The image whose pixel (x, y) lies at ``source @ (x, y, 1)`` in ``array``, reflected beyond its frame."""
    height, width = array.shape[:2]
    left, right = _overhang(source_x, width - 1, height - 1, width - 1)
    top, bottom = _overhang(source_y, width - 1, height - 1, height - 1)
    # OpenCV is twice as fast with four channels as with three, and with pixels as with a rule for the frame.
    four = cv2.cvtColor(array, cv2.COLOR_RGB2RGBA)
    four = cv2.copyMakeBorder(four, top, bottom, left, right, cv2.BORDER_REFLECT)
    source = np.array([source_x, source_y])
    source[:, 2] += left, top
    four = cv2.warpAffine(four, source, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(cv2.cvtColor(four, cv2.COLOR_RGBA2RGB), np.uint8)


def _overhang(row: Row, right: int, bottom: int, last: int) -> tuple[int, int]:
    """How many pixels before 0 and after ``last`` a corner of the result comes from, and one for interpolation."""
    across, down = row[0] * right, row[1] * bottom
    low = row[2] + min(0, across) + min(0, down)
    high = row[2] + max(0, across) + max(0, down)
    return math.ceil(max(0, -low)) + 1, math.ceil(max(0, high - last)) + 1
