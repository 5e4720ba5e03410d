"""Several views of an image, over which a model's logits are averaged: test-time augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cellnet.images import Preprocess
from cellnet.images.preprocess import MAX_CROP

SCALE = 1.15
"""By how much cells look smaller in one view, and larger in another: `adapt` brings them no closer than this."""


def cuts(preprocess: Preprocess, tta: bool) -> list[Preprocess]:
    """How an image is cut: as ever, and for test-time augmentation a little wider and a little closer, too."""
    wider, closer = (replace(preprocess, crop=min(MAX_CROP, preprocess.crop * by)) for by in (SCALE, 1 / SCALE))
    return [preprocess, wider, closer] if tta else [preprocess]


def make_views(images: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The views of a batch, on the device and channels-last.

    Args:
        images: For each image its cuts, uint8 K×3×S×S.
        device: Where the model computes.

    Returns:
        Uint8 B×3×S×S each: the first cut, then, if there are several, the others, and the first one turned by a
        quarter, by a half and by three quarters, and mirrored.
    """
    # Bytes travel to the device, a quarter of floats; convolutions are fastest in channels-last order.
    views = [
        torch.stack([image[cut].permute(1, 2, 0) for image in images]).to(device, non_blocking=True)
        for cut in range(len(images[0]))
    ]
    if len(views) > 1:
        plain = views[0]
        views += [*(torch.rot90(plain, quarters, (1, 2)).contiguous() for quarters in (1, 2, 3)), plain.flip(2)]
    return [view.permute(0, 3, 1, 2) for view in views]
