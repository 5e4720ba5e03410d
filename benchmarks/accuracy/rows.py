"""The rows of the table: which network, trained in which way, from which start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cellnet.registry import check_name

KINDS = ("single", "contrast", "fused")


@dataclass(frozen=True)
class Row:
    """One model of the table.

    Args:
        name: Its name in the table, and for ``--rows``.
        model: What `cellnet.experiments.create_network` makes.
        kind: ``single``: one training by cross-entropy; ``contrast``: an encoder by contrast, then a classifier on it;
            ``fused``: the study's second stage, on the frozen networks of two other rows.
        start: ``nothing``; ``hub``: ImageNet weights of the Hub, where these are asked for; ``file``: a start file.
        start_file: How the name of that file begins: timm's name of the network.
        train: Training options that go before the protocol's.
        options: Options of `create_network` that do.
        branches: The rows that a fused one is made of.
        length: Epochs beside those of the protocol.
        smote: The study balanced its training part by SMOTE; its protocol does, ours does not.
    """

    name: str
    model: str
    kind: str = "single"
    start: str = "hub"
    start_file: str = ""
    train: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    branches: tuple[str, ...] = ()
    length: float = 1.0
    smote: bool = False


# Of the study's ResNet-50 rows the optimizers are known, not their rates: these are the defaults of its library.
_SGD = {"optimizer": "sgd", "lr": 0.01, "momentum": 0.0}
_RMSPROP = {"optimizer": "rmsprop", "lr": 0.001, "momentum": 0.0}
# Two views that hardly differ teach nothing, and more images have more to compare: docs/how-to/contrastive.md.
_CONTRAST = {"augmentation": "strong", "batch_size": 64}
# The hybrid takes over the dense layer behind each network.
_BRANCH = {"head": "study"}
# What the start files were trained on: x / 127.5 - 1.
_HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

ROWS = (
    Row("cnn", "cnn", start="nothing"),
    Row("unet", "unet", start="nothing"),
    Row("resnet50_sgd", "resnet50", train=_SGD),
    Row("resnet50_rmsprop", "resnet50", train=_RMSPROP),
    Row("vgg16", "vgg16"),
    Row("densenet201", "densenet201"),
    Row("mobilenet_v2", "mobilenet_v2", smote=True),
    Row("inception_v3", "inception_v3", options=_BRANCH),
    Row("xception", "xception", options=_BRANCH),
    Row("supcon", "timm:resnetv2_50", "contrast", train=_CONTRAST, length=2.0),
    Row("hybrid_two_stage", "hybrid", "fused", branches=("inception_v3", "xception")),
    Row("hybrid_joint", "hybrid"),
    Row("mobilenet_v2_start", "mobilenet_v2", start="file", start_file="mobilenetv2_100", options=_HALF),
    Row(
        "efficientnet_lite0",
        "timm:tf_efficientnet_lite0",
        start="file",
        start_file="tf_efficientnet_lite0",
        options=_HALF,
    ),
)
"""The study's models in its order, then ours."""


def choose(words: str, rows: Sequence[Row] = ROWS) -> list[Row]:
    """The rows that ``--rows`` names, in the order of the table, with those that they are made of.

    Args:
        words: ``all``, or names by comma.
        rows: The rows that there are.

    Raises:
        UnknownNameError: No such row, with the nearest right one.
    """
    if words == "all":
        return list(rows)
    names = [row.name for row in rows]
    wanted = {check_name("row", word.strip(), [*names, "all"]) for word in words.split(",")}
    if "all" in wanted:
        return list(rows)
    wanted |= {branch for row in rows if row.name in wanted for branch in row.branches}
    return [row for row in rows if row.name in wanted]
