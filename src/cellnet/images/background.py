"""What lies around a cell: its colour at the edge of the image, and a margin of it."""

from __future__ import annotations

import torch
from torch import Tensor

_RING = 40
"""The ring at the edge that is looked at is this part of the shorter side wide."""


def background_colour(images: Tensor) -> Tensor:
    """The colour at the edge of each image: the median of each channel over the outermost ring.

    The pixels in the corners of the ring count twice, and of two medians the lower one is taken. A cell that touches
    the edge does not change it, as long as it covers less than half of the ring.

    Args:
        images: uint8 …×3×H×W.

    Returns:
        uint8 …×3.

    Example:
        >>> image = torch.full((3, 8, 8), 200, dtype=torch.uint8)
        >>> image[:, 2:6, 2:8] = 90
        >>> background_colour(image)
        tensor([200, 200, 200], dtype=torch.uint8)
    """
    width = max(1, min(images.shape[-2:]) // _RING)
    rows = torch.cat((images[..., :width, :], images[..., -width:, :]), -2).flatten(-2)
    columns = torch.cat((images[..., :width], images[..., -width:]), -1).flatten(-2)
    return torch.cat((rows, columns), -1).median(-1).values


def add_margin(images: Tensor, side: int) -> Tensor:
    """Put images into the middle of squares of their background colour.

    Args:
        images: uint8 …×3×H×W, neither H nor W above ``side``.
        side: Side of the squares, pixels.

    Returns:
        uint8 …×3×side×side.

    Example:
        >>> add_margin(torch.full((3, 2, 2), 7, dtype=torch.uint8), 4).unique()
        tensor([7], dtype=torch.uint8)
    """
    height, width = images.shape[-2:]
    top, left = (side - height) // 2, (side - width) // 2
    squares = background_colour(images)[..., None, None].repeat(*[1] * (images.ndim - 2), side, side)
    squares[..., top : top + height, left : left + width] = images
    return squares
