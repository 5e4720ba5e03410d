"""Several backbones side by side, as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
        return _on_one_grid([branch.feature_maps(seen) for branch, seen in self._seen(images)])

    def maps_and_pooling(self, images: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The maps of all branches, as `feature_maps` gives them, each branch pooled in its own way."""
        maps, pools = zip(*(branch.maps_and_pooling(seen) for branch, seen in self._seen(images)), strict=True)
        sizes = [branch.num_features for branch in self.branches]

        def pool(shift: Tensor) -> Tensor:
            parts = torch.split(shift, sizes, dim=1)
            return torch.cat([own(part) for own, part in zip(pools, parts, strict=True)], dim=1)

        return _on_one_grid(maps), pool

    def forward(self, images: Tensor) -> Tensor:
        """Images BxCxHxW on a scale of 0-1 -> BxD, each branch pooled in its own way."""
        return torch.cat([branch(seen) for branch, seen in self._seen(images)], dim=1)

    def _seen(self, images: Tensor) -> Iterator[tuple[Backbone, Tensor]]:
        """Each branch, and the images as it takes them."""
        for branch, normalise in zip(self.branches, self._normalise, strict=True):
            yield branch, normalise(images)


def _on_one_grid(maps: Sequence[Tensor]) -> Tensor:
    first, *others = maps
    resized = (F.interpolate(m, first.shape[2:], mode="bilinear", antialias=True) for m in others)
    return torch.cat([first, *resized], dim=1)
