"""Which model is better on these images? Differences with intervals, and exact tests."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.evaluation import metrics, plots
from cellnet.evaluation.figures import Scored, targets_of
from cellnet.evaluation.intervals import Estimate
from cellnet.evaluation.paired import Pair, mcnemar_of_pairs, paired_bootstrap
from cellnet.evaluation.report import Report
from cellnet.evaluation.tables import FIGURES, TITLES, figure_table
from cellnet.evaluation.text import WIDTH, tell_apart
from cellnet.files import write_rows, write_text
from cellnet.inference import Predictions
from cellnet.labels import harmonise

_INTERVALS = "Differences with 95 % intervals: Bayesian bootstrap of {} with the answers of both models."
_TEST = "p of McNemar's exact test, by Holm's correction"
_GROUPED_TEST = f"{_TEST}; it takes images as independent, which those of one group are not: trust the intervals"


@dataclass(frozen=True)
class Difference:
    """Two models on the same images.

    Args:
        test: Their names, images that one alone called rightly, and McNemar's exact test.
        figures: ``accuracy``, ``macro_f1`` and ``balanced_accuracy`` of the first less those of the second.
    """

    test: Pair
    figures: dict[str, Estimate]

    def __str__(self) -> str:
        return self.text(*tell_apart([self.test.first, self.test.second], 28))

    def text(self, first: str, second: str) -> str:
        """The figures in words, with these names for the two."""
        alone = f"right alone {self.test.only_first:,} and {self.test.only_second:,} times"
        lines = [f"{first} − {second}: {alone}, p = {self.test.p_holm:.2g}"]
        return "\n".join(lines + [f"  {TITLES[name]:<20}{points(figure)}" for name, figure in self.figures.items()])


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """Models on the same images; made by `cellnet.compare`.

    Args:
        models: Figures of each model by its name, on the images that all of them could read.
        differences: Every two models.
        n: Number of these images.
        unreadable: Images left out, since a model could not read them.
        grouped: Whether groups of images (donor, slide) were resampled as a whole.
    """

    models: dict[str, dict[str, Estimate]]
    differences: list[Difference]
    n: int
    unreadable: int
    grouped: bool

    @property
    def method(self) -> str:
        """How intervals and p-values were made, in words."""
        return f"{_INTERVALS.format('groups of images' if self.grouped else 'images')} {self._test}."

    @property
    def _test(self) -> str:
        return _GROUPED_TEST if self.grouped else _TEST

    def __str__(self) -> str:
        names = self._names(18)
        table = figure_table("model", [(names[name], f"{self.n:,}", one) for name, one in self.models.items()])
        heading = textwrap.wrap(f"Differences in points with 95 % intervals; {self._test}", WIDTH)
        names = self._names(28)
        texts = [one.text(names[one.test.first], names[one.test.second]) for one in self.differences]
        return "\n".join([table, "", *heading, *texts])

    def _names(self, width: int) -> dict[str, str]:
        """What each model is called where there is little room."""
        return dict(zip(self.models, tell_apart(list(self.models), width), strict=True))

    def plot(self) -> Figure:
        """The differences with their intervals, a row a pair."""
        names = self._names(20)
        rows = {f"{names[one.test.first]} − {names[one.test.second]}": one.figures for one in self.differences}
        return plots.differences(rows, TITLES)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types."""
        return {
            "n": self.n,
            "unreadable": self.unreadable,
            "models": {name: _plain(figures) for name, figures in self.models.items()},
            "differences": [{**asdict(one.test), "figures": _plain(one.figures)} for one in self.differences],
            "intervals": self.method,
        }

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write comparison.json, differences.csv (a row a pair) and differences.png.

        Returns:
            The path of comparison.json.

        Raises:
            ConfigError: The folder cannot be written.
        """
        out = Path(folder)
        rows = [
            {
                **{name: value for name, value in asdict(one.test).items() if name != "difference"},
                **{
                    column: value
                    for name, figure in one.figures.items()
                    for column, value in zip(
                        (name, f"{name}_low", f"{name}_high"), asdict(figure).values(), strict=True
                    )
                },
            }
            for one in self.differences
        ]
        write_rows(out / "differences.csv", rows)
        plots.save_png(self.plot(), out / "differences.png")
        return write_text(out / "comparison.json", json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")


def compare(
    *models: Report | Predictions, names: Sequence[str] | None = None, draws: int = 2000, seed: int = 0
) -> ModelComparison:
    """Compare models on the same images: by how much they differ, and whether that may be chance.

    A model that is right where the other is wrong tells more than two separate accuracies, whose intervals may overlap
    although one model is clearly better. Images are matched by file name; where they have groups (donor, slide), these
    are resampled as a whole. McNemar's test takes images as independent.

    Args:
        models: Reports or predictions of at least two models, with targets. Rows may stand in another order.
        names: What to call them; default: the titles of reports where these differ, else "model 1", "model 2", ...
        draws: Number of draws of the bootstrap.
        seed: Its seed.

    Raises:
        ConfigError: Fewer than two models, or not one name each.
        DataError: Other images, other targets, none at all, or none that all models could read.
        LabelError: Other classes.

    Source: McNemar 1947, Psychometrika 12:153; Holm 1979, Scand. J. Stat. 6:65; `paired_bootstrap`.

    Example:
        >>> from cellnet.labels import LabelSchema
        >>> schema, files = LabelSchema.from_names(["lymphocyte", "monocyte"]), [f"{i}.jpg" for i in range(200)]
        >>> good, poor = ([[0.9, 0.1]] * k + [[0.2, 0.8]] * (200 - k) for k in (99, 85))
        >>> a, b = (Predictions(files, schema, table, targets=[0] * 100 + [1] * 100) for table in (good, poor))
        >>> print(compare(a, b).differences[0])
        model 1 − model 2: right alone 14 and 0 times, p = 0.00012
          accuracy            +7.00 [+3.64 to +11.21]
          macro F1            +7.04 [+3.73 to +11.31]
          balanced accuracy   +7.00 [+3.79 to +11.03]
    """
    if len(models) < 2:
        raise ConfigError(f"compare was given {len(models)} model(s); give the reports or predictions of at least two.")
    called_so = _names(models, names)
    tables = [model.predictions if isinstance(model, Report) else model for model in models]
    tables[1:] = [_aligned(tables[0], tables[i], called_so[0], called_so[i]) for i in range(1, len(tables))]
    rows = np.flatnonzero(np.all([table.readable for table in tables], axis=0))
    if not len(rows):
        raise DataError(
            f"There is no image among {len(tables[0])} that all models could read, so there is nothing to compare; "
            "give predictions of readable images."
        )
    groups = next((table.groups for table in tables if table.groups is not None), None)
    scored = [Scored.of(_rows_of(table, rows, groups)) for table in tables]
    answers = {name: one.called for name, one in zip(called_so, scored, strict=True)}
    targets, units, num_classes = scored[0].targets, scored[0].units, len(tables[0].schema)
    functions = {name: getattr(metrics, name) for name in FIGURES}
    pairs = list(itertools.combinations(answers, 2))
    tests = mcnemar_of_pairs([((a, answers[a] == targets), (b, answers[b] == targets)) for a, b in pairs])
    differences = [
        Difference(
            test,
            paired_bootstrap(
                targets, answers[a], answers[b], num_classes, functions, units=units, draws=draws, seed=seed
            ),
        )
        for test, (a, b) in zip(tests, pairs, strict=True)
    ]
    mains = {name: one.main() for name, one in zip(called_so, scored, strict=True)}
    return ModelComparison(mains, differences, len(rows), len(tables[0]) - len(rows), units.grouped)


def points(difference: Estimate) -> str:
    """A difference of shares in points, with its interval.

    Example:
        >>> points(Estimate(0.0123, -0.001, 0.03))
        '+1.23 [−0.10 to +3.00]'
    """
    value, low, high = (
        f"{100 * x:+.2f}".replace("-", "−") for x in (difference.value, difference.low, difference.high)
    )
    return f"{value} [{low} to {high}]"


def _names(models: Sequence[Report | Predictions], names: Sequence[str] | None) -> list[str]:
    if names is None:
        titles = [model.title for model in models if isinstance(model, Report)]
        return titles if len(set(titles)) == len(models) else [f"model {i + 1}" for i in range(len(models))]
    if len(names) != len(models) or len(set(names)) < len(names):
        raise ConfigError(f"The {len(models)} models are called {', '.join(names)}; give each a name of its own.")
    return list(names)


def _aligned(reference: Predictions, other: Predictions, name: str, other_name: str) -> Predictions:
    """The other predictions with rows and classes in the order of the reference.

    Raises:
        LabelError: Other classes.
        DataError: Other images or targets.
    """
    found = harmonise(reference.schema, other.schema).indices
    columns = [column for column in found if column is not None]
    if len(columns) < len(found) or sorted(columns) != list(range(len(other.schema))):
        raise LabelError(
            f"{name} has the classes {', '.join(reference.schema.names)}, but {other_name} has "
            f"{', '.join(other.schema.names)}; predict one data set, brought to the classes of each model by "
            "dataset.harmonise(model.labels), with models of the same classes."
        )
    places = {file: row for row, file in enumerate(other.files)}
    rows = np.arange(len(other))
    if other.files != reference.files:
        odd = sorted(set(reference.files) ^ set(other.files))
        if odd or len(places) < len(other) or len(other) != len(reference):
            example = f"; {odd[0]} is in one only" if odd else ""
            raise DataError(
                f"{name} and {other_name} are about other images ({len(reference):,} and {len(other):,} "
                f"rows{example}); compare predictions of the same files."
            )
        rows = np.array([places[file] for file in reference.files])
    targets, given = targets_of(reference), np.argsort(columns)[targets_of(other)[rows]]
    for row in np.flatnonzero(targets != given)[:1]:
        true, other_true = (reference.schema.names[label] for label in (targets[row], given[row]))
        raise DataError(
            f"{reference.files[row]} is a {true} for {name} and a {other_true} for {other_name}; correct the targets."
        )
    return Predictions(
        reference.files,
        reference.schema,
        other.probabilities[rows][:, columns],
        errors=[other.errors[row] for row in rows],
        targets=targets,
        groups=None if other.groups is None else [other.groups[row] for row in rows],
    )


def _rows_of(table: Predictions, rows: NDArray[np.int64], groups: Sequence[str | None] | None) -> Predictions:
    return Predictions(
        [table.files[row] for row in rows],
        table.schema,
        table.probabilities[rows],
        targets=targets_of(table)[rows],
        groups=None if groups is None else [groups[row] for row in rows],
    )


def _plain(figures: dict[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: figure.to_dict() for name, figure in figures.items()}
