"""One experiment: split, train, choose on validation, judge once on test, save with a card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from cellnet.cards import WeightsCard
from cellnet.datasets import CellDataset, write_split
from cellnet.errors import DataError
from cellnet.evaluation import Report, evaluate
from cellnet.models import CellClassifier
from cellnet.training import Callback, Fit, TrainConfig, Trainer


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
) -> RunResult:
    """Train on the first of three parts, choose the best epoch on the second, and judge it on the third.

    The temperature and the thresholds of abstention are fitted on the validation part.

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

    Raises:
        DataError: Not three parts.
        CellnetError: As `Trainer.fit` and `evaluate`.
    """
    folder = Path(out)
    if [part.part for part in parts] != ["train", "val", "test"]:
        raise DataError(
            f"A training needs the parts train, val and test, not {[part.part for part in parts]}; "
            "divide by three shares, such as 0.7,0.1,0.2."
        )
    train, val, test = parts
    trainer = Trainer(model, config, out=folder, callbacks=callbacks, device=device)
    fit = trainer.fit(train, val, resume=resume)
    split_hash = write_split(folder / "split.csv", train, val, test)
    report = evaluate(fit.model, test, calibrate_on=val, history=fit.history, best_epoch=fit.best_epoch)
    report.save(folder / "report")
    shares = ", ".join(f"{len(part)} {part.part}" for part in parts)
    card = WeightsCard(
        name=name,
        training_data=train.card.name if train.card else train.labels.name,
        training_data_hash=train.fingerprint(),
        split=f"{split or 'given parts'}: {shares}; split {split_hash}",
        starting_weights=starting_weights or "none (random initialisation)",
        command=command,
        metrics={k: m for k, m in report.to_dict()["metrics"].items() if m["value"] is not None},
        num_test_images=len(test),
        limits=train.card.known_defects if train.card else (),
    )
    checkpoint = fit.model.save(folder / "model", card=card, overwrite=True)
    return RunResult(fit, report, checkpoint)
