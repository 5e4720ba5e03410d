"""The study's hybrid, both ways: in two stages on frozen networks, and as one network trained jointly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from cellnet.backbones import check_image_size
from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError
from cellnet.experiments.run import RunResult, train_and_report
from cellnet.experiments.study import MakeModel
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier, HybridInceptionXception, create_model
from cellnet.models.factory import HYBRID_BACKBONE
from cellnet.training import Callback, TrainConfig

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
    split: str = "",
    resume: bool = False,
    device: str | None = None,
    callbacks: Sequence[Callback] = (),
    command: str = "",
    starting_weights: str = "",
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
        image_size: Side in pixels of the fused one's images; that of the two networks where it is None.
        split: See `train_and_report`, as for the other arguments.
        resume: See `train_and_report`.
        device: See `train_and_report`.
        callbacks: See `train_and_report`.
        command: See `train_and_report`.
        starting_weights: Where the two networks' weights start from.

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
    _fuse(a, b, freeze, image_size)  # what cannot be fused is found now, not after two trainings

    def stage(folder: str, model: CellClassifier, config: TrainConfig, name: str, start: str) -> RunResult:
        return train_and_report(
            parts,
            model,
            config,
            Path(out) / folder,
            name=name,
            split=split,
            resume=resume,
            device=device,
            callbacks=callbacks,
            command=command,
            starting_weights=start,
        )

    results = []
    for number, (make, config) in enumerate(zip(make_branches, configs, strict=False), start=1):
        torch.manual_seed(config.seed)
        model = make()
        results.append(stage(f"branch-{number}", model, config, model.backbone.name, starting_weights))
    fused = configs[2]
    torch.manual_seed(fused.seed)
    a, b = (result.fit.model for result in results)
    hybrid = _fuse(a, b, freeze, image_size)
    if freeze:
        fused = replace(fused, freeze_epochs=0)  # they end in thawing what is to stay frozen
    name = "hybrid" if hybrid.backbone.name == HYBRID_BACKBONE else hybrid.backbone.name
    return [*results, stage("hybrid", hybrid, fused, name, "branch-1 and branch-2 of this run")]


def _fuse(a: CellClassifier, b: CellClassifier, freeze: bool, image_size: int | None) -> HybridInceptionXception:
    hybrid = HybridInceptionXception.from_branches(a, b, freeze=freeze)
    if image_size is not None:
        check_image_size(hybrid.backbone, image_size)
        hybrid.preprocess = replace(hybrid.preprocess, image_size=image_size)
    return hybrid
