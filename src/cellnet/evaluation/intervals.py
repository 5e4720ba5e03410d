"""95 % intervals for every figure of a report.

A figure without its uncertainty invites over-reading: 40 of 40 is not "100 %", it is "at least 91 %".

* Shares of counted images (accuracy, recall, precision, ...) have Wilson's score interval.
* The F1 of a class is a monotone function of a share, and has that share's Wilson interval, transformed.
* Any other function of the confusion matrix (macro averages, kappa, ...) has a Bayesian bootstrap interval.
* Means over images (Brier score, ...) have one too, over images; the calibration errors build on it.
* ROC and precision-recall areas have Wilson's interval for the number of images that they are worth: `ranking`.

None of them collapses to a point on a perfect score. Here images are independent; `clusters` does the same for groups
of images, such as those of one donor. `benchmarks/robustness/coverage.py` measures how often they hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
"""Coverage of all intervals."""

TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
"""Quantiles at the ends of an interval."""

_Z = NormalDist().inv_cdf(TAILS[1])

_AT_ONCE = 2**22
"""Numbers drawn at once, which bounds the memory."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; NaN where the figure, or its interval alone, does not exist.

    Args:
        value: The figure, as measured.
        low: Lower end of the interval, ``low <= value``.
        high: Upper end of the interval.

    Example:
        >>> accuracy = wilson(5052, 5128)
        >>> print(accuracy)
        98.52 % [98.15–98.81]
        >>> print(f"{accuracy:.3f}")
        0.985 [0.981–0.988]
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """``{"value": ..., "low": ..., "high": ...}``."""
        return asdict(self)

    def __str__(self) -> str:
        return format(self, ".2%")

    def __format__(self, spec: str) -> str:
        if math.isnan(self.value):
            return "n/a"
        spec = spec or ".2%"
        sign = " %" if spec.endswith("%") else ""
        value, low, high = (format(x, spec).removesuffix("%") for x in (self.value, self.low, self.high))
        return f"{value}{sign} [n/a]" if math.isnan(self.low) else f"{value}{sign} [{low}–{high}]"


NOT_AVAILABLE = Estimate(math.nan, math.nan, math.nan)
"""The figure of something that was not there to be measured."""


def wilson(successes: float, n: float) -> Estimate:
    """A share with Wilson's score interval, which stays honest near 0 and 1 and for small ``n``.

    Args:
        successes: Images that count, 0 to ``n``.
        n: Images looked at; with 0 the result is NaN.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22:209; recommended by Brown, Cai & DasGupta 2001, Stat. Sci.
    16:101.

    Example:
        >>> print(wilson(40, 40))
        100.00 % [91.24–100.00]
    """
    if n == 0:
        return NOT_AVAILABLE
    share, z2 = successes / n, _Z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    # At 0 and 1 the ends are exact in theory, but not in floating point.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Estimate(share, low, high)


def f1_of(jaccard: Estimate) -> Estimate:
    """The F1 of one class from another share, with that share's interval.

    F1 = 2J / (1 + J), where J is the share of hits among the images that are of the class or were called so. Given
    their number, the hits are binomial: Wilson's interval for J, transformed, is one for F1.

    Args:
        jaccard: J with its interval.

    Source: the indirect Wilson method of Lam, Gopal & Qian 2023, arXiv:2309.14621.

    Example:
        >>> print(f1_of(wilson(95, 100 + 97 - 95)))  # 100 images of the class, 97 called so, 95 of them rightly
        96.45 % [92.77–98.29]
    """
    return Estimate(*(2 * x / (1 + x) for x in (jaccard.value, jaccard.low, jaccard.high)))


def from_draws(value: float, draws: ArrayLike, tails: tuple[float, float] = TAILS) -> Estimate:
    """A figure with the percentile interval of its draws, which is widened where the value lies outside.

    Args:
        value: The figure, as measured; NaN has no interval.
        draws: What it might have been; NaN is left out.
        tails: Quantiles at the ends of the interval.
    """
    if math.isnan(value):
        return NOT_AVAILABLE
    low, high = np.nanquantile(np.asarray(draws), tails)
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def bootstrap(
    confusion: ArrayLike,
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Any function of the confusion matrix, with the interval of its Bayesian bootstrap.

    The matrix is a multinomial sample; its cells are drawn from their Dirichlet posterior, with the prior of
    `one_image`. The posterior of the accuracy is then the Jeffreys one, Beta(right + ½, wrong + ½), so that a
    matrix without errors, where resampling could draw nothing but itself, has an interval of honest width too.
    Simulated at 98.5 % accuracy and 40 images of eight classes, it covers the truth in 95 % of the cases for
    macro F1, plain resampling in half of them; from a thousand images on the two agree.

    Args:
        confusion: C×C counts.
        function: Takes (draws, C, C) non-negative matrices to (draws,) values, e.g. `metrics.macro_f1`.
        draws: Number of draws.
        seed: Seed of the draws: the same matrix always has the same interval.

    Source: Rubin 1981, Ann. Stat. 9:130; Caelen 2017, Ann. Math. Artif. Intell. 81:429 (any function of a
    confusion matrix); Brown, Cai & DasGupta 2001 (the Jeffreys prior).

    Example:
        >>> from cellnet.evaluation import metrics
        >>> print(bootstrap([[20, 0], [0, 20]], metrics.macro_f1))
        100.00 % [93.61–100.00]
    """
    counts = np.asarray(confusion, np.float64)
    if counts.sum() == 0:
        return NOT_AVAILABLE
    samples = np.random.default_rng(seed).standard_gamma(counts + one_image(counts), (draws, *counts.shape))
    return from_draws(float(function(counts)), function(scaled(samples, counts.sum())))


def multinomial_bootstrap(
    confusion: ArrayLike,
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Any function of the confusion matrix, with the plain bootstrap interval that others report.

    N images drawn with replacement fall into the cells of the matrix by the multinomial law, so that the cells are
    drawn themselves: exactly what scoring resampled images anew would give, in a time that does not grow with N.
    A matrix without errors gives an interval without width; reports therefore use `bootstrap`.

    Args:
        confusion: C×C counts.
        function: Takes (draws, C, C) matrices to (draws,) values, e.g. `metrics.macro_f1`.
        draws: Number of draws.
        seed: Seed of the draws.

    Source: Efron 1979, Ann. Stat. 7:1.

    Example:
        >>> from cellnet.evaluation import metrics
        >>> print(multinomial_bootstrap([[900, 100], [50, 950]], metrics.macro_f1))
        92.50 % [91.31–93.65]
    """
    counts = np.asarray(confusion, np.int64)
    n = int(counts.sum())
    if n == 0:
        return NOT_AVAILABLE
    samples = np.random.default_rng(seed).multinomial(n, counts.ravel() / n, draws).reshape(draws, *counts.shape)
    return from_draws(float(function(counts.astype(np.float64))), function(samples.astype(np.float64)))


def one_image(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """The prior of a confusion matrix: one image in all, half right and half wrong, spread evenly.

    Args:
        confusion: C×C counts.

    Returns:
        C×C, with sum 1 over the classes that are present.
    """
    present = confusion.sum(1) > 0
    diagonal = np.eye(len(confusion), dtype=bool)
    share = np.where(diagonal, 0.5, 0.5 / max(len(confusion) - 1, 1)) / max(present.sum(), 1)
    return np.where(present[:, None], share, 0.0)


def scaled(samples: NDArray[np.float64], n: float) -> NDArray[np.float64]:
    """Drawn confusion matrices (..., C, C), scaled to ``n`` images, since some figures depend on their number."""
    result: NDArray[np.float64] = samples * (n / samples.sum((-2, -1), keepdims=True))
    return result


def resample(patterns: ArrayLike, multiplicities: ArrayLike, *, draws: int, seed: int) -> NDArray[np.float64]:
    """Sums over things as they might have been with others: a Bayesian bootstrap.

    Each thing weighs a standard exponential number. Those of one pattern together weigh a gamma one, so that things
    which are alike need no more time than a single one, and half a thing has a meaning.

    Args:
        patterns: P×K, what a thing of each pattern adds to the sums.
        multiplicities: P numbers of things.
        draws: Number of draws.
        seed: Seed of the draws.

    Returns:
        draws×K.

    Source: Rubin 1981, Ann. Stat. 9:130.
    """
    table, shapes = np.asarray(patterns, np.float64), np.asarray(multiplicities, np.float64)
    generator, rows = np.random.default_rng(seed), max(1, _AT_ONCE // max(len(shapes), 1))
    parts = [
        generator.standard_gamma(shapes, (min(rows, draws - start), len(shapes))) @ table
        for start in range(0, draws, rows)
    ]
    return np.concatenate(parts)


def resampled_means(
    sums: ArrayLike, prior: ArrayLike, *, sizes: ArrayLike | None = None, draws: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """Means of columns over images, as they might be with other images.

    Args:
        sums: U×K, the columns of each image, or their sums over each of U units of images that are resampled together.
        prior: P×K, what made-up images would have that weigh one image in all, as in `bootstrap`, so that mistakes
            which happened not to be among the images are reckoned with: half of them right, half wrong.
        sizes: Number of images of each unit; default: 1.
        draws: Number of draws.
        seed: Seed of the draws.

    Returns:
        draws×K.
    """
    table, made_up = np.asarray(sums, np.float64), np.asarray(prior, np.float64)
    counts = np.ones(len(table)) if sizes is None else np.asarray(sizes, np.float64)
    patterns = np.block([[table, counts[:, None]], [made_up, np.ones((len(made_up), 1))]])
    shapes = np.concatenate([np.ones(len(table)), np.full(len(made_up), 1 / len(made_up))])
    drawn = resample(patterns, shapes, draws=draws, seed=seed)
    means: NDArray[np.float64] = drawn[:, :-1] / drawn[:, -1:]
    return means


def bootstrap_mean(
    sums: ArrayLike,
    prior: ArrayLike,
    *,
    sizes: ArrayLike | None = None,
    tails: tuple[float, float] = TAILS,
    draws: int = 1000,
    seed: int = 0,
) -> Estimate:
    """The mean over images, with the interval of its Bayesian bootstrap, see `resampled_means`.

    Args:
        sums: U numbers, one an image, or their sums over each of U units of images that are resampled together.
        prior: Numbers of made-up images, half of them called rightly and half wrongly.
        sizes: Number of images of each unit; default: 1.
        tails: Quantiles at the ends of the interval.
        draws: Number of draws.
        seed: Seed of the draws.

    Example:
        >>> brier = [0.02] * 40
        >>> print(f"{bootstrap_mean(brier, prior=[0.02, 1.7]):.2f}")
        0.02 [0.02–0.11]
    """
    table, made_up = np.asarray(sums, np.float64)[:, None], np.asarray(prior, np.float64)[:, None]
    value = float(table.sum() / (len(table) if sizes is None else np.sum(sizes)))
    return from_draws(value, resampled_means(table, made_up, sizes=sizes, draws=draws, seed=seed), tails)
