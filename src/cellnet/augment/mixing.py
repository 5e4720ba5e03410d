"""Images mixed with each other, and their labels in the same shares: mixup and cutmix, on batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cellnet.augment.draws import check_numbers
from cellnet.errors import ConfigError, ImageError, LabelError

Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a rectangle in pixels; right and bottom lie outside."""


def mixup(images: Tensor, targets: Tensor, partners: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Lay each image over a partner, both transparent (Zhang et al. 2018).

    Args:
        images: uint8 (0-255) or float, N×C×H×W, on any device.
        targets: float N×K, the share of each class, e.g. one-hot labels.
        partners: int64 N, for each image the place in the batch of the one that it is mixed with.
        share: What remains of the image and of its target, 0-1; the rest is the partner's.

    Returns:
        Images of the same type and shape, uint8 rounded; and targets float N×K.

    Raises:
        ImageError: ``images`` is something else.
        LabelError: ``targets`` or ``partners`` do not belong to N images.
        ConfigError: ``share`` is not in 0-1.

    Example:
        >>> images = torch.tensor([10, 30], dtype=torch.uint8).view(2, 1, 1, 1)
        >>> mixed, targets = mixup(images, torch.eye(2), torch.tensor([1, 0]), share=0.75)
        >>> mixed.flatten().tolist(), targets.tolist()
        ([15, 25], [[0.75, 0.25], [0.25, 0.75]])
    """
    _check(images, targets, partners)
    check_numbers("share", [share], 0, 1)
    pixels = images if images.is_floating_point() else images.float()
    mixed = torch.lerp(pixels[partners], pixels, share)
    if not images.is_floating_point():
        mixed = mixed.round_().to(images.dtype)
    return mixed, torch.lerp(targets[partners], targets, share)


def cutmix(images: Tensor, targets: Tensor, partners: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of a partner into each image (Yun et al. 2019).

    Args:
        images: As for `mixup`.
        targets: As for `mixup`; a partner's share is that of the rectangle in the area.
        partners: As for `mixup`.
        box: The rectangle, the same for all images; it may be empty.

    Returns:
        As `mixup`.

    Raises:
        ImageError, LabelError: As `mixup`.
        ConfigError: The box does not lie in the image.

    Example:
        >>> images = torch.tensor([10, 30], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 1, 4)
        >>> mixed, targets = cutmix(images, torch.eye(2), torch.tensor([1, 0]), box=(0, 0, 1, 1))
        >>> mixed[0].flatten().tolist(), targets[0].tolist()
        ([30, 10, 10, 10], [0.75, 0.25])
    """
    _check(images, targets, partners)
    height, width = images.shape[-2:]
    left, top, right, bottom = box
    if not (0 <= left <= right <= width and 0 <= top <= bottom <= height):
        raise ConfigError(f"box={box} does not lie in images of {width}×{height} px; give left, top, right, bottom.")
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images[partners, :, top:bottom, left:right]
    share = 1 - (right - left) * (bottom - top) / (width * height)
    return mixed, torch.lerp(targets[partners], targets, share)


@dataclass(frozen=True)
class BatchMixing:
    """One of mixup and cutmix on each batch, drawn anew; with both, either in half of the batches.

    It goes over a batch after its images were augmented, and the loss takes its targets as shares of classes,
    as `torch.nn.functional.cross_entropy` does. Never mix what a model is judged or calibrated on.

    Args:
        mixup: Shape α of the Beta(α, α) distribution of the share; 0 is no mixup. The smaller it is, the nearer
            most images stay to one of the two.
        cutmix: The same for cutmix; 1 makes all sizes of the rectangle equally likely.

    Raises:
        ConfigError: A negative shape.

    Example:
        >>> mixing = BatchMixing(mixup=0.2, cutmix=1.0)
        >>> images, labels = torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.tensor([0, 1, 2, 2])
        >>> mixed, targets = mixing(images, labels, num_classes=3, generator=torch.Generator().manual_seed(0))
        >>> mixed.shape, targets.shape
        (torch.Size([4, 3, 32, 32]), torch.Size([4, 3]))
    """

    mixup: float = 0.2
    cutmix: float = 1.0

    def __post_init__(self) -> None:
        check_numbers("mixup", [self.mixup], 0)
        check_numbers("cutmix", [self.cutmix], 0)

    def __call__(
        self, images: Tensor, labels: Tensor, num_classes: int, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            images: uint8 (0-255) or float, N×C×H×W, on any device.
            labels: int64 N, or float N×K that is soft already.
            num_classes: K.
            generator: Where all draws come from, on the CPU; None takes torch's global one.

        Returns:
            Images of the same type and shape, and targets float N×K.

        Raises:
            ImageError, LabelError: As `mixup` of this module; or a label is not in 0 to K - 1.
        """
        targets = _one_hot(labels, num_classes)
        # torch has no public Beta distribution that takes a generator.
        seed, coin = torch.randint(2**62, (2,), generator=generator).tolist()
        partners = torch.randperm(len(images), generator=generator).to(images.device)
        rng = np.random.default_rng(seed)
        if self.mixup and (coin % 2 or not self.cutmix):
            return mixup(images, targets, partners, float(rng.beta(self.mixup, self.mixup)))
        if self.cutmix:
            height, width = images.shape[-2:]
            share = float(rng.beta(self.cutmix, self.cutmix))
            return cutmix(images, targets, partners, _draw_box(rng, height, width, share))
        return images, targets


def _draw_box(rng: np.random.Generator, height: int, width: int, share: float) -> Box:
    """A rectangle in the image's proportions that leaves ``share`` of it; what juts out of the frame is cut off."""
    half_width, half_height = (int(0.5 * math.sqrt(1 - share) * side) for side in (width, height))
    x, y = int(rng.integers(width)), int(rng.integers(height))
    left, right = max(x - half_width, 0), min(x + half_width, width)
    return left, max(y - half_height, 0), right, min(y + half_height, height)


def _one_hot(labels: Tensor, num_classes: int) -> Tensor:
    if labels.is_floating_point():
        if labels.ndim != 2 or labels.shape[1] != num_classes:
            raise LabelError(f"Soft labels of {num_classes} classes are N×{num_classes}, not {tuple(labels.shape)}.")
        return labels
    if labels.ndim != 1 or (len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes):
        raise LabelError(
            f"Labels must be N whole numbers from 0 to {num_classes - 1}, not {tuple(labels.shape)} like "
            f"{labels.flatten()[:10].tolist()}; check num_classes={num_classes}."
        )
    return F.one_hot(labels.long(), num_classes).float()


def _check(images: Tensor, targets: Tensor, partners: Tensor) -> None:
    if images.ndim != 4 or not (images.is_floating_point() or images.dtype == torch.uint8):
        raise ImageError(f"Mixing takes a batch N×C×H×W of uint8 or float, not {images.dtype} {tuple(images.shape)}.")
    if targets.ndim != 2 or not targets.is_floating_point() or len(targets) != len(images):
        raise LabelError(
            f"Targets of {len(images)} images must be float {len(images)}×K, not {targets.dtype} "
            f"{tuple(targets.shape)}; make labels one-hot, or call BatchMixing, which does."
        )
    if partners.shape != images.shape[:1]:
        raise LabelError(f"{len(images)} images need as many partners, not {tuple(partners.shape)}.")
