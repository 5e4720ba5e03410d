"""One experiment: split, train, choose on validation, judge once on test, save with a card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellnet.cards import WeightsCard
from cellnet.datasets import CellDataset, split_hash, write_split
from cellnet.errors import DataError
from cellnet.evaluation import Report, evaluate
from cellnet.experiments.lineage import check_lineage, check_origin, name_of, seen_before
from cellnet.images import Preprocess, nucleus_share
from cellnet.inference import fit_familiarity
from cellnet.inference.ood import NEVER_ACCEPT
from cellnet.models import CellClassifier
from cellnet.training import Callback, Fit, TrainConfig, Trainer
from cellnet.training.parts import check_apart
from cellnet.training.processes import on_main_process
from cellnet.training.provenance import machine

NO_THRESHOLD = (
    "The {} fit no threshold, since no probability promises enough right answers on them: the model abstains from all. "
    "Give more validation images, or train longer."
)


@dataclass(frozen=True)
class RunResult:
    """What one experiment gives.

    Args:
        fit: The trained model and its history.
        report: Its judgement on the test part.
        checkpoint: The checkpoint folder, for `cellnet.load_pretrained`.
    """

    fit: Fit
    report: Report
    checkpoint: Path


def train_and_report(
    parts: Sequence[CellDataset],
    model: CellClassifier,
    config: TrainConfig,
    out: str | PathLike[str],
    *,
    name: str = "model",
    split: str = "",
    resume: bool = False,
    device: str | None = None,
    callbacks: Sequence[Callback] = (),
    command: str = "",
    starting_weights: str = "",
    distill: CellClassifier | None = None,
    balance: Any = None,
    features: bool = False,
) -> RunResult:
    """Train on the first of three parts, choose the best epoch on the second, and judge it on the third.

    The temperature and the thresholds of abstention are fitted on the validation part. Where several processes train
    the model together, each judges it, and the first one writes.

    Args:
        parts: Training, validation and test part.
        model: The model to train, in place.
        config: How to train.
        out: Run folder; ``report/`` and the checkpoint folder ``model/`` are written into it.
        name: Name of the weights in their card.
        split: How the parts were made, in words, for the card.
        resume: Continue the run in ``out``.
        device: ``"cpu"``, or None for the best device there is.
        callbacks: Things that watch the training.
        command: The command that started this, for the card.
        starting_weights: Where the model's weights started from, for the card.
        distill: A trained model to learn from as well, see `Trainer`.
        balance: Balances the training part, see `Trainer`.
        features: Show in the report how the test images lie in the network's features.

    Raises:
        DataError: Not three parts, an image in two of them, or a model or teacher that may have been trained on images
            of the test part.
        CellnetError: As `Trainer.fit` and `evaluate`.
    """
    folder = Path(out)
    train, val, test = check_three(parts)
    check_lineage(model, train)
    if distill is not None:
        check_origin(distill.weights_card, train, "The teacher")
    split_digest = split_hash(train, val, test)
    trainer = Trainer(
        model,
        config,
        out=folder,
        distill=distill,
        balance=balance,
        callbacks=callbacks,
        device=device,
        starting_weights=starting_weights,
        facts={"split": split, "split_hash": split_digest, "command": command},
    )
    fit = trainer.fit(train, val, resume=resume)
    fit.model.nucleus_share = cell_scale(train, fit.model.preprocess)
    fit_familiarity(fit.model, train, val, device=device)
    report = evaluate(
        fit.model,
        test,
        calibrate_on=val,
        history=fit.history,
        best_epoch=fit.best_epoch,
        features=features,
        settings={"split": split or "given parts", "split hash": split_digest},
    )
    if fit.model.thresholds["probability"] >= NEVER_ACCEPT:
        few = f"{len(val):,} validation image{'' if len(val) == 1 else 's'}"
        report = replace(report, notes=(NO_THRESHOLD.format(few), *report.notes))
    shares = ", ".join(f"{len(part)} {part.part}" for part in parts)
    scoring = report.scoring()
    card = WeightsCard(
        name=name,
        training_data=name_of(train),
        training_data_hash=train.fingerprint(),
        seen=seen_before(train, [*model.origins, distill.weights_card if distill else None]),
        split=f"{split or 'given parts'}: {shares}; split {split_digest}",
        starting_weights=starting_weights or "none (random initialisation)",
        command=command,
        metrics=scoring.metrics,
        num_test_images=report.n,
        limits=train.card.known_defects if train.card else (),
        scorings=(scoring,),
        training_set=facts_of(train),
        training=_training(fit, config, str(next(fit.model.parameters()).device)),
    )

    def write() -> Path:
        write_split(folder / "split.csv", train, val, test)
        report.save(folder / "report")
        return fit.model.save(folder / "model", card=card, overwrite=True)

    return RunResult(fit, report, on_main_process(write))


def cell_scale(train: CellDataset, preprocess: Preprocess, most: int = 400) -> float | None:
    """`nucleus_share` of evenly chosen training images; None where no nucleus is found."""
    chosen = np.linspace(0, len(train) - 1, min(most, len(train))).round().astype(int)
    share = nucleus_share(preprocess(train.image(int(i))) for i in chosen)
    return share if share > 0 else None


def facts_of(train: CellDataset) -> dict[str, str]:
    """What the card says of the training data, where they have a card themselves."""
    names = ("title", "source", "licence", "citation", "stain", "scanner")
    return {name: getattr(train.card, name) for name in names if train.card and getattr(train.card, name)}


def _training(fit: Fit, config: TrainConfig, device: str) -> dict[str, Any]:
    """How the weights came about; the hours are those of all epochs, however often the run was continued."""
    return {
        "seed": config.seed,
        "epochs": len(fit.history),
        "best_epoch": fit.best_epoch,
        "precision": config.precision,
        "hours": round(sum(row["seconds"] for row in fit.history) / 3600, 2),
        **machine(torch.device(device)),
    }


def check_three(parts: Sequence[CellDataset]) -> tuple[CellDataset, CellDataset, CellDataset]:
    """Training, validation and test part, in this order.

    Raises:
        DataError: They are not these, or one image is in the first and the last.
    """
    names = [part.part for part in parts]
    if names != ["train", "val", "test"]:
        raise DataError(
            f"A training needs the parts train, val and test, not {names}; divide by three shares, such as 0.7,0.1,0.2."
        )
    train, val, test = parts
    check_apart(train, test, "test")
    return train, val, test
