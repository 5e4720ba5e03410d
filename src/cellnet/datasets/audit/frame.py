"""Class signal in the frame alone: can the class be told without looking at the cell?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cellnet.datasets import splits
from cellnet.errors import DataError

MOST_IMAGES = 20_000
"""Larger sets are probed on so many images, drawn at random."""

FOLDS = 5
"""Parts of the cross-validation; fewer where a class has fewer independent images, or shares them with others."""


@dataclass(frozen=True)
class FrameProbe:
    """How often the colours of the outer frame (40 of 360 pixels) tell the class, on images not learned from.

    Args:
        images: Number of images probed.
        accuracy: Share of them whose class was named rightly from the frame.
        low: Lower end of its 95 % interval (Wilson).
        high: Upper end.
        majority: Share of the most frequent class: what naming it always would reach.
    """

    images: int
    accuracy: float
    low: float
    high: float
    majority: float

    @property
    def signal(self) -> bool:
        """Whether the frame tells more than the most frequent class does."""
        return self.low > self.majority

    def __str__(self) -> str:
        accuracy, low, high, majority = (100 * x for x in (self.accuracy, self.low, self.high, self.majority))
        meaning = (
            "the background tells something of the class: a model may learn the smear instead of the cell"
            if self.signal
            else "the background does not tell the class"
        )
        return (
            f"{accuracy:.1f} % [{low:.1f}–{high:.1f}] right from the outer frame alone, {majority:.1f} % by always "
            f"naming the most frequent class: {meaning}"
        )


def probe_frame(
    frames: NDArray[np.float32], targets: NDArray[np.int64], units: Sequence[int] | NDArray[np.int64]
) -> FrameProbe | None:
    """Logistic regression on the colours of the frame, cross-validated.

    Args:
        frames: N×D, quantiles of the colours in the frame.
        targets: N labels.
        units: N values; images of one unit, such as copies of one cell, are never on both sides.

    Returns:
        The result, or None where fewer than two classes have two independent images, or cannot be divided.
    """
    unit = np.asarray(units)
    rows = np.arange(len(targets))
    if len(rows) > MOST_IMAGES:  # first, since the draw may leave one image of a rare class
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST_IMAGES])
    independent = {label: len(np.unique(unit[rows][targets[rows] == label])) for label in np.unique(targets[rows])}
    rows = rows[[independent[label] >= 2 for label in targets[rows]]]
    counts = np.bincount(targets[rows]) if len(rows) else np.zeros(1, np.int64)
    if (counts > 0).sum() < 2:
        return None
    labels, features, unit = targets[rows], frames[rows], unit[rows]
    held_outs = _divide(labels, unit, min(FOLDS, *(independent[label] for label in np.unique(labels))))
    if not held_outs:
        return None
    right = 0
    for held_out in held_outs:
        known = np.setdiff1d(np.arange(len(labels)), held_out)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        right += int((model.fit(features[known], labels[known]).predict(features[held_out]) == labels[held_out]).sum())
    interval = binomtest(right, len(labels)).proportion_ci(method="wilson")
    return FrameProbe(
        len(labels), right / len(labels), float(interval.low), float(interval.high), float(counts.max() / len(labels))
    )


def _divide(labels: NDArray[np.int64], unit: NDArray[Any], most: int) -> list[NDArray[np.int64]]:
    """The parts of a cross-validation; none where no number of them, up to ``most``, gives each part each class."""
    for folds in range(most, 1, -1):
        try:
            return splits.k_fold(labels, unit, folds)
        except DataError:  # units of several classes: fewer parts are easier to fill
            continue
    return []
