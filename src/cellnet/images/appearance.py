"""What an image looks like as a picture, whatever it shows: its colours, their contrast, its sharpness."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cellnet.errors import ImageError
from cellnet.images.background import background_colour
from cellnet.images.nucleus import nucleus_masks

APPEARANCE = (
    *(f"{what} of {channel}" for what in ("mean", "spread", "background", "nucleus") for channel in "RGB"),
    "R with G",
    "G with B",
    "nucleus share",
    "fine detail",
    "coarse detail",
)
"""What `appearance` measures, in its order."""


def appearance(images: Tensor) -> Tensor:
    """Measure pictures: stain, light, contrast and focus, not cells.

    A network that learned to look through such differences has no features to notice them by. Colours are optical
    densities, ``-log((value + 1) / 256)``, in which a dye adds the same whatever lies beneath (Beer-Lambert).

    Args:
        images: uint8 B×3×H×W, at least 8 pixels wide and high.

    Returns:
        float32 B×17, as `APPEARANCE` names them: of each channel mean, standard deviation, the background and the
        nucleus; how red and green, green and blue go together (correlation); the nucleus's share of the image (root);
        logarithms of the mean squared Laplacian of the grey image, and of the same at half the size.

    Raises:
        ImageError: ``images`` is something else.

    Example:
        >>> appearance(torch.full((2, 3, 16, 16), 200, dtype=torch.uint8)).shape
        torch.Size([2, 17])
    """
    masks = nucleus_masks(images)
    if min(images.shape[-2:]) < 8:
        raise ImageError(f"Images of {tuple(images.shape[-2:])} pixels are too small to measure; give 8 or more.")
    densities = _density(images)
    flat = densities.flatten(2)
    spread = flat.std(2, correction=0)
    together = [
        (flat[:, a] * flat[:, b]).mean(1) - flat[:, a].mean(1) * flat[:, b].mean(1) for a, b in ((0, 1), (1, 2))
    ]
    scales = [spread[:, a] * spread[:, b] + 1e-4 for a, b in ((0, 1), (1, 2))]
    share = masks.float().mean((1, 2))
    nucleus = (densities * masks[:, None]).mean((2, 3)) / share[:, None].clamp(min=1e-6)
    grey = densities.mean(1, keepdim=True)
    measured = [
        flat.mean(2),
        spread,
        _density(background_colour(images)),
        nucleus,
        *((pair / scale)[:, None] for pair, scale in zip(together, scales, strict=True)),
        share.sqrt()[:, None],
        _detail(grey),
        _detail(F.avg_pool2d(grey, 2)),
    ]
    return torch.cat(measured, 1)


def _density(colours: Tensor) -> Tensor:
    return -torch.log((colours.float() + 1) / 256)


def _detail(grey: Tensor) -> Tensor:
    """The logarithm of the mean squared Laplacian, B×1."""
    kernel = grey.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return (F.conv2d(grey, kernel).square().mean((2, 3)) + 1e-6).log()
