"""Cross-validation: every image is judged once by a model that never saw it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError
from cellnet.evaluation import Estimate, Report
from cellnet.evaluation.tables import FIGURES, figure_table
from cellnet.experiments.spread import MEAN_METHOD, corrected_mean, plain
from cellnet.experiments.study import Announce, MakeModel, StudyFolder, StudyRun
from cellnet.files import atomic_path, write_rows, write_text
from cellnet.inference import Predictions
from cellnet.training import Callback, TrainConfig
from cellnet.training.processes import on_main_process

ONE_REPETITION = (
    "The pooled figures are those of the first repetition, in which each image is judged once; the means are "
    "over the folds of all repetitions."
)


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What a cross-validation says; made by `cross_validate`.

    Args:
        folds: The runs, one a fold, one repetition after the other.
        k: Number of folds of a repetition.
        means: For each figure its mean over the folds, see `corrected_mean`.
        report: The report on the predictions of the first repetition: each image once.
    """

    folds: list[StudyRun]
    k: int
    means: dict[str, Estimate]
    report: Report

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a fold: figures with their intervals, numbers of images, epoch, seconds."""
        return [{"fold": i + 1, "repetition": i // self.k + 1, **run.to_row()} for i, run in enumerate(self.folds)]

    def __str__(self) -> str:
        lines = [(str(i), f"{run.n:,}", run.figures) for i, run in enumerate(self.folds, start=1)]
        pooled = {name: self.report.metrics[name] for name in FIGURES}
        summary = [("mean", "", self.means), ("pooled", f"{self.report.n:,}", pooled)]
        return f"{self.report.title}\n\n{figure_table('fold', lines, summary)}\n\nmean: {MEAN_METHOD}"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types; the interval of a mean of folds that do not vary is None."""
        return {
            "k": self.k,
            "repeats": len(self.folds) // self.k,
            "means": {name: plain(mean.to_dict()) for name, mean in self.means.items()},
            "intervals_of_means": MEAN_METHOD,
            "folds": self.rows,
            "pooled": self.report.to_dict(),
        }

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write folds.csv, cross_validation.json, out_of_fold.csv and the pooled ``report/``.

        out_of_fold.csv is a predictions file with a column ``fold`` more; with repetitions, an image has a row
        in each.

        Returns:
            The path of the report's page.

        Raises:
            ConfigError: The folder cannot be written.
        """
        out = Path(folder)
        write_rows(out / "folds.csv", self.rows)
        _write_predictions(out / "out_of_fold.csv", self.folds)
        write_text(out / "cross_validation.json", json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")
        return self.report.save(out / "report")


def cross_validate(
    dataset: CellDataset,
    make_model: MakeModel,
    config: TrainConfig,
    out: str | PathLike[str],
    *,
    k: int = 5,
    repeats: int = 1,
    seed: int = 0,
    val_share: float = 0.1,
    resume: bool = False,
    device: str | None = None,
    callbacks: Sequence[Callback] = (),
    announce: Announce | None = None,
    command: str = "",
    starting_weights: str = "",
) -> CrossValidation:
    """Train a model for each fold on the images outside it, and judge it on the fold.

    Identical images, and images of one group, are in one fold. The epoch, the temperature and the thresholds of
    abstention of a fold are chosen on a part of its training images, never on the fold. Each fold is a run
    folder, ``fold-01`` and so on, as `train_and_report` writes it; on resume a fold that was done is read, an
    interrupted one goes on, and ``repeats`` may have grown.

    Args:
        dataset: All images.
        make_model: Makes a new model, the same for each fold.
        config: How to train it, the same for each fold.
        out: Folder of the cross-validation.
        k: Number of folds.
        repeats: How often the images are divided anew.
        seed: Seed of the folds; repetition r uses ``seed + r``.
        val_share: Share of a fold's training images that chooses its epoch.
        resume: Continue what stands in ``out``, start where nothing does.
        device: ``"cpu"``, or None for the best device there is.
        callbacks: Things that watch the trainings.
        announce: Told in words which fold begins, or was done before.
        command: The command that started this, for the cards.
        starting_weights: Where the models' weights start from, for the cards.

    Raises:
        ConfigError: ``k``, ``repeats`` or ``val_share`` out of range; or ``out`` holds something else, or was
            made with other images, another model or other options.
        DataError: A class has fewer independent images than parts.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from cellnet import TrainConfig, create_model, load_dataset
        >>> cells = load_dataset("synthetic", per_class=4, image_size=32)
        >>> with TemporaryDirectory() as folder:
        ...     result = cross_validate(
        ...         cells,
        ...         lambda: create_model("cnn", cells.labels, image_size=32),
        ...         TrainConfig(epochs=1, batch_size=8),
        ...         folder,
        ...         k=2,
        ...         val_share=0.5,
        ...     )
        >>> len(result.folds), result.report.n
        (2, 32)
    """
    if not 0 < val_share < 1:
        raise ConfigError(f"val_share={val_share!r} must lie between 0 and 1, e.g. 0.1.")
    # First: what cannot be divided or made leaves no folder behind.
    pairs = dataset.folds(k, seed, repeats)
    make_model()
    identity = {
        "study": "cross-validation",
        "images": dataset.fingerprint(),
        "k": k,
        "seed": seed,
        "val_share": val_share,
    }
    folder = StudyFolder(out, identity, resume, announce, device)
    folds = []
    for i, (rest, held_out) in enumerate(pairs):
        train, val = rest.split((1 - val_share, val_share), seed)
        parts = (train, val.subset(range(len(val)), "val"), held_out.subset(range(len(held_out)), "test"))
        run = folder.run(
            f"fold-{i + 1:02}",
            parts,
            make_model,
            config,
            split=f"fold {i % k + 1} of {k}, seed {seed + i // k}",
            callbacks=callbacks,
            command=command,
            starting_weights=starting_weights,
        )
        folds.append(run)
    test_per_train = sum(run.n for run in folds) / sum(run.n_train for run in folds)
    means = {name: corrected_mean([run.figures[name].value for run in folds], test_per_train) for name in FIGURES}
    result = CrossValidation(folds, k, means, _pooled_report(dataset, folds[:k], pairs[:k], repeats, config))
    on_main_process(lambda: result.save(out))
    return result


def _pooled_report(
    dataset: CellDataset,
    folds: list[StudyRun],
    pairs: list[tuple[CellDataset, CellDataset]],
    repeats: int,
    config: TrainConfig,
) -> Report:
    """The report on one repetition, in which each image is judged once."""
    places = [(held_out, row) for _, held_out in pairs for row in range(len(held_out))]
    name = dataset.card.title if dataset.card else ""
    return Report.from_predictions(
        join(folds),
        title=f"{len(folds)}-fold cross-validation" + (f" on {name}" if name else ""),
        dataset=name,
        part=None,
        notes=(*folds[0].notes, *((ONE_REPETITION,) if repeats > 1 else ())),
        settings=config.to_dict(),
        images=lambda row: places[row][0].image(places[row][1]),
    )


def join(runs: Sequence[StudyRun]) -> Predictions:
    """The predictions of several runs, one behind the other."""
    tables = [run.predictions for run in runs]
    return Predictions(
        [file for table in tables for file in table.files],
        tables[0].schema,
        np.concatenate([table.probabilities for table in tables]),
        errors=[error for table in tables for error in table.errors],
        ood=np.concatenate([table.ood for table in tables]),
        abstain=np.concatenate([table.abstain for table in tables]),
        targets=np.concatenate([table.targets for table in tables if table.targets is not None]),
        groups=None if tables[0].groups is None else [group for table in tables for group in table.groups or ()],
    )


def _write_predictions(path: Path, folds: Sequence[StudyRun]) -> None:
    """The predictions of all folds in the form of `Predictions.to_csv`, with the fold behind the target."""
    numbers = [i for i, run in enumerate(folds, start=1) for _ in range(len(run.predictions))]
    with atomic_path(path) as temporary:
        join(folds).to_csv(temporary)
        with temporary.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            header, *rows = csv.reader(stream)
        place = header.index("target") + 1
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([*header[:place], "fold", *header[place:]])
            writer.writerows([*row[:place], n, *row[place:]] for n, row in zip(numbers, rows, strict=True))
