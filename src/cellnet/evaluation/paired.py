"""Are two classifiers different? Tests and intervals on the same images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellnet.errors import DataError
from cellnet.evaluation.clusters import Units
from cellnet.evaluation.intervals import Estimate, from_draws, resample, scaled

Named = tuple[str, ArrayLike]
"""Name of a classifier, and N flags: True where it was right."""


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test of two classifiers on the same images.

    Args:
        n: Number of images.
        only_first: Images that the first alone called rightly.
        only_second: Images that the second alone called rightly.
        p: Two-sided p-value of "both are right equally often".
    """

    n: int
    only_first: int
    only_second: int
    p: float


def mcnemar(first: ArrayLike, second: ArrayLike) -> PairedTest:
    """McNemar's exact test: of the images that one classifier alone called rightly, is half each one's?

    Args:
        first: N flags, True where the first classifier was right.
        second: N flags of the second, for the same images in the same order.

    Raises:
        DataError: The two differ in length.

    Source: McNemar 1947, Psychometrika 12:153, with the binomial distribution instead of its approximation.

    Example:
        >>> mcnemar([True] * 8 + [False] * 2, [False] * 6 + [True] * 4)
        PairedTest(n=10, only_first=6, only_second=2, p=0.2890625)
    """
    a, b = np.asarray(first, np.bool_), np.asarray(second, np.bool_)
    if a.shape != b.shape:
        raise DataError(f"The two have {a.size} and {b.size} images; compare predictions of the same images.")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    # Whole numbers of any length: exact, and nothing to overflow.
    n, term, tail = only_a + only_b, 1, 1
    for k in range(min(only_a, only_b)):
        term = term * (n - k) // (k + 1)
        tail += term
    return PairedTest(a.size, only_a, only_b, min(1.0, 2 * tail / 2**n))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of several tests, corrected so that one false alarm among all of them is as rare as said.

    Args:
        p_values: p-values, 0 to 1.

    Returns:
        The corrected p-values in the same order.

    Source: Holm 1979, Scand. J. Stat. 6:65.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


@dataclass(frozen=True)
class Pair:
    """Two classifiers on the same images, and McNemar's exact test of their difference.

    Args:
        first: Name of a classifier.
        second: Name of another.
        difference: Accuracy of the first less that of the second.
        only_first: Images that the first alone called rightly.
        only_second: Images that the second alone called rightly.
        p: Two-sided p-value.
        p_holm: The same, corrected by Holm's method for all pairs that were tested with it.
    """

    first: str
    second: str
    difference: float
    only_first: int
    only_second: int
    p: float
    p_holm: float


def mcnemar_of_pairs(pairs: Sequence[tuple[Named, Named]]) -> list[Pair]:
    """McNemar's exact test of several pairs, corrected for their number.

    Args:
        pairs: Two classifiers each.

    Raises:
        DataError: Two that are paired differ in length.

    Example:
        >>> a, b = ("a", [True] * 9 + [False]), ("b", [True] * 2 + [False] * 8)
        >>> [(pair.difference, pair.only_first, pair.p) for pair in mcnemar_of_pairs([(a, b)])]
        [(0.7, 7, 0.015625)]
    """
    tests = [mcnemar(first, second) for (_, first), (_, second) in pairs]
    corrected = holm([test.p for test in tests])
    return [
        Pair(a, b, (t.only_first - t.only_second) / max(t.n, 1), t.only_first, t.only_second, t.p, p_holm)
        for ((a, _), (b, _)), t, p_holm in zip(pairs, tests, corrected, strict=True)
    ]


def paired_bootstrap(
    targets: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    num_classes: int,
    functions: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]],
    *,
    units: Units | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """By how much figures of two classifiers differ, with intervals: images are resampled with both their answers.

    It is the Bayesian bootstrap of `intervals.bootstrap`. The prior weighs one image in all: half an image that the
    first alone calls rightly, and half one that the second alone does, spread evenly over the classes that are
    present. Two that happen to agree on all images thus have a difference of 0 with an interval of honest width.

    Args:
        targets: N true labels, at least one.
        first: N labels that the first classifier predicted.
        second: N labels of the second.
        num_classes: C.
        functions: Figures by name: take (draws, C, C) confusion matrices to (draws,) values, e.g. `metrics.macro_f1`.
        units: What of the N images is independent; default: each image.
        draws: Number of draws.
        seed: Seed of the draws.

    Returns:
        For each figure that of the first less that of the second.

    Source: Rubin 1981, Ann. Stat. 9:130; Bonett & Price 2012, J. Educ. Behav. Stat. 37:479 (added discordant images).
    """
    c = num_classes
    if units is not None and units.grouped:
        sums = [units.confusions(targets, labels, c).reshape(-1, c * c) for labels in (first, second)]
        patterns, shapes = np.concatenate(sums, axis=1), np.ones(len(sums[0]))
    else:
        answers, counts = np.unique(np.stack([targets, first, second]), axis=1, return_counts=True)
        patterns, shapes = _both(answers, c), counts.astype(np.float64)
    total = shapes @ patterns
    wrong = [(t, w) for t in np.unique(targets) for w in range(c) if w != t]
    alone = np.array([(t, t, w) for t, w in wrong] + [(t, w, t) for t, w in wrong], np.int64)
    one_sided = _both(alone.reshape(-1, 3).T, c)
    drawn = resample(
        np.concatenate([patterns, one_sided]),
        np.concatenate([shapes, np.full(len(one_sided), 1 / max(len(one_sided), 1))]),
        draws=draws,
        seed=seed,
    )
    n, tails = len(targets), (units or Units.of(None, len(targets))).tails
    a, b = np.moveaxis(scaled(drawn.reshape(-1, 2, c, c), n), 1, 0)
    of_first, of_second = total.reshape(2, c, c)
    return {name: from_draws(float(f(of_first) - f(of_second)), f(a) - f(b), tails) for name, f in functions.items()}


def _both(answers: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Two confusion matrices of each image, side by side, images×2C²; ``answers`` are true label, first and second."""
    cells, (targets, *labels) = np.eye(num_classes**2), answers
    return np.concatenate([cells[targets * num_classes + called] for called in labels], axis=1)
