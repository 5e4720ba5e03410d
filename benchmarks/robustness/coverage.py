"""How often do the 95 % intervals hold the truth? Simulated test sets of worlds whose truth is known.

    python benchmarks/robustness/coverage.py [--trials 500] [--seed 0]

- *confusion*: eight classes of unequal size, 97 % accuracy, mistakes mostly between two neighbours.
- *ranking*: five classes; logits of a good model, which takes 3 % of the images for another class and is sure of it.
- *donors*: four classes, 20 images a donor; the share of mistakes differs from donor to donor (intraclass correlation
  0.05), 5 % on average. ``images alone`` are the intervals that take these images as independent.
- *pairs*: two models of 97 and 98 % accuracy on the same images, which make half of the lesser one's mistakes together.

``too_low`` and ``too_high`` are the shares of intervals that lie below and above the truth.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellnet.evaluation import Estimate, calibration, metrics
from cellnet.evaluation.calibration_intervals import estimate_loss
from cellnet.evaluation.clusters import Units, resampled_confusions, wilson_of_groups
from cellnet.evaluation.figures import Scored
from cellnet.evaluation.intervals import bootstrap, f1_of, from_draws, multinomial_bootstrap, wilson
from cellnet.evaluation.paired import paired_bootstrap
from cellnet.evaluation.ranking import (
    average_precisions,
    estimate_average_precisions,
    estimate_roc_areas,
    roc_areas,
)
from cellnet.files import atomic_path
from cellnet.labels import LabelSchema

RESULTS = Path(__file__).parents[1] / "results" / "coverage.csv"
Case = tuple[str, str, Estimate, float]
"""Figure, interval, the interval found, and the truth."""

MANY = 400_000
"""Images from which the truth of rankings is taken."""

MACRO = {"macro F1": metrics.macro_f1, "balanced accuracy": metrics.balanced_accuracy, "kappa": metrics.kappa}


def confusion(rng: np.random.Generator, images: int) -> Iterator[Case]:
    """Figures of a confusion matrix."""
    shares = np.array([0.07, 0.18, 0.09, 0.17, 0.07, 0.08, 0.2, 0.14])
    wrong = np.full((8, 8), 0.2 / 6) + (0.8 - 0.2 / 6) * np.roll(np.eye(8), 1, axis=1)
    np.fill_diagonal(wrong, 0)
    truth = shares[:, None] * (0.97 * np.eye(8) + 0.03 * wrong / wrong.sum(1, keepdims=True))
    while True:
        counts = rng.multinomial(images, truth.ravel()).reshape(8, 8)
        hits, true, called = int(counts[0, 0]), int(counts[0].sum()), int(counts[:, 0].sum())
        yield "accuracy", "Wilson", wilson(int(counts.trace()), images), 0.97
        if true:
            yield "recall of a class", "Wilson", wilson(hits, true), 0.97
            yield "F1 of a class", "Wilson", f1_of(wilson(hits, true + called - hits)), float(metrics.f1(truth)[0])
        for name, function in MACRO.items():
            yield name, "Bayesian bootstrap", bootstrap(counts, function), float(function(truth))
        name, function = next(iter(MACRO.items()))
        yield (
            name,
            "multinomial bootstrap",
            multinomial_bootstrap(counts, function),
            float(function(truth)),
        )
        scored = Scored(LabelSchema.from_names("abcdefgh"), *_images(counts))
        ppv, _ = metrics.predictive_values(0.97, metrics.specificity(truth)[0], 0.01)
        yield "PPV at 1 %", "Jeffreys", scored.predictive_values({"a": 0.01})["a"]["ppv"], float(ppv)


def _images(counts: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Probabilities, targets and acceptance that have this confusion matrix."""
    targets, called = (np.repeat(each.ravel(), counts.ravel()) for each in np.indices(counts.shape))
    return np.eye(len(counts), dtype=np.float32)[called], targets, np.ones(len(targets), np.bool_)


def _scores(rng: np.random.Generator, images: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    targets = rng.integers(5, size=images)
    seen = np.where(rng.random(images) < 0.03, rng.integers(5, size=images), targets)
    logits = rng.normal(0, 1.5, (images, 5)) + 6 * np.eye(5)[seen]
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True), targets


@cache
def _truth_of_scores() -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Areas and Brier score, nearly: those of very many images."""
    many = _scores(np.random.default_rng(1), MANY)
    return roc_areas(*many), average_precisions(*many), float(calibration.brier_scores(*many).mean())


def ranking(rng: np.random.Generator, images: int) -> Iterator[Case]:
    """Areas and a proper score."""
    roc, precision, brier = _truth_of_scores()
    units = Units.of(None, images)
    while True:
        scores = _scores(rng, images)
        for name, truth, estimate in (
            ("ROC area", roc, estimate_roc_areas),
            ("PR area", precision, estimate_average_precisions),
        ):
            each, mean = estimate(*scores, units)
            yield f"{name} of a class", "effective Wilson", each[0], float(truth[0])
            yield f"{name}, mean", "effective Wilson", mean, float(truth.mean())
        yield "Brier score", "Bayesian bootstrap", estimate_loss(calibration.brier_scores, *scores), brier


def donors(rng: np.random.Generator, images: int) -> Iterator[Case]:
    """Figures of images that come in groups of twenty."""
    groups, error, correlation = images // 20, 0.05, 0.05
    truth = (np.eye(4) * (1 - error) + (1 - np.eye(4)) * error / 3) / 4
    f1, codes = float(metrics.macro_f1(truth)), np.repeat(np.arange(groups), 20)
    spread = (1 - correlation) / correlation
    units = Units.of(codes.tolist(), images)
    while True:
        rates = rng.beta(error * spread, (1 - error) * spread, groups)
        targets = rng.integers(4, size=images)
        wrong = (targets + rng.integers(1, 4, images)) % 4
        called = np.where(rng.random(images) < rates[codes], wrong, targets)
        tables = units.confusions(targets, called, 4)
        total = tables.sum(0)
        yield "accuracy", "effective Wilson", wilson_of_groups(np.trace(tables, axis1=1, axis2=2), units.sizes), 0.95
        yield "recall of a class", "effective Wilson", wilson_of_groups(tables[:, 0, 0], tables[:, 0].sum(1)), 0.95
        drawn = metrics.macro_f1(resampled_confusions(tables))
        yield "macro F1", "cluster bootstrap", from_draws(float(metrics.macro_f1(total)), drawn, units.tails), f1
        yield "accuracy", "images alone, Wilson", wilson(float(total.trace()), images), 0.95
        yield "macro F1", "images alone, bootstrap", bootstrap(total, metrics.macro_f1), f1


def pairs(rng: np.random.Generator, images: int) -> Iterator[Case]:
    """Differences of two models."""
    functions = {"difference of accuracy": metrics.accuracy, "difference of macro F1": metrics.macro_f1}
    matrices = [np.eye(4) * (1 - error) + (1 - np.eye(4)) * error / 3 for error in (0.03, 0.02)]
    truth = {name: float(f(matrices[0]) - f(matrices[1])) for name, f in functions.items()}
    while True:
        targets, together = rng.integers(4, size=images), rng.random(images) < 0.015
        wrong = (targets + rng.integers(1, 4, images)) % 4
        answers = [
            np.where(together | (rng.random(images) < (error - 0.015) / (1 - 0.015)), wrong, targets)
            for error in (0.03, 0.02)
        ]
        for name, estimate in paired_bootstrap(targets, *answers, 4, functions).items():
            yield name, "paired bootstrap", estimate, truth[name]


WORLDS = ((confusion, (100, 1000)), (ranking, (200, 1000)), (donors, (200, 600)), (pairs, (200, 1000)))


def main() -> None:
    """Run, print and write the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--trials", type=int, default=500)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--out", type=Path, default=RESULTS)
    given = words.parse_args()
    table = []
    for world, sizes in WORLDS:
        for images in sizes:
            found: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
            for figure, interval, estimate, truth in world(np.random.default_rng(given.seed), images):
                seen = found[figure, interval]
                if len(seen) == given.trials:
                    break
                seen.append((truth > estimate.high, truth < estimate.low, estimate.high - estimate.low))
            for (figure, interval), seen in found.items():
                low, high, width = np.mean(seen, axis=0)
                table.append(
                    {
                        "world": world.__name__,
                        "images": f"{images:,}",
                        "figure": figure,
                        "interval": interval,
                        "coverage": f"{1 - low - high:.3f}",
                        "too_low": f"{low:.3f}",
                        "too_high": f"{high:.3f}",
                        "mean_width": f"{width:.4f}",
                        "trials": str(len(seen)),
                    }
                )
                print("  ".join(f"{key}={value}" for key, value in table[-1].items()), flush=True)
    with atomic_path(given.out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
