"""What several runs of one recipe say together: mean and spread, with intervals that fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, stdtrit

from cellnet.errors import ConfigError
from cellnet.evaluation import Estimate
from cellnet.evaluation.intervals import NOT_AVAILABLE, TAILS

MEAN_METHOD = "95 %, corrected resampled t (Nadeau & Bengio 2003)"


def corrected_mean(values: ArrayLike, test_per_train: float = 0.0) -> Estimate:
    """The mean of a figure over several runs, with the corrected resampled t interval.

    Folds and repeated splits share training images, so their figures are not independent, and the usual s²/n
    is too small. The variance of the mean is taken as (1/n + n_test/n_train) · s², the quantile is Student's
    with n - 1 degrees of freedom.

    Args:
        values: One share a run, 0 to 1, at least two.
        test_per_train: Test images over training images of a run, 1 / (k - 1) for k folds. 0, the plain
            t interval, is right for runs that differ by nothing but their seed: what they say is then
            about these images alone.

    Returns:
        The mean and its interval, cut at 0 and 1; of runs that do not vary the interval is NaN, since they say nothing
        of how far others would.

    Raises:
        ConfigError: Fewer than two values.

    Source: Nadeau & Bengio 2003, Mach. Learn. 52:239; for repeated folds Bouckaert & Frank 2004, PAKDD.

    Example:
        >>> print(corrected_mean([0.97, 0.98, 0.96, 0.97, 0.98], test_per_train=1 / 4))
        97.20 % [95.64–98.76]
    """
    table = np.asarray(values, np.float64)
    n = len(table)
    if n < 2:
        raise ConfigError(f"The spread of {n} run(s) says nothing; make at least two.")
    mean = float(table.mean())
    if _constant(table):
        return Estimate(mean, math.nan, math.nan)
    half = float(stdtrit(n - 1, TAILS[1])) * math.sqrt((1 / n + test_per_train) * float(table.var(ddof=1)))
    return Estimate(mean, min(mean, max(0.0, mean - half)), max(mean, min(1.0, mean + half)))


def deviation(values: ArrayLike) -> Estimate:
    """The standard deviation of a figure over several runs, with its chi-squared interval.

    The interval takes the runs as independent and normal; for a handful of runs it is wide, as it must be. No share
    deviates by more than a half. Runs that do not vary give no interval.

    Args:
        values: One share a run, 0 to 1; of a single one there is no deviation.

    Example:
        >>> print(f"{deviation([0.97, 0.98, 0.96, 0.97, 0.98]):.3f}")
        0.008 [0.005–0.024]
    """
    table = np.asarray(values, np.float64)
    if len(table) < 2:
        return NOT_AVAILABLE
    if _constant(table):
        return Estimate(0.0, math.nan, math.nan)
    freedom, s = len(table) - 1, float(table.std(ddof=1))
    # chdtri wants the upper tail: the larger quantile belongs to the lower end.
    low, high = (s * math.sqrt(freedom / float(chdtri(freedom, tail))) for tail in TAILS)
    return Estimate(s, low, max(s, min(high, 0.5)))


def _constant(values: NDArray[np.float64]) -> bool:
    return float(np.ptp(values)) < 1e-12  # equal but for the order of sums


def plain(tree: Any) -> Any:
    """A tree with None for NaN, which JSON does not know."""
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return None if tree != tree else tree  # NaN is the only value that differs from itself


@dataclass(frozen=True)
class Spread:
    """How much a figure varies from run to run.

    Args:
        runs: Number of runs.
        mean: Their mean, see `corrected_mean`; for a single run its own figure.
        deviation: Their standard deviation, see `deviation`.
        lowest: The lowest run, with the interval that it has by itself.
        highest: The highest run, likewise.
    """

    runs: int
    mean: Estimate
    deviation: Estimate
    lowest: Estimate
    highest: Estimate


def spread(figures: Sequence[Estimate], test_per_train: float = 0.0) -> Spread:
    """Mean and spread of one figure of several runs.

    Args:
        figures: The figure of each run with its own interval, at least one.
        test_per_train: See `corrected_mean`.
    """
    ordered = sorted(figures, key=lambda figure: figure.value)
    values = [figure.value for figure in figures]
    mean = corrected_mean(values, test_per_train) if len(values) > 1 else figures[0]
    return Spread(len(values), mean, deviation(values), ordered[0], ordered[-1])
