"""Layer-wise learning rates: the first layers of pretrained weights are general, the last ones must change most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from timm.models import group_parameters

from cellnet.backbones import Backbone, CompositeBackbone
from cellnet.models import CellClassifier


def depths(model: CellClassifier) -> dict[str, int]:
    """How many layers lie above each parameter; 0 for the head.

    Layers are timm's own groups where a network comes from there; the networks of a composite are counted each from
    its own top.

    Args:
        model: The model.

    Returns:
        Parameter name -> depth.

    Example:
        >>> from cellnet.models import create_model
        >>> numbers = depths(create_model("cnn"))
        >>> [numbers[f"{layer}.weight"] for layer in ("head.classify.1", "backbone.blocks.7.0", "backbone.blocks.0.0")]
        [0, 1, 5]
    """
    found = dict.fromkeys((name for name, _ in model.named_parameters()), 0)
    for prefix, backbone in _single_backbones(model):
        layers = _layers(backbone)
        top = max(layers.values(), default=0)
        found |= {f"{prefix}.{name}": 1 + top - number for name, number in layers.items()}
    return found


def _single_backbones(model: CellClassifier) -> Iterator[tuple[str, Backbone]]:
    composite = isinstance(model.backbone, CompositeBackbone)
    for name, module in model.named_modules():
        if isinstance(module, Backbone) and not (composite and module is model.backbone):
            yield name, module


def _layers(backbone: Backbone) -> dict[str, int]:
    net: Any = getattr(backbone, "net", None)
    if hasattr(net, "group_matcher"):
        numbers = group_parameters(net, net.group_matcher(coarse=False), reverse=True)
        return {f"net.{name}": number for name, number in numbers.items()}
    # Modules two levels down, in the order in which they were made: blocks.0, blocks.2, ...
    blocks = {name: ".".join(name.split(".")[:2]) for name, _ in backbone.named_parameters()}
    order = {block: number for number, block in enumerate(dict.fromkeys(blocks.values()))}
    return {name: order[block] for name, block in blocks.items()}
