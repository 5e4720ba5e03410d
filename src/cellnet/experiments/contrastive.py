"""Supervised contrastive training, in two stages: an encoder by contrast, then a classifier on its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import torch

from cellnet.datasets import CellDataset, split_hash
from cellnet.errors import ConfigError
from cellnet.experiments.lineage import check_lineage
from cellnet.experiments.run import RunResult, check_three, train_and_report
from cellnet.experiments.study import Announce, MakeModel
from cellnet.losses import SupConLoss
from cellnet.models import ContrastiveClassifier
from cellnet.training import Callback, TrainConfig, Trainer
from cellnet.training.objectives import Contrastive
from cellnet.training.processes import on_main_process

CLASSIFIER_EPOCHS = 5
"""Epochs of the second stage, where nothing else is said."""


def classifier_config(config: TrainConfig, *, fine_tune: bool = False) -> TrainConfig:
    """How the second stage is trained where the first is trained by ``config``: a few epochs, images as they come.

    Args:
        config: Of the first stage.
        fine_tune: Whether the encoder trains too: at a tenth of the rate.

    Example:
        >>> classifier_config(TrainConfig(epochs=40, sampling="m_per_class")).epochs
        5
    """
    lr = config.lr / 10 if fine_tune else config.lr
    return replace(config, epochs=CLASSIFIER_EPOCHS, lr=lr, sampling="shuffled", start_size=None, freeze_epochs=0)


def train_contrastive(
    parts: Sequence[CellDataset],
    make_model: MakeModel,
    configs: tuple[TrainConfig, TrainConfig],
    out: str | PathLike[str],
    *,
    loss: SupConLoss | None = None,
    dim: int = 128,
    fine_tune: bool = False,
    name: str = "supcon",
    split: str = "",
    resume: bool = False,
    device: str | None = None,
    callbacks: Sequence[Callback] = (),
    command: str = "",
    starting_weights: str = "",
    announce: Announce | None = None,
) -> RunResult:
    """Train an encoder by contrast, then a classifier on its features (Khosla et al. 2020, arXiv 2004.11362).

    Two augmented views of each image are made from one that is read once. The epoch of the encoder is chosen by a
    linear head that learns beside it and leaves no trace in it. Each stage is a run folder, ``encoder`` and
    ``classifier``; on resume a stage that was done is not done again, an interrupted one goes on.

    Args:
        parts: Training, validation and test part.
        make_model: Makes the classifier, an ordinary one.
        configs: How to train the encoder, and the classifier; `classifier_config` makes the second from the first.
        out: Folder of the stages.
        loss: The contrastive loss; `SupConLoss` at the temperature 0.1 where it is None. In several processes
            ``SupConLoss(gather=True)`` contrasts the images of all.
        dim: Length of the projections.
        fine_tune: Train the encoder in the second stage as well; False trains the head alone.
        name: Name of the weights in their card.
        split: See `train_and_report`, as for the other arguments.
        resume: See `train_and_report`.
        device: See `train_and_report`.
        callbacks: Things that watch both stages.
        command: See `train_and_report`.
        starting_weights: Where the encoder's weights start from.
        announce: Told in words which stage begins.

    Returns:
        What the second stage gave: an ordinary classifier and its report, with the features of the test part.

    Raises:
        DataError: Not three parts, or a model that may have been trained on images of the test part.
        ConfigError: Options that an objective of several views does not take, such as mixup, or ``mask_weight``.
        CellnetError: As `train_and_report`.
    """
    train, val, test = check_three(parts)
    encoder_config, config = configs
    if encoder_config.mask_weight or config.mask_weight:
        raise ConfigError("Contrastive training makes a classifier without masks; leave out mask_weight.")
    torch.manual_seed(encoder_config.seed)
    model = ContrastiveClassifier(make_model(), dim)
    check_lineage(model, train)
    trainer = Trainer(
        model,
        encoder_config,
        out=Path(out) / "encoder",
        objective=Contrastive(loss or SupConLoss()),
        callbacks=callbacks,
        device=device,
        starting_weights=starting_weights,
        facts={"split": split, "split_hash": split_hash(train, val, test), "command": command},
    )
    tell = announce or (lambda words: None)
    on_main_process(lambda: tell(f"encoder: {len(train):,} images to train on"), device)
    trainer.fit(train, val, resume=resume)

    classifier = model.classifier()
    if not fine_tune:
        classifier.freeze_backbone()
    torch.manual_seed(config.seed)
    on_main_process(lambda: tell(f"classifier: {len(train):,} images to train on, {len(test):,} to judge on"))
    return train_and_report(
        parts,
        classifier,
        config,
        Path(out) / "classifier",
        name=name,
        split=split,
        resume=resume,
        device=device,
        callbacks=callbacks,
        command=command,
        starting_weights=f"supervised contrastive training from {starting_weights or 'random initialisation'}",
        features=True,
    )
