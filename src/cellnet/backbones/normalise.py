"""Normalisation of images, inside the network that wants it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """``(image - mean) / std`` as one multiply-add on the device that computes.

    Its numbers are configuration and not weights: they follow the device and precision of the network but
    are not part of the state dict.

    Args:
        mean: Mean of each channel on a scale of 0-1.
        std: Standard deviation of each channel on the same scale.

    Example:
        >>> images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2)
        >>> Normalise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))(images)[0, 0, 0].round(decimals=4)
        tensor([-2.,  2.])
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # In double precision, so that the stored factors are the nearest floats.
        centre, spread = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) for v in (mean, std))
        self.register_buffer("scale", (1 / spread).float(), persistent=False)
        self.register_buffer("shift", (-centre / spread).float(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise a batch BxCxHxW of uint8 (0-255) or float (0-1)."""
        scale = self.scale / 255 if images.dtype == torch.uint8 else self.scale
        return torch.addcmul(self.shift, images.to(scale.dtype), scale)
