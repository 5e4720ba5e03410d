"""Are two classifiers different? Tests on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cellnet.errors import DataError


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
