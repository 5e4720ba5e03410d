"""What one change of a recipe does: the difference to the recipe without it, seed by seed and image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellnet.errors import DataError
from cellnet.evaluation import Estimate
from cellnet.evaluation.intervals import TAILS
from cellnet.evaluation.metrics import accuracy
from cellnet.evaluation.paired import paired_bootstrap

DRAWS = 2000


@dataclass(frozen=True)
class Effect:
    """A recipe beside the one that it differs from.

    Args:
        recipe: What is different, in words.
        seeds: Number of seeds that both were trained with.
        accuracy: Mean accuracy of the recipe over these seeds.
        difference: That less the mean accuracy of the other recipe, with its interval.
        lowest: The lowest difference of a seed.
        highest: The highest.
    """

    recipe: str
    seeds: int
    accuracy: float
    difference: Estimate
    lowest: float
    highest: float


def effect(recipe: str, right: ArrayLike, base: ArrayLike, *, seed: int = 0) -> Effect:
    """The effect of a change, from the answers of both recipes.

    Images and seeds are resampled, each by itself (the pigeonhole bootstrap), so that the interval holds for other
    images and, as far as a few seeds can tell, for other seeds. A single seed, or recipes that differ by the same on
    all images, have the interval of `paired_bootstrap`, which holds for other images alone.

    Args:
        recipe: What is different, in words.
        right: Seeds × images, True where the recipe was right.
        base: The same of the recipe to compare with, for the same seeds and images in the same order.
        seed: Seed of the bootstrap.

    Raises:
        DataError: The two have not the same shape.

    Source: Owen 2007, Ann. Appl. Stat. 1:386.

    Example:
        >>> without, with_it = np.zeros((2, 1000), bool), np.zeros((2, 1000), bool)
        >>> without[:, :900], with_it[:, :950] = True, True
        >>> print(effect("ema=0.99", with_it, without).difference)
        5.00 % [3.60–6.40]
    """
    a, b = np.asarray(right, np.float64), np.asarray(base, np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise DataError(f"Answers of shape {a.shape} and {b.shape} cannot be compared; give seeds × images of both.")
    differences = a - b
    per_seed, mean = differences.mean(1), float(differences.mean())
    if len(a) == 1 or not np.ptp(differences):
        # Of two classes, right and wrong, all images are of the first.
        truth, (first, second) = np.zeros(a.shape[1], np.int64), (1 - np.stack([a[0], b[0]])).astype(np.int64)
        figures = {"accuracy": accuracy}
        interval = paired_bootstrap(truth, first, second, 2, figures, draws=DRAWS, seed=seed)["accuracy"]
    else:
        low, high = np.quantile(_resampled_means(differences, np.random.default_rng(seed)), TAILS)
        interval = Estimate(mean, min(mean, float(low)), max(mean, float(high)))
    return Effect(recipe, len(a), float(a.mean()), interval, float(per_seed.min()), float(per_seed.max()))


def _resampled_means(table: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    seeds, images = table.shape
    chosen_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS) / seeds
    means = np.empty(DRAWS)
    for draw, weights in enumerate(chosen_seeds):
        counts = np.bincount(rng.integers(images, size=images), minlength=images)
        means[draw] = weights @ table @ counts / images
    return means
