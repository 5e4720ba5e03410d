"""Intervals where images are not independent: those of one donor, slide or photograph succeed and fail together.

Groups take the place of images. A share has Wilson's interval for the number of independent images that its images are
worth; a function of the confusion matrix is resampled group by group. A few groups say little of others, which both
reckon with as Student's t does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from cellnet.evaluation.intervals import (
    NOT_AVAILABLE,
    TAILS,
    Estimate,
    one_image,
    resample,
    scaled,
    wilson,
)
from cellnet.inference.table import is_known

MOST_UNITS = 10_000
"""Units resampled one by one. More of them are bundled at random, which changes an interval by about one per cent."""

_NORMAL = NormalDist()


@dataclass(frozen=True, eq=False)
class Units:
    """What is resampled as a whole: each image, or each group of images; of very many, random bundles.

    Args:
        codes: N numbers from 0 on, equal for images of one unit.
        grouped: Whether they are groups; else images are independent.

    Example:
        >>> Units.of(["a", None, "b", "a"], 4).codes.tolist()
        [0, 2, 1, 0]
        >>> Units.of(["a", "a"], 2).grouped
        False
    """

    codes: NDArray[np.int64]
    grouped: bool

    @classmethod
    def of(cls, groups: Sequence[object] | None, n: int) -> Units:
        """The units of ``n`` images.

        Args:
            groups: Values that are equal for images of one donor, slide or photograph; None, as a whole or for single
                images, where it is not known. Images count as independent where no group holds two of them, and where
                one group holds them all, since nothing then tells how much groups differ.
            n: Number of images.
        """
        codes = np.arange(n)
        if groups is not None:
            known = np.array([is_known(group) for group in groups], np.bool_)
            names, found = np.unique([str(group) for group in groups if is_known(group)], return_inverse=True)
            codes[known] = found
            codes[~known] = len(names) + np.arange(n - len(found))
        number = int(codes.max(initial=-1)) + 1
        grouped = 1 < number < n
        if not grouped:
            codes, number = np.arange(n), n
        if number > MOST_UNITS:
            codes = np.random.default_rng(0).permutation(number)[codes] % MOST_UNITS
        return cls(codes, grouped)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of images of each unit."""
        return np.bincount(self.codes)

    @property
    def tails(self) -> tuple[float, float]:
        """Quantiles of resampled units at the ends of an interval."""
        return expanded_tails(len(self.sizes)) if self.grouped else TAILS

    def sums(self, values: ArrayLike) -> NDArray[np.float64]:
        """Sums of N or N×K ``values`` over the images of each unit: U or U×K."""
        table = np.asarray(values, np.float64)
        if table.ndim == 1:
            return np.bincount(self.codes, weights=table).astype(np.float64)
        return np.stack([np.bincount(self.codes, weights=column) for column in table.T], axis=1)

    def confusions(self, targets: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray[np.float64]:
        """A confusion matrix a unit, U×C×C counts, of N true labels and N predicted ones."""
        cells = (self.codes * num_classes + np.asarray(targets)) * num_classes + np.asarray(labels)
        counts = np.bincount(cells, minlength=len(self.sizes) * num_classes**2)
        return counts.reshape(-1, num_classes, num_classes).astype(np.float64)


def student(groups: int) -> float:
    """What a number of independent images shrinks to where so many groups told how much groups differ.

    Wilson's interval for it is the one with Student's quantile in place of the normal one.

    Example:
        >>> round(student(10), 2), round(student(1000), 2)
        (0.75, 1.0)
    """
    return (_NORMAL.inv_cdf(TAILS[1]) / float(stdtrit(max(groups - 1, 1), TAILS[1]))) ** 2


def effective_number(successes: ArrayLike, n: ArrayLike) -> float:
    """How many independent images the images of a share are worth.

    It is p(1 - p) over the variance of the share between groups. To steady both where mistakes are few, one image is
    added, half right and half wrong: without any mistake nothing tells that groups differ, and images count in full.

    Args:
        successes: Images that count, one number a group.
        n: Images looked at, one number a group; at least one in all.

    Source: Kish 1965, Survey Sampling (effective sample size); Korn & Graubard 1998, Surv. Methodol. 24:193 (in an
    interval for shares, with Student's t).
    """
    hits, sizes = np.asarray(successes, np.float64), np.asarray(n, np.float64)
    groups, total = int((sizes > 0).sum()), float(sizes.sum())
    share = (float(hits.sum()) + 0.5) / (total + 1)
    between = float(((hits - share * sizes) ** 2).sum()) * groups / max(groups - 1, 1)
    variance = (between + 0.5 * (1 - share) ** 2 + 0.5 * share**2) / (total * (total + 1))
    return min(total, share * (1 - share) / variance) * student(groups)


def wilson_of_groups(successes: ArrayLike, n: ArrayLike) -> Estimate:
    """A share of images that come in groups, with Wilson's interval for their `effective_number`.

    Args:
        successes: Images that count, one number a group.
        n: Images looked at, one number a group; with none at all the result is NaN.

    Example:
        >>> print(wilson_of_groups([10, 10, 9, 4], [10, 10, 10, 10]))  # beside 33 of 40: 82.50 % [68.05–91.25]
        82.50 % [29.13–98.18]
    """
    hits, total = float(np.sum(successes)), float(np.sum(n))
    if total == 0:
        return NOT_AVAILABLE
    worth = effective_number(successes, n)
    return wilson(hits / total * worth, worth)


def expanded_tails(groups: int) -> tuple[float, float]:
    """Quantiles at which the percentile interval of so many resampled groups is as wide as Student's.

    Source: Hesterberg 2015, Am. Stat. 69:371 (the expanded percentile interval).

    Example:
        >>> [round(tail, 4) for tail in expanded_tails(10)], [round(tail, 3) for tail in expanded_tails(10_000)]
        ([0.0086, 0.9914], [0.025, 0.975])
    """
    tail = _NORMAL.cdf(math.sqrt(groups / (groups - 1)) * float(stdtrit(groups - 1, TAILS[0])))
    return tail, 1 - tail


def resampled_confusions(confusions: ArrayLike, *, draws: int = 2000, seed: int = 0) -> NDArray[np.float64]:
    """Confusion matrices as they might have been with other groups: the Bayesian bootstrap over clusters.

    The prior is that of `intervals.bootstrap`, one image. The interval of a figure lies between its `expanded_tails`.

    Args:
        confusions: G×C×C counts, a confusion matrix for each group, see `Units.confusions`.
        draws: Number of draws.
        seed: Seed of the draws.

    Returns:
        draws×C×C.

    Source: Field & Welsh 2007, J. R. Stat. Soc. B 69:369 (resampling clusters); Rubin 1981, Ann. Stat. 9:130.
    """
    each = np.asarray(confusions, np.float64)
    total, groups, cells = each.sum(0), len(each), each[0].size
    patterns = np.concatenate([each.reshape(groups, cells), np.eye(cells)])
    shapes = np.concatenate([np.ones(groups), one_image(total).ravel()])
    return scaled(resample(patterns, shapes, draws=draws, seed=seed).reshape(draws, *total.shape), total.sum())
