"""What several trainings say beside each other: their spread, and tests on the same images."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellnet.evaluation import Estimate
from cellnet.evaluation.paired import Pair, mcnemar_of_pairs
from cellnet.evaluation.tables import FIGURES, figure_table
from cellnet.experiments.effects import Effect, effect
from cellnet.experiments.spread import MEAN_METHOD, Spread, plain, spread
from cellnet.experiments.study import StudyRun
from cellnet.experiments.trials import Trial
from cellnet.files import write_rows, write_text

UNCHANGED = "the recipe as it is"
"""What a recipe or run is called in which nothing is varied."""

MOST_PAIRS = 12
"""More of them are not printed, but only written."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison says; made by `compare_trials`.

    Args:
        trials: What was trained.
        runs: How it went, in the same order.
    """

    trials: list[Trial]
    runs: list[StudyRun]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a run: what was varied, figures with their intervals, numbers of images, epoch, seconds."""
        return [{**trial.varied, **run.to_row()} for trial, run in zip(self.trials, self.runs, strict=True)]

    @property
    def spread(self) -> dict[str, dict[str, Spread]]:
        """For each recipe, the spread of each figure over its seeds and splits: recipe -> figure -> spread."""
        recipes = dict.fromkeys(trial.recipe for trial in self.trials)
        return {recipe: {figure: self._spread(recipe, figure) for figure in FIGURES} for recipe in recipes}

    def _spread(self, recipe: str, figure: str) -> Spread:
        mine = [(trial, run) for trial, run in zip(self.trials, self.runs, strict=True) if trial.recipe == recipe]
        runs = [run for _, run in mine]
        # Only other splits have other training images, which overlap; other seeds have the same ones.
        divided_anew = len({trial.split_seed for trial, _ in mine}) > 1
        test_per_train = sum(run.n for run in runs) / sum(run.n_train for run in runs) if divided_anew else 0.0
        return spread([run.figures[figure] for run in runs], test_per_train)

    @property
    def _unchanged(self) -> str:
        """Name of the recipe in which nothing is varied; where it is the only one, it needs none."""
        return UNCHANGED if any(trial.recipe for trial in self.trials) else ""

    @property
    def effects(self) -> list[Effect]:
        """What each recipe does beside the first one, over the seeds that both have, on each split; see `effect`."""
        right: dict[str, dict[tuple[int, int], NDArray[np.bool_]]] = {}
        for trial, run in zip(self.trials, self.runs, strict=True):
            right.setdefault(trial.recipe, {})[trial.split_seed, trial.config.seed] = _right(run)
        base = right.pop(self.trials[0].recipe)
        found = []
        for recipe, answers in right.items():
            for split in dict.fromkeys(split for split, _ in base):
                shared = [key for key in answers if key in base and key[0] == split]
                if shared:  # only answers on one test part can be compared image by image
                    name = recipe if len({split for split, _ in base}) == 1 else f"{recipe},split_seed={split}"
                    found.append(effect(name, [answers[key] for key in shared], [base[key] for key in shared]))
        return found

    @property
    def pairs(self) -> list[Pair]:
        """Every two recipes at the same seed and on the same test images; where there is one recipe, its seeds."""
        one_recipe = len({trial.recipe for trial in self.trials}) == 1
        return mcnemar_of_pairs(
            [
                ((a.name or UNCHANGED, _right(run_a)), (b.name or UNCHANGED, _right(run_b)))
                for (a, run_a), (b, run_b) in itertools.combinations(zip(self.trials, self.runs, strict=True), 2)
                if a.split_seed == b.split_seed and (one_recipe or a.config.seed == b.config.seed)
            ]
        )

    def __str__(self) -> str:
        lines = [
            (trial.name or UNCHANGED, f"{run.n:,}", run.figures)
            for trial, run in zip(self.trials, self.runs, strict=True)
        ]
        blocks = [figure_table("run", lines)]
        for recipe, figures in self.spread.items():
            accuracy = figures["accuracy"]
            if accuracy.runs > 1:
                blocks.append(
                    f"{recipe or self._unchanged or 'all runs'}: mean accuracy {accuracy.mean}, "
                    f"standard deviation {accuracy.deviation},\n"
                    f"  lowest {accuracy.lowest}, highest {accuracy.highest}"
                )
        if self.effects:
            beside = self.trials[0].recipe or UNCHANGED
            blocks.append("\n".join([f"accuracy beside {beside}", *map(_effect_line, self.effects)]))
        tests = [
            f"  {pair.first} − {pair.second}: {100 * pair.difference:+.2f} points, {pair.only_first} against "
            f"{pair.only_second} images, p = {pair.p_holm:.2g}"
            for pair in self.pairs
        ]
        if tests:
            if len(tests) > MOST_PAIRS:
                tests = [f"  {len(tests)} pairs: see pairs.csv"]
            blocks.append("\n".join(["McNemar's exact test on the same images, p by Holm's correction", *tests]))
        return "\n\n".join(blocks)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types; None for the deviation of one run, and intervals of runs that do not vary."""
        return {
            "runs": self.rows,
            "spread": {
                recipe: {figure: plain(asdict(one)) for figure, one in figures.items()}
                for recipe, figures in self.spread.items()
            },
            "intervals_of_means": MEAN_METHOD,
            "effects": [asdict(one) for one in self.effects],
            "pairs": [asdict(pair) for pair in self.pairs],
        }

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write compare.csv (a row a run), spread.csv and compare.json; pairs.csv and effects.csv where there are any.

        Returns:
            The path of compare.csv.

        Raises:
            ConfigError: The folder cannot be written.
        """
        out = Path(folder)
        write_rows(
            out / "spread.csv",
            [
                {"recipe": recipe or self._unchanged, "figure": figure, "runs": one.runs, **_flat(one)}
                for recipe, figures in self.spread.items()
                for figure, one in figures.items()
            ],
        )
        if self.pairs:
            write_rows(out / "pairs.csv", [asdict(pair) for pair in self.pairs])
        if self.effects:
            write_rows(out / "effects.csv", [_effect_row(one) for one in self.effects])
        write_text(out / "compare.json", json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")
        return write_rows(out / "compare.csv", self.rows)


def _right(run: StudyRun) -> NDArray[np.bool_]:
    predictions = run.predictions
    called = predictions.probabilities.argmax(1)
    return np.asarray(predictions.readable & (called == predictions.targets))


def _effect_line(one: Effect) -> str:
    value, low, high, lowest, highest = (
        f"{100 * share:+.2f}" for share in (*asdict(one.difference).values(), one.lowest, one.highest)
    )
    seeds = f", single seeds {lowest} to {highest}" if one.seeds > 1 else ""
    return f"  {one.recipe or UNCHANGED}: {value} points [{low} to {high}]{seeds}"


def _effect_row(one: Effect) -> dict[str, Any]:
    """An effect as one flat row."""
    row = asdict(one)
    difference = row.pop("difference")
    ends = {f"difference_{end}": difference[end] for end in ("low", "high")}
    return {**row, "difference": difference["value"], **ends}


def _flat(one: Spread) -> dict[str, float]:
    """A spread as one flat row, the ends of its intervals too."""
    cells: dict[str, float] = {}
    for name in ("mean", "deviation", "lowest", "highest"):
        estimate: Estimate = getattr(one, name)
        cells |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return cells
