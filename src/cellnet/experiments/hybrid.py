"""The study's hybrid, both ways: in two stages on frozen networks, and as one network trained jointly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from cellnet.backbones import check_image_size
from cellnet.cards import WeightsCard
from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError
from cellnet.experiments.run import RunResult, train_and_report
from cellnet.experiments.study import MakeModel
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier, HybridInceptionXception, create_model
from cellnet.models.factory import HYBRID_BACKBONE
from cellnet.training import TrainConfig

FUSED_EPOCHS = 5
"""Epochs of the study's second stage."""


def branch_names(name: str) -> tuple[str, str]:
    """The two networks of ``"hybrid"``, or of a pair such as ``"cnn+cnn"``.

    Raises:
        ConfigError: ``name`` is not one of a pair.

    Example:
        >>> branch_names("hybrid")
        ('inception_v3', 'xception')
    """
    names = (HYBRID_BACKBONE if name == "hybrid" else name).split("+")
    if len(names) != 2:
        raise ConfigError(f"Two stages fuse two networks, {name!r} is not a pair; use hybrid, or e.g. cnn+resnet50.")
    return names[0].strip(), names[1].strip()


def create_joint_hybrid(labels: LabelSchema, **options: Any) -> HybridInceptionXception:
    """The hybrid with nothing frozen, built of branches that have options of their own.

    ``create_model("hybrid")`` is the same with the branches' own statistics.

    Args:
        labels: The classes.
        **options: Options of `create_model` for each branch, e.g. ``mean``, ``std``, ``pretrained``, ``image_size``.

    Raises:
        CellnetError: As `create_model`.
    """
    a, b = (create_model(name, labels, head="study", **options) for name in branch_names("hybrid"))
    return HybridInceptionXception.from_branches(a, b, freeze=False)


def create_network(name: str, labels: LabelSchema, **options: Any) -> CellClassifier:
    """`create_model`, except that statistics given for the hybrid are those of its branches.

    Raises:
        CellnetError: As `create_model`.
    """
    if name == "hybrid" and options.keys() & {"mean", "std"} and not options.keys() & {"head", "weights"}:
        return create_joint_hybrid(labels, **options)
    return create_model(name, labels, **options)


def train_two_stages(
    parts: Sequence[CellDataset],
    make_branches: Sequence[MakeModel],
    configs: Sequence[TrainConfig],
    out: str | PathLike[str],
    *,
    freeze: bool = True,
    image_size: int | None = None,
    crop: float | None = None,
    dropout: float = 0.5,
    starting_weights: str = "",
    **options: Any,
) -> list[RunResult]:
    """The study's two stages: train two networks alone, then fuse them.

    Each stage is a run folder, ``branch-1``, ``branch-2`` and ``hybrid``, as `train_and_report` writes it. On
    resume a stage that was done is only judged again, an interrupted one goes on.

    Args:
        parts: Training, validation and test part.
        make_branches: Make the two networks, each with the study's head: ``create_model(name, head="study")``.
        configs: How to train the first, the second, and the fused one.
        out: Folder of the stages.
        freeze: Train the fused layers alone, as the study does; False trains everything.
        image_size: See `fuse`.
        crop: See `fuse`.
        dropout: See `fuse`.
        starting_weights: Where the two networks' weights start from.
        **options: See `train_and_report`: split, resume, device, callbacks, command.

    Returns:
        What each stage gave, the hybrid last.

    Raises:
        ConfigError: Not two networks and three configs, or networks that cannot be fused.
        CellnetError: As `train_and_report`.
    """
    if len(make_branches) != 2 or len(configs) != 3:
        raise ConfigError(
            f"Two stages take two networks and three configs, not {len(make_branches)} and {len(configs)}: one "
            "config each for the two networks, and one for the fused layers."
        )

    a, b = (make() for make in make_branches)
    form: dict[str, Any] = {"freeze": freeze, "image_size": image_size, "crop": crop, "dropout": dropout}
    fuse(a, b, **form)  # what cannot be fused is found now, not after two trainings

    results = []
    for number, (make, config) in enumerate(zip(make_branches, configs, strict=False), start=1):
        torch.manual_seed(config.seed)
        model = make()
        folder = Path(out) / f"branch-{number}"
        results.append(
            train_and_report(
                parts, model, config, folder, name=model.backbone.name, starting_weights=starting_weights, **options
            )
        )
    start = "branch-1 and branch-2 of this run"
    branches = [result.fit.model for result in results]
    origins = tuple(card for branch in branches for card in branch.lineage)
    return [
        *results,
        _train(parts, branches, configs[2], Path(out) / "hybrid", form, origins, starting_weights=start, **options),
    ]


def train_fused(
    parts: Sequence[CellDataset],
    branches: Sequence[CellClassifier],
    config: TrainConfig,
    out: str | PathLike[str],
    *,
    freeze: bool = True,
    image_size: int | None = None,
    crop: float | None = None,
    dropout: float = 0.5,
    **options: Any,
) -> RunResult:
    """The second of the study's stages alone: fuse two networks that were trained before, and train the whole.

    Args:
        parts: Training, validation and test part. The networks must not have seen the last two.
        branches: The two networks, each with the study's head.
        config: How to train.
        out: Run folder.
        freeze: See `fuse`.
        image_size: See `fuse`.
        crop: See `fuse`.
        dropout: See `fuse`.
        **options: See `train_and_report`: split, resume, device, callbacks, command, starting_weights.

    Raises:
        ConfigError: Not two networks, or two that cannot be fused.
        DataError: A network's card says that it was trained on another division of the images.
        CellnetError: As `train_and_report`.
    """
    if len(branches) != 2:
        raise ConfigError(f"The hybrid fuses two networks, not {len(branches)}; give two, e.g. inception_v3, xception.")
    form: dict[str, Any] = {"freeze": freeze, "image_size": image_size, "crop": crop, "dropout": dropout}
    origins = tuple(card for branch in branches for card in (*branch.origins, branch.weights_card))
    return _train(parts, branches, config, out, form, origins, **options)


def _train(
    parts: Sequence[CellDataset],
    branches: Sequence[CellClassifier],
    config: TrainConfig,
    out: str | PathLike[str],
    form: dict[str, Any],
    origins: tuple[WeightsCard | None, ...],
    **options: Any,
) -> RunResult:
    torch.manual_seed(config.seed)
    hybrid = fuse(*branches, **form)
    hybrid.origins = origins
    if form["freeze"]:
        config = replace(config, freeze_epochs=0)  # they end in thawing what is to stay frozen
    name = "hybrid" if hybrid.backbone.name == HYBRID_BACKBONE else hybrid.backbone.name
    return train_and_report(parts, hybrid, config, out, name=name, **options)


def fuse(
    a: CellClassifier,
    b: CellClassifier,
    *,
    freeze: bool = True,
    image_size: int | None = None,
    crop: float | None = None,
    dropout: float = 0.5,
) -> HybridInceptionXception:
    """`HybridInceptionXception.from_branches`, for images of another size or crop than those of the two networks.

    Args:
        a: First network.
        b: Second network.
        freeze: Train the fused layers alone, as the study does; False trains everything.
        image_size: Side in pixels of the hybrid's images; that of the two networks where it is None.
        crop: Share of the shorter side that it sees; that of the two networks where it is None.
        dropout: Dropout of the fused layers.

    Raises:
        CellnetError: As `HybridInceptionXception.from_branches`, or an image size that a network does not take.
    """
    hybrid = HybridInceptionXception.from_branches(a, b, freeze=freeze, dropout=dropout)
    own = hybrid.preprocess
    hybrid.preprocess = replace(own, image_size=image_size or own.image_size, crop=crop or own.crop)
    check_image_size(hybrid.backbone, hybrid.preprocess.image_size)
    return hybrid
