"""Any network of the timm library as a backbone, those of the study pinned to one set of weights each."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from cellnet.backbones.base import Backbone
from cellnet.backbones.weights import WeightsReport, load_weights
from cellnet.errors import ConfigError, UnknownNameError, WeightsError
from cellnet.registry import unknown_name

STUDY_NETWORKS = {
    "resnet50": "resnet50.a1_in1k",
    "vgg16": "vgg16.tv_in1k",
    "densenet201": "densenet201.tv_in1k",
    "mobilenet_v2": "mobilenetv2_100.ra_in1k",
    "inception_v3": "inception_v3.tf_in1k",
    "xception": "legacy_xception.tf_in1k",
}
"""The study's networks: cellnet's name -> timm's name and tag."""

# Where a head widens the features before it classifies, these are timm's names for its layers.
_HEAD_LAYERS = ("pre_logits", "conv_head", "norm_head", "head", "classifier")

# VGG's fully connected layers, 102 of its 117 million parameters, are dropped here; when nothing is to be
# loaded into them they are built tiny, which saves seconds and 400 MB.
_UNTRAINED_OPTIONS: dict[str, dict[str, Any]] = {STUDY_NETWORKS["vgg16"]: {"mlp_ratio": 1 / 4096}}

# Transformers whose size is fixed at construction take other sizes with one of these sets of options.
_ANY_SIZE = ({"dynamic_img_size": True, "dynamic_img_pad": True}, {"dynamic_img_size": True})


class TimmBackbone(Backbone):
    """A timm network without its classifier; statistics and input size come from timm's configuration.

    Networks whose head goes from the maps to a vector of the same length keep their own pooling: the global
    average of convolutional networks, the class token, norm or attention pooling of others. A head that first
    widens the vector (VGG, MobileNetV3) is dropped, and the global average of the maps is taken.

    Args:
        tag: timm's name, with or without the tag of its weights, e.g. ``"resnet50.a1_in1k"``.
        name: What cellnet calls it, ``timm:<tag>`` by default.
        pretrained: Download timm's weights.

    Raises:
        UnknownNameError: timm does not know the name.
        ConfigError: The name is a download source (``hf-hub:``, a folder), not a plain name.
        WeightsError: The download failed.

    Example:
        >>> TimmBackbone("resnet18").num_features
        512
    """

    def __init__(self, tag: str, name: str | None = None, *, pretrained: bool = False) -> None:
        super().__init__()
        check_timm_name(tag)
        net = _create(tag, pretrained)
        config = net.pretrained_cfg
        self.name = name or f"timm:{tag}"
        self.tag = ".".join(filter(None, (config["architecture"], config.get("tag"))))
        self.num_features = int(net.num_features)
        self.input_size = int(config["input_size"][-1])
        self.mean, self.std = tuple(config["mean"]), tuple(config["std"])
        classifiers = config.get("classifier") or ()
        self._unused = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
        self._own_pooling = net.head_hidden_size == self.num_features
        if not self._own_pooling:
            for layer in _HEAD_LAYERS:
                if hasattr(net, layer):
                    setattr(net, layer, nn.Identity())
            self._unused += _HEAD_LAYERS
        self.net = net

    def feature_maps(self, images: Tensor) -> Tensor:
        """Normalised images BxCxHxW -> BxDxhxw.

        Raises:
            ConfigError: The features of this network do not form a map.
        """
        return self._as_maps(self.net.forward_features(images), images)

    def _as_maps(self, raw: Any, images: Tensor) -> Tensor:
        if isinstance(raw, Tensor) and raw.ndim == 4:
            return raw.permute(0, 3, 1, 2) if self._channels_last else raw
        if isinstance(raw, Tensor) and raw.ndim == 3:
            tokens = raw[:, self._num_prefix_tokens :].transpose(1, 2)
            height = round((tokens.shape[2] * images.shape[2] / images.shape[3]) ** 0.5)
            width = tokens.shape[2] // max(height, 1)
            if height * width == tokens.shape[2] > 1:  # a lone token is the summary of the image, not a map
                return tokens.reshape(*tokens.shape[:2], height, width)
        raise ConfigError(
            f"The features of {self.name} form no map; choose a network that keeps the grid of the image, "
            "such as a convolutional one, or explain this one by method='occlusion', which needs no map."
        )

    @property
    def _channels_last(self) -> bool:
        return getattr(self.net, "output_fmt", "NCHW") == "NHWC"

    @property
    def _num_prefix_tokens(self) -> int:
        return int(getattr(self.net, "num_prefix_tokens", 0))

    def maps_and_pooling(self, images: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Maps and the network's own pooling, which may take no notice of them: a class token's gradient is 0.

        Raises:
            ConfigError: As `feature_maps`.
        """
        if not self._own_pooling:
            return super().maps_and_pooling(images)
        raw = self.net.forward_features(images)

        def pool(shift: Tensor) -> Tensor:
            if raw.ndim == 4:
                moved = raw + (shift[:, None, None] if self._channels_last else shift[:, :, None, None])
            else:
                prefix, tokens = raw.tensor_split([self._num_prefix_tokens], dim=1)
                moved = torch.cat([prefix, tokens + shift[:, None]], dim=1)
            pooled: Tensor = self.net.forward_head(moved, pre_logits=True)
            return pooled

        return self._as_maps(raw, images), pool

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images BxCxHxW -> BxD, pooled as this network does."""
        if not self._own_pooling:
            return super().forward(images)
        pooled: Tensor = self.net.forward_head(self.net.forward_features(images), pre_logits=True)
        return pooled

    def load_weights(self, file: str | Path) -> WeightsReport:
        """Start from a safetensors file in timm's keys; a classifier in it is reported as unused.

        Raises:
            WeightsError: The file is missing, damaged, no safetensors, or of another network.
        """
        self.weights_report = load_weights(self.net, file, unused=self._unused)
        return self.weights_report


def check_timm_name(name: str) -> None:
    """Check that timm knows a network, and its tag where one is given.

    Raises:
        UnknownNameError: It does not; the message shows the nearest names.
        ConfigError: The name asks timm to fetch a network from elsewhere.
    """
    if any(character in name for character in ":/\\"):
        raise ConfigError(
            f"'timm:{name}' names a place to download from; give a plain timm name such as "
            "'timm:convnext_tiny', and weights=FILE for weights of your own."
        )
    architecture, _, tag = name.partition(".")
    if not architecture or not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture.lower(), timm.list_models(), n=5, cutoff=0.5)
        names = ", ".join(f"'timm:{n}'" for n in near) or "none"
        raise UnknownNameError(
            f"timm has no network {architecture!r}. Nearest: {names}; timm.list_models() shows them all."
        )
    tagged = timm.list_models(f"{architecture}.*", include_tags=True)
    if tag and name not in tagged:
        raise unknown_name("timm network", f"timm:{name}", [f"timm:{n}" for n in (architecture, *tagged)])


def timm_spelling(name: str) -> list[str]:
    """How to write a bare timm name, for error messages: ``["timm:<name>"]``, or nothing if timm has none."""
    return [f"timm:{name}"] if timm.is_model(name.partition(".")[0]) else []


def _create(tag: str, pretrained: bool) -> Any:
    if getattr(timm.get_pretrained_cfg(tag), "fixed_input_size", False):
        for options in _ANY_SIZE:
            with contextlib.suppress(TypeError):  # an option that this network does not have
                return _build(tag, pretrained, **options)
    return _build(tag, pretrained, **({} if pretrained else _UNTRAINED_OPTIONS.get(tag, {})))


def _build(tag: str, pretrained: bool, **options: Any) -> Any:
    try:
        return timm.create_model(tag, pretrained=pretrained, num_classes=0, **options)
    except TypeError:
        raise
    except Exception as error:  # the hub, the network and the file system fail in many ways
        if not pretrained:
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise WeightsError(
            f"The pretrained weights {tag!r} could not be fetched ({reason}); fetch them where there is a "
            "network and give weights=FILE, or leave out pretrained."
        ) from error
