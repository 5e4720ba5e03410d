"""Do the probabilities mean what they say? Calibration error and proper scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellnet.models.calibrators import labelled

NUM_BINS = 15
"""Bins of equal width between 0 and 1, the number that Guo et al. 2017 use."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose highest probability lies in ``(low, high]``.

    Args:
        low: Lower edge of the bin.
        high: Upper edge.
        n: Number of images.
        confidence: Mean highest probability; NaN where ``n`` is 0.
        accuracy: Share of the images that were called rightly; NaN where ``n`` is 0.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def _true_probability(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    return probabilities[np.arange(len(targets)), targets]


def brier_scores(probabilities: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Squared distance between the probabilities and the truth, 0 (best) to 2, for each image.

    Args:
        probabilities: N×C, 0 to 1.
        targets: N true labels.

    Source: Brier 1950, in its original form over all classes.

    Example:
        >>> brier_scores([[1.0, 0.0], [0.5, 0.5]], [0, 1]).tolist()
        [0.0, 0.5]
    """
    values, labels = labelled(probabilities, targets)
    scores: NDArray[np.float64] = ((values - np.eye(values.shape[1])[labels]) ** 2).sum(1)
    return scores


def negative_log_likelihoods(probabilities: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """-log of the probability of the true class, 0 (best) upwards, for each image, in nats.

    Args:
        probabilities: N×C, 0 to 1. They count as at least 1.2e-7, the resolution of float32, so that a
            probability rounded to 0 does not make the mean infinite.
        targets: N true labels.
    """
    values, labels = labelled(probabilities, targets)
    return -np.log(np.clip(_true_probability(values, labels), np.finfo(np.float32).eps, 1))


def bin_of(confidence: NDArray[np.float64], bins: int = NUM_BINS) -> NDArray[np.int64]:
    """Bin of each confidence, 0 to ``bins - 1``; bin ``b`` is ``(b / bins, (b + 1) / bins]``."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def reliability_bins(probabilities: ArrayLike, targets: ArrayLike, *, bins: int = NUM_BINS) -> list[ReliabilityBin]:
    """Confidence and accuracy of the images, in bins of equal width of the highest probability.

    Args:
        probabilities: N×C, 0 to 1.
        targets: N true labels.
        bins: Number of bins.

    Example:
        >>> [b] = [b for b in reliability_bins([[0.75, 0.25], [0.75, 0.25]], [0, 1]) if b.n]
        >>> b.n, b.confidence, b.accuracy
        (2, 0.75, 0.5)
    """
    values, labels = labelled(probabilities, targets)
    confidence, right = values.max(1), values.argmax(1) == labels
    where = bin_of(confidence, bins)
    counts = np.bincount(where, minlength=bins)
    sums = (np.bincount(where, weights=column, minlength=bins) for column in (confidence, right))
    means = [np.divide(s, counts, out=np.full(bins, np.nan), where=counts > 0) for s in sums]
    return [
        ReliabilityBin(b / bins, (b + 1) / bins, int(n), float(c), float(a))
        for b, (n, c, a) in enumerate(zip(counts, *means, strict=True))
    ]


def expected_calibration_error(probabilities: ArrayLike, targets: ArrayLike, *, bins: int = NUM_BINS) -> float:
    """Mean distance between confidence and accuracy over the bins, weighted by their images, 0 to 1.

    Args:
        probabilities: N×C, 0 to 1.
        targets: N true labels.
        bins: Number of bins of equal width of the highest probability.

    Source: Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599.

    Example:
        >>> expected_calibration_error([[0.75, 0.25], [0.75, 0.25]], [0, 1])
        0.25
    """
    filled = [b for b in reliability_bins(probabilities, targets, bins=bins) if b.n]
    n = sum(b.n for b in filled)
    return sum(b.n * abs(b.confidence - b.accuracy) for b in filled) / n if n else float("nan")
