"""Several backbones side by side, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellnet.backbones.base import Backbone
from cellnet.backbones.normalise import Normalise
from cellnet.errors import ConfigError


class CompositeBackbone(Backbone):
    """Two or more backbones that see the same images; their features are concatenated.

    The networks were made for different statistics, so a composite takes plain images on a scale of 0-1
    (``mean`` 0, ``std`` 1) and normalises for each branch by that branch's own ``mean`` and ``std``.

    Args:
        branches: The backbones, in the order of their features. `input_size` is the largest of theirs.

    Raises:
        ConfigError: Fewer than two branches, or a branch that is itself a composite.

    Example:
        >>> from cellnet.backbones.cnn import PlainCNN
        >>> CompositeBackbone([PlainCNN(), PlainCNN()])(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 512])
    """

    def __init__(self, branches: Sequence[Backbone]) -> None:
        super().__init__()
        if len(branches) < 2 or any(isinstance(branch, CompositeBackbone) for branch in branches):
            names = ", ".join(branch.name for branch in branches) or "none"
            raise ConfigError(f"A composite joins two or more single backbones, not {names}.")
        self.name = "+".join(branch.name for branch in branches)
        self.tag = " + ".join(branch.tag or branch.name for branch in branches)
        self.num_features = sum(branch.num_features for branch in branches)
        self.input_size = max(branch.input_size for branch in branches)
        self.mean, self.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        self._branches = nn.ModuleList(branches)
        self._normalise = nn.ModuleList(Normalise(branch.mean, branch.std) for branch in branches)

    @property
    def branches(self) -> tuple[Backbone, ...]:
        """The backbones, in the order of their features."""
        return tuple(cast(Backbone, branch) for branch in self._branches)

    def feature_maps(self, images: Tensor) -> Tensor:
        """Images BxCxHxW on a scale of 0-1 -> BxDxhxw, resized to the grid of the first branch."""
        first, *others = (
            branch.feature_maps(normalise(images))
            for branch, normalise in zip(self.branches, self._normalise, strict=True)
        )
        resized = (F.interpolate(m, first.shape[2:], mode="bilinear", antialias=True) for m in others)
        return torch.cat([first, *resized], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Images BxCxHxW on a scale of 0-1 -> BxD, each branch pooled in its own way."""
        pairs = zip(self.branches, self._normalise, strict=True)
        return torch.cat([branch(normalise(images)) for branch, normalise in pairs], dim=1)
