"""The study's plain convolutional network, with batch normalisation and an early reduction of the image."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from cellnet.backbones.base import Backbone

_WIDTHS = (32, 64, 128, 256)


class PlainCNN(Backbone):
    """Blocks of convolution, batch normalisation, ReLU and max pooling; 32 to 256 features.

    The study's baseline that is trained from nothing. Unlike the study's, its first convolution has stride 2,
    which makes it fast enough to train on a laptop, and it ends in global average pooling, which takes
    images of any size from 16 px on.

    Example:
        >>> import torch
        >>> PlainCNN().feature_maps(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 256, 4, 4])
    """

    def __init__(self) -> None:
        super().__init__()
        self.name = "cnn"
        self.num_features = _WIDTHS[-1]
        self.input_size = 128
        self.mean = self.std = (0.5, 0.5, 0.5)
        layers: list[nn.Module] = [block(3, _WIDTHS[0], stride=2)]
        for width, next_width in pairwise(_WIDTHS):
            layers += [nn.MaxPool2d(2), block(width, next_width)]
        self.blocks = nn.Sequential(*layers, block(_WIDTHS[-1], _WIDTHS[-1]))

    def feature_maps(self, images: Tensor) -> Tensor:
        """Normalised images BxCxHxW -> Bx256xH/16xW/16."""
        maps: Tensor = self.blocks(images)
        return maps


def block(in_channels: int, out_channels: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU; the maps keep their size but for the stride."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
