"""Progressive image size: early epochs see small images, which cost less and teach the coarse things first."""

from __future__ import annotations

from torch import Tensor
from torchvision.transforms.v2 import functional as F

from cellnet.backbones import check_image_size
from cellnet.errors import ConfigError
from cellnet.models import CellClassifier

GROWTH = 2 / 3
"""Share of the epochs in which images grow; in the others they have their full size."""

STEP = 16
"""Sizes between the first and the last are multiples of so many pixels."""


def image_size_at(epoch: int, epochs: int, start: int, full: int) -> int:
    """Side of the images in an epoch; the longer the run, the finer the steps.

    Args:
        epoch: The epoch, from 0.
        epochs: How many there are.
        start: Side in the first epoch, pixels.
        full: Side in the last ones.

    Returns:
        Pixels.

    Example:
        >>> [image_size_at(epoch, 6, 64, 128) for epoch in range(6)]
        [64, 80, 96, 112, 128, 128]
    """
    growing = GROWTH * epochs
    if start >= full or epoch >= growing:
        return full
    return min(full, start + int((full - start) * epoch / growing / STEP) * STEP)


def shrink(images: Tensor, size: int) -> Tensor:
    """Square images N×C×S×S, uint8 or float, at another size; antialiased, and of the same type."""
    if images.shape[-1] == size:
        return images
    resized: Tensor = F.resize(images, [size, size], antialias=True)
    return resized


def check_sizes(model: CellClassifier, load_size: int | None, start_size: int | None) -> None:
    """Refuse images that are kept smaller than the model's own, or begin larger, or too small for its network.

    Raises:
        ConfigError: They do.
    """
    full = model.preprocess.image_size
    if load_size is not None and load_size < full:
        raise ConfigError(f"load_size={load_size} is smaller than the model's own {full} px; leave it out.")
    if start_size is None:
        return
    if start_size > full:
        raise ConfigError(
            f"start_size={start_size} is larger than the model's own {full} px; give a smaller one, or a model of "
            "a larger image_size."
        )
    check_image_size(model.backbone, start_size)
