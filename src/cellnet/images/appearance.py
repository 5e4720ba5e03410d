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
        logarithms of the mean squared Laplacian of the grey image, and of the same at half the size. Colours are those
        of every second pixel in every second row.

    Raises:
        ImageError: ``images`` is something else.

    Example:
        >>> appearance(torch.full((2, 3, 16, 16), 200, dtype=torch.uint8)).shape
        torch.Size([2, 17])
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8 or min(images.shape[-2:]) < 8:
        raise ImageError(
            "Pictures are measured as uint8 images B×3×H×W of 8 pixels or more, not as "
            f"{images.dtype} {tuple(images.shape)}."
        )
    few = images[..., ::2, ::2]  # every fourth pixel tells the colours
    masks = nucleus_masks(few).flatten(1)
    densities = _density(few).flatten(2)
    mean = densities.mean(2)
    share = masks.float().mean(1)
    nucleus = (densities * masks[:, None]).mean(2) / share[:, None].clamp(min=1e-6)
    densities -= mean[:, :, None]
    spread = densities.square().mean(2).sqrt()
    together = [
        (densities[:, a] * densities[:, b]).mean(1) / (spread[:, a] * spread[:, b] + 1e-4) for a, b in ((0, 1), (1, 2))
    ]
    grey = _density(images.float().mean(1))
    background = _density(background_colour(images))
    details = _detail(grey), _detail(F.avg_pool2d(grey[:, None], 2)[:, 0])
    single = torch.stack([*together, share.sqrt(), *details], 1)
    return torch.cat([mean, spread, background, nucleus, single], 1)


def _density(colours: Tensor) -> Tensor:
    return -torch.log((colours.float() + 1) / 256)


def _detail(grey: Tensor) -> Tensor:
    """The logarithm of the mean squared Laplacian, B."""
    inner = 4 * grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return ((inner - around).square().mean((1, 2)) + 1e-6).log()
