"""One experiment: split, train, choose on validation, judge once on test, save with a card."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from cellnet.cards import WeightsCard
from cellnet.datasets import CellDataset
from cellnet.evaluation import Report, evaluate
from cellnet.files import atomic_path
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
    dataset: CellDataset,
    model: CellClassifier,
    config: TrainConfig,
    out: str | PathLike[str],
    *,
    name: str = "model",
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    split_seed: int = 0,
    resume: bool = False,
    device: str | None = None,
    callbacks: Sequence[Callback] = (),
    command: str = "",
    starting_weights: str = "",
) -> RunResult:
    """Train on a seeded split of one data set and judge the best epoch on its test part.

    The temperature and the thresholds of abstention are fitted on the validation part.

    Args:
        dataset: All images.
        model: The model to train, in place.
        config: How to train.
        out: Run folder; ``report/`` and the checkpoint folder ``model/`` are written into it.
        name: Name of the weights in their card.
        fractions: Shares of train, validation and test.
        split_seed: Seed of the split; the same seed gives the same test part for every model and ``config.seed``.
        resume: Continue the run in ``out``.
        device: ``"cpu"``, or None for the best device there is.
        callbacks: Things that watch the training.
        command: The command that started this, for the card.
        starting_weights: Where the model's weights started from, for the card.

    Raises:
        CellnetError: As `CellDataset.split`, `Trainer.fit` and `evaluate`.
    """
    folder = Path(out)
    train, val, test = dataset.split(fractions, seed=split_seed)
    trainer = Trainer(model, config, out=folder, callbacks=callbacks, device=device)
    fit = trainer.fit(train, val, resume=resume)
    write_split(folder / "split.csv", train, val, test)
    report = evaluate(fit.model, test, calibrate_on=val, history=fit.history)
    report.save(folder / "report")
    shares = ", ".join(f"{len(part)} {part.part}" for part in (train, val, test))
    card = WeightsCard(
        name=name,
        training_data=dataset.card.name if dataset.card else dataset.labels.name,
        training_data_hash=train.fingerprint(),
        split=f"stratified by class, identical images together, split seed {split_seed}: {shares}",
        starting_weights=starting_weights or "none (random initialisation)",
        command=command,
        metrics={k: m for k, m in report.to_dict()["metrics"].items() if m["value"] is not None},
        num_test_images=len(test),
        limits=dataset.card.known_defects if dataset.card else (),
    )
    checkpoint = fit.model.save(folder / "model", card=card, overwrite=True)
    return RunResult(fit, report, checkpoint)


def write_split(path: str | PathLike[str], *parts: CellDataset) -> None:
    """Write which image went where: CSV with the columns file, label, part and sha256 of the image."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "part", "sha256"))
        for part in parts:
            names = part.labels.names
            for image, target, digest in zip(part.files, part.targets, part.content_hashes(), strict=True):
                # The class folder and the file name: enough to find it, nothing of this machine.
                writer.writerow(("/".join(Path(image).parts[-2:]), names[target], part.part, digest))
