"""The study's U-Net as a classifier: an encoder, a decoder that sees the encoder's maps, and pooled features."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellnet.backbones.base import Backbone
from cellnet.backbones.cnn import block

_WIDTHS = (24, 48, 96, 192)


class UNet(Backbone):
    """U-Net (Ronneberger et al. 2015, arXiv 1505.04597) with 24 to 192 features, trained from nothing.

    The encoder halves the image four times, the first time in its first convolution, as `PlainCNN` does. The decoder
    goes back up to half the size; at each step it sees the encoder's maps of that size (the skip connections). Its last
    maps are widened to 192 features, whose mean over the image is the feature vector.

    Example:
        >>> import torch
        >>> net = UNet()
        >>> net.decode(torch.zeros(2, 3, 64, 48)).shape, net(torch.zeros(2, 3, 64, 48)).shape
        (torch.Size([2, 24, 32, 24]), torch.Size([2, 192]))
    """

    num_maps = _WIDTHS[0]
    """Maps of `decode`."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "unet"
        self.num_features = _WIDTHS[-1]
        self.input_size = 128
        self.mean = self.std = (0.5, 0.5, 0.5)
        self.down = nn.ModuleList([_double(3, _WIDTHS[0], stride=2)])
        self.down.extend(_double(width, next_width) for width, next_width in pairwise(_WIDTHS))
        self.up = nn.ModuleList(_double(above + skip, skip) for skip, above in reversed(list(pairwise(_WIDTHS))))
        self.widen = block(self.num_maps, self.num_features, kernel=1)

    def decode(self, images: Tensor) -> Tensor:
        """The decoder's last maps, which say of each place what is there: B×3×H×W normalised -> B×24×H/2×W/2."""
        skips: list[Tensor] = []
        maps = images
        for number, encode in enumerate(self.down):
            maps = encode(maps if number == 0 else F.max_pool2d(maps, 2))
            skips.append(maps)
        skips.pop()
        for fuse in self.up:
            skip = skips.pop()
            # Not by two: a side that is odd was rounded down on the way.
            maps = fuse(torch.cat([F.interpolate(maps, skip.shape[-2:]), skip], dim=1))
        return maps

    def feature_maps(self, images: Tensor) -> Tensor:
        """Normalised images B×3×H×W -> B×192×H/2×W/2."""
        maps: Tensor = self.widen(self.decode(images))
        return maps

    def pool(self, maps: Tensor) -> Tensor:
        """The feature vectors B×192 of what `decode` gave."""
        features: Tensor = self.widen(maps).mean(dim=(2, 3))
        return features


def _double(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(block(in_channels, out_channels, stride), block(out_channels, out_channels))
