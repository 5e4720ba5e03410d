"""Backbones by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from cellnet.backbones.base import Backbone, as_backbone
from cellnet.backbones.cnn import PlainCNN
from cellnet.backbones.composite import CompositeBackbone
from cellnet.backbones.timm_backbone import STUDY_NETWORKS, TimmBackbone, timm_spelling
from cellnet.backbones.unet import UNet
from cellnet.errors import ConfigError
from cellnet.registry import Registry, unknown_name

BACKBONES = Registry[Callable[..., Backbone]]("backbone", "cellnet.backbones")
"""Names that `create_backbone` knows beside ``timm:<name>``: each entry takes ``pretrained`` and builds."""


def _own(network: Callable[[], Backbone], name: str, *, pretrained: bool = False) -> Backbone:
    if pretrained:
        raise ConfigError(f"There are no pretrained weights for {name!r}; it is made to be trained from nothing.")
    return network()


BACKBONES.register("cnn")(partial(_own, PlainCNN, "cnn"))
BACKBONES.register("unet")(partial(_own, UNet, "unet"))
for _name, _tag in STUDY_NETWORKS.items():
    BACKBONES.register(_name)(partial(TimmBackbone, _tag, _name))


def create_backbone(name: str, *, pretrained: bool = False, weights: str | Path | None = None) -> Backbone:
    """Build a backbone.

    Args:
        name: A name of `BACKBONES`; ``timm:<name>`` for any other network of timm; or several of these joined
            by ``+``, which gives a `CompositeBackbone`.
        pretrained: Download the weights that timm publishes for it. False never touches the network.
        weights: Start from this local safetensors file, in timm's keys, instead; what matched is in
            ``backbone.weights_report``. A classifier in the file is left out.

    Raises:
        UnknownNameError: Unknown name; the message shows the nearest ones.
        ConfigError: ``pretrained`` together with ``weights``, one ``weights`` for several backbones, or what is
            registered under the name makes no `Backbone`.
        WeightsError: The weights cannot be fetched, or the file does not fit.

    Example:
        >>> backbone = create_backbone("cnn+timm:resnet18")
        >>> backbone.num_features, backbone.input_size
        (768, 224)
    """
    if not isinstance(pretrained, bool):
        raise ConfigError(f"pretrained={pretrained!r} must be True or False; give a file as weights=FILE.")
    if pretrained and weights is not None:
        raise ConfigError("pretrained=True and weights=FILE exclude each other; give one of them.")
    if "+" in name:
        if weights is not None:
            raise ConfigError(
                f"One weights file cannot fill the several backbones of {name!r}; load each into a model of "
                "its own and join them with HybridInceptionXception.from_branches."
            )
        return CompositeBackbone([create_backbone(n.strip(), pretrained=pretrained) for n in name.split("+")])
    backbone = _single(name, pretrained)
    if weights is not None:
        backbone.load_weights(weights)
    return backbone


def _single(name: str, pretrained: bool) -> Backbone:
    if name.startswith("timm:"):
        return TimmBackbone(name.removeprefix("timm:"), pretrained=pretrained)
    known = BACKBONES.list()
    if name not in known:
        raise unknown_name("backbone", name, [*known, *timm_spelling(name)])
    return as_backbone(BACKBONES.get(name)(pretrained=pretrained))
