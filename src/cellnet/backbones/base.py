"""What every backbone is: a network from normalised images to feature maps, and to one vector an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from cellnet.backbones.weights import WeightsReport, load_weights
from cellnet.errors import ConfigError

Statistics = tuple[float, float, float]
"""One number each for red, green and blue, on a scale of 0-1."""


class Backbone(nn.Module, ABC):
    """A network without classifier: normalised images in, features out.

    A subclass sets the attributes below and gives `feature_maps`. `forward` pools the maps by their mean;
    a network whose own pooling does more (a class token, a norm after pooling) overrides it, and `maps_and_pooling`.

    Attributes:
        name: What `create_backbone` calls it.
        tag: The exact timm weights that ``pretrained=True`` loads, empty where there are none.
        num_features: Length D of the feature vector.
        input_size: Side in pixels of the square images that it was designed for.
        mean: Channel means that it expects to be subtracted from images on a scale of 0-1.
        std: Channel standard deviations that it expects to be divided by.
        weights_report: What matched in the weights file that it started from, None without such a file.
    """

    name: str
    tag: str = ""
    num_features: int
    input_size: int
    mean: Statistics
    std: Statistics
    weights_report: WeightsReport | None = None

    @abstractmethod
    def feature_maps(self, images: Tensor) -> Tensor:
        """The last feature maps.

        Args:
            images: Normalised float images BxCxHxW.

        Returns:
            BxDxhxw, with D = `num_features`.
        """

    def maps_and_pooling(self, images: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The last feature maps, and what `forward` makes of them: the gradient of that says how much each map counts.

        Args:
            images: As for `feature_maps`.

        Returns:
            The maps BxDxhxw, and the function from BxD, which is added to the maps at every place, to the BxD features.
        """
        maps = self.feature_maps(images)
        return maps, lambda shift: (maps + shift[:, :, None, None]).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """One feature vector an image: BxCxHxW normalised -> BxD."""
        return self.feature_maps(images).mean(dim=(2, 3))

    def load_weights(self, file: str | Path) -> WeightsReport:
        """Start from a safetensors file; what matched stays in `weights_report`.

        Raises:
            WeightsError: The file is missing, damaged, no safetensors, or of another network.
        """
        self.weights_report = load_weights(self, file)
        return self.weights_report


def as_backbone(network: object) -> Backbone:
    """The network, if it is a backbone and says what a backbone must.

    Raises:
        ConfigError: It does not derive from `Backbone`, or lacks one of its attributes.
    """
    name = type(network).__name__
    if not isinstance(network, Backbone):
        raise ConfigError(f"{name} is no backbone; derive it from cellnet.backbones.Backbone.")
    needed = ("name", "num_features", "input_size", "mean", "std")
    if missing := [word for word in needed if not hasattr(network, word)]:
        raise ConfigError(f"The backbone {name} does not say its {', '.join(missing)}; set it in the class.")
    return network
