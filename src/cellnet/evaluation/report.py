"""The report: every figure with its interval, what lies behind it, and what it does not say."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cellnet._version import __version__
from cellnet.cards import Scoring
from cellnet.evaluation import calibration, html, plots, selective, text
from cellnet.evaluation.embedding import embedding as embed
from cellnet.evaluation.figures import ClassFigures, PredictiveValues, Scored, targets_of
from cellnet.evaluation.intervals import Estimate
from cellnet.evaluation.metrics import confusion_matrix
from cellnet.evaluation.subgroups import SubgroupFigures, score_subgroups
from cellnet.files import write_text

if TYPE_CHECKING:
    from torch import Tensor

    from cellnet.inference import Predictions
    from cellnet.labels import LabelSchema


@dataclass(frozen=True, eq=False)
class Report:
    """How well a model does on labelled images; made by `cellnet.evaluate` or `Report.from_predictions`.

    Args:
        title: Headline.
        predictions: One row an image, also the unreadable ones, which are not scored.
        confusion: C×C counts, true class by predicted class.
        metrics: Figures over all classes, by name.
        per_class: Figures of each class, by its name.
        subgroups: What tells images apart, such as ``"stain"`` -> its value -> figures of the images that have it.
        dataset: Name of the data set.
        part: ``"train"``, ``"val"``, ``"test"`` or None.
        notes: What the figures do not say, the most important first.
        settings: What was judged on what, and how the model came about (hashes, configuration, seed, ...): shown, not
            interpreted.
        history: One row an epoch, for the curves.
        best_epoch: The epoch whose weights are judged, to be marked there.
        images: Gives the image of a row of ``predictions`` as uint8 3×H×W, or None.

    Example:
        >>> from cellnet.inference import Predictions
        >>> from cellnet.labels import LabelSchema
        >>> schema = LabelSchema.from_names(["lymphocyte", "monocyte"])
        >>> table = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]]
        >>> report = Report.from_predictions(Predictions(list("abcd"), schema, table, targets=[0, 1, 0, 1]))
        >>> print(report.accuracy)
        75.00 % [30.06–95.44]
        >>> report.most_confused(1), report.worst(1)
        ([('monocyte', 'lymphocyte', 1)], [3])
    """

    title: str
    predictions: Predictions
    confusion: NDArray[np.int64]
    metrics: dict[str, Estimate]
    per_class: dict[str, ClassFigures]
    subgroups: dict[str, dict[str, SubgroupFigures]] = field(default_factory=dict)
    dataset: str = ""
    part: str | None = None
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] | None = None
    history: Sequence[Mapping[str, Any]] | None = None
    best_epoch: int | None = None
    images: Callable[[int], Tensor | None] | None = None

    @classmethod
    def from_predictions(
        cls,
        predictions: Predictions,
        *,
        title: str = "Evaluation",
        dataset: str = "",
        part: str | None = None,
        notes: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        history: Sequence[Mapping[str, Any]] | None = None,
        best_epoch: int | None = None,
        images: Callable[[int], Tensor | None] | None = None,
        subgroups: Mapping[str, Sequence[Any]] | None = None,
    ) -> Report:
        """Score predictions, whoever made them.

        Args:
            predictions: With targets; rows with an error are counted and listed, not scored. Where they have groups
                of several images, the intervals take the images of a group together.
            title: See `Report`, as for the other arguments.
            dataset: See `Report`.
            part: See `Report`.
            notes: See `Report`.
            settings: See `Report`.
            history: See `Report`.
            best_epoch: See `Report`.
            images: See `Report`.
            subgroups: What tells the images apart -> its value for each row of ``predictions``, see `score_subgroups`.

        Raises:
            DataError: No targets, no readable image, or a subgroup without one value a row.
        """
        scored = Scored.of(predictions)
        return cls(
            title=title,
            predictions=predictions,
            confusion=scored.confusion,
            metrics=scored.overall(),
            per_class=scored.per_class(),
            subgroups=score_subgroups(predictions, subgroups or {}),
            dataset=dataset,
            part=part,
            notes=tuple(notes),
            settings=settings,
            history=history or None,
            best_epoch=best_epoch,
            images=images,
        )

    @property
    def accuracy(self) -> Estimate:
        """Share of the scored images that were called rightly."""
        return self.metrics["accuracy"]

    @property
    def schema(self) -> LabelSchema:
        """The classes."""
        return self.predictions.schema

    @property
    def n(self) -> int:
        """Number of images scored."""
        return int(self.confusion.sum())

    @property
    def unreadable(self) -> list[int]:
        """Rows of ``predictions`` whose image could not be read."""
        return [int(i) for i in np.flatnonzero(~self.predictions.readable)]

    @property
    def called(self) -> NDArray[np.int64]:
        """C×(C+1) counts of the images scored: true class by called class, and those abstained from in the last column.

        `cellnet.evaluation.differential` takes the model's mistakes out by them.
        """
        called = np.where(self.scored.accepted, self.scored.called, len(self.schema))
        return confusion_matrix(self.scored.targets, called, len(self.schema) + 1)[:-1]

    @property
    def targets(self) -> NDArray[np.int64]:
        """True labels, one a row of ``predictions``."""
        return targets_of(self.predictions)

    @cached_property
    def scored(self) -> Scored:
        """The scored images, from which the figures were made."""
        return Scored.of(self.predictions)

    def predictive_values(self, prevalence: Mapping[str, float]) -> dict[str, PredictiveValues]:
        """PPV and NPV of classes that are as frequent as stated, see `Scored.predictive_values`.

        Args:
            prevalence: Share of the class among the images to come, 0 to 1, by the name of the class.

        Raises:
            UnknownNameError: No such class.
            ConfigError: A share that is none.

        Example:
            >>> from cellnet.inference import Predictions
            >>> from cellnet.labels import LabelSchema
            >>> schema = LabelSchema.from_names(["lymphocyte", "blast"])
            >>> files, targets = [f"{i}.jpg" for i in range(200)], [0] * 94 + [1] * 2 + [0] + [1] * 103
            >>> table = [[0.9, 0.1]] * 96 + [[0.2, 0.8]] * 104
            >>> report = Report.from_predictions(Predictions(files, schema, table, targets=targets))
            >>> print(report.per_class["blast"]["precision"])  # where half of the cells are blasts
            99.04 % [94.75–99.83]
            >>> print(report.predictive_values({"blast": 0.01})["blast"]["ppv"])  # where one in a hundred is
            48.49 % [16.83–89.73]
        """
        return self.scored.predictive_values(prevalence)

    def most_confused(self, k: int = 5) -> list[tuple[str, str, int]]:
        """The ``k`` most frequent mistakes: (true class, predicted class, number of images)."""
        names = self.schema.names
        pairs = [
            (names[i], names[j], int(count)) for (i, j), count in np.ndenumerate(self.confusion) if i != j and count
        ]
        return sorted(pairs, key=lambda pair: -pair[2])[:k]

    def worst(self, k: int = 20) -> list[int]:
        """The ``k`` rows of ``predictions`` that are wrong with most certainty, the worst first."""
        rows = self._by_certainty
        return [int(i) for i in rows[~self._right(rows)][:k]]

    def least_certain(self, k: int = 20) -> list[int]:
        """The ``k`` rows of ``predictions`` that the model was least certain of, the least certain first."""
        return [int(i) for i in self._by_certainty[::-1][:k]]

    def typical(self) -> list[int]:
        """For each class, the row of ``predictions`` that was called so rightly and with most certainty."""
        rows = self._by_certainty
        rows = rows[self._right(rows)]
        _, first = np.unique(self.targets[rows], return_index=True)
        return [int(i) for i in rows[first]]

    def examples(self, true: str, label: str, k: int = 3) -> list[int]:
        """Up to ``k`` rows of ``predictions`` of one class that were called another, or rightly.

        They are spread evenly from the one that the model was most certain of to the one it was least certain of.

        Args:
            true: Name of the true class.
            label: Name of the predicted class.
            k: Number of rows.

        Raises:
            UnknownNameError: No such class.
        """
        rows, pair = self._by_certainty, (self.schema.index(true), self.schema.index(label))
        called = self.predictions.probabilities[rows].argmax(1)
        found = rows[(self.targets[rows] == pair[0]) & (called == pair[1])]
        return [int(i) for i in found[np.linspace(0, len(found) - 1, min(k, len(found))).round().astype(int)]]

    def lineage_errors(self) -> tuple[int, int] | None:
        """Mistakes within a lineage and across lineages; None if the lineage of a class is not known."""
        lineages = np.array([cell.lineage for cell in self.schema])
        if not all(lineages):
            return None
        same = lineages[:, None] == lineages[None, :]
        right = int(np.trace(self.confusion))
        return int(self.confusion[same].sum()) - right, int(self.confusion[~same].sum())

    def matured(self) -> tuple[NDArray[np.int64], list[str]]:
        """The confusion matrix along the lines of maturation, so that steps which follow each other are neighbours.

        Returns:
            C×C counts, and the class names in that order; see `LabelSchema.maturation_order`.
        """
        order = list(self.schema.maturation_order)
        return self.confusion[np.ix_(order, order)], [self.schema.names[label] for label in order]

    def reliability(self) -> list[calibration.ReliabilityBin]:
        """Confidence against accuracy, see `calibration.reliability_bins`."""
        readable = self.predictions.readable
        return calibration.reliability_bins(self.predictions.probabilities[readable], self.targets[readable])

    def risk_coverage(self) -> list[selective.RiskPoint]:
        """How wrong the images are that remain when the least certain ones are left out, see `selective`."""
        readable = self.predictions.readable
        return selective.risk_coverage(self.predictions.probabilities[readable], self.targets[readable])

    def embedding(self, method: str = "tsne") -> Figure | None:
        """How the images lie in the network's features, see `cellnet.evaluation.embedding`.

        Args:
            method: ``pca``, ``tsne`` or ``umap``.

        Returns:
            A figure; None where the predictions have no features, or of fewer than three images.
        """
        readable = self.predictions.readable
        if self.predictions.features is None or self.n < 3:
            return None
        return embed(self.predictions.features[readable], self.targets[readable], self.schema.names, method)

    def scoring(self, *, version: str = "1", note: str = "") -> Scoring:
        """This report as an entry of a `WeightsCard`: its figures, without those that do not exist.

        Args:
            version: Version of the weights that were judged.
            note: How it was done, where that is not plain.
        """
        return Scoring(
            data=self.dataset or "unnamed data",
            part=self.part or "",
            images=self.n,
            metrics=_existing(self.metrics),
            per_class={
                name: {"n": figures["n"], **_existing(figures)}
                for name, figures in self.per_class.items()
                if figures["n"]
            },
            called=self.called.tolist(),
            version=version,
            date=datetime.now(UTC).date().isoformat(),
            note=note,
        )

    def _right(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(self.predictions.probabilities[rows].argmax(1) == self.targets[rows])

    @cached_property
    def _by_certainty(self) -> NDArray[np.int64]:
        """Readable rows, the most certain first."""
        rows = np.flatnonzero(self.predictions.readable)
        confidence = self.predictions.probabilities[rows].max(1)
        return rows[np.argsort(-confidence, kind="stable")]

    def __str__(self) -> str:
        return text.summary(self)

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain JSON types; a figure that does not exist is None."""
        return {
            "title": self.title,
            "dataset": self.dataset,
            "part": self.part,
            "n": self.n,
            "unreadable": len(self.unreadable),
            "schema": {
                "name": self.schema.name,
                "hash": self.schema.hash,
                "classes": list(self.schema.names),
                "maturation_order": list(self.schema.maturation_order),
            },
            "metrics": _plain(self.metrics),
            "per_class": _plain(self.per_class),
            "subgroups": _plain(self.subgroups),
            "confusion": self.confusion.tolist(),
            "reliability": _plain(self.reliability()),
            "risk_coverage": _plain(self.risk_coverage()),
            "intervals": self.scored.interval_method,
            "notes": list(self.notes),
            "settings": _plain(self.settings or {}),
            "versions": versions(),
        }

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write the report: report.html, metrics.json, predictions.csv and the plots as PNG files.

        Where the predictions have features, one plot more shows how the images lie in them: embedding.png.

        Args:
            folder: Made if it is not there; files of an earlier report in it are replaced.

        Returns:
            The path of report.html.

        Raises:
            ConfigError: The folder cannot be written.
        """
        out = Path(folder)
        figures = {
            "confusion.png": plots.confusion_matrix(*self.matured()),
            "per_class.png": plots.per_class_intervals(self.per_class),
            "reliability.png": plots.reliability(self.reliability()),
            "risk_coverage.png": plots.risk_coverage(self.risk_coverage(), self.metrics),
        }
        if self.history:
            figures["curves.png"] = plots.training_curves(self.history, self.best_epoch)
        if (embedding := self.embedding()) is not None:
            figures["embedding.png"] = embedding
        for name, figure in figures.items():
            plots.save_png(figure, out / name)
        for name in {"curves.png", "embedding.png"} - figures.keys():  # of an earlier report
            (out / name).unlink(missing_ok=True)
        write_text(out / "metrics.json", json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")
        self.predictions.to_csv(out / "predictions.csv")
        # Last: whoever sees the page finds everything else in place.
        return write_text(out / "report.html", html.render(self, embedding))


def versions() -> dict[str, str]:
    """Versions of Python, cellnet and what it computes with."""
    found = {"python": platform.python_version(), "cellnet": __version__}
    for package in ("torch", "torchvision", "timm", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a build of torch need not come from a package
            continue
    return found


def _existing(figures: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    estimates = {name: figure for name, figure in figures.items() if isinstance(figure, Estimate)}
    return {name: asdict(figure) for name, figure in estimates.items() if math.isfinite(figure.value)}


def _plain(value: Any) -> Any:
    """A value as JSON types: figures as dictionaries, NaN as None, what JSON does not know as text."""
    if isinstance(value, (Estimate, calibration.ReliabilityBin, selective.RiskPoint)):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (bool, int, str)) or value is None else str(value)
