"""Accuracy, confusion matrix, precision, recall and F1 of a million images: cellnet beside scikit-learn, on one core.

    python benchmarks/speed/metrics.py

An item is one image. The figures of both are compared.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from bootstrap import CLASSES, IMAGES, answers
from harness import interleave, rows, write
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from cellnet.evaluation import metrics

Figures = list[NDArray[np.float64]]


def peer(targets: NDArray[np.int64], called: NDArray[np.int64]) -> Figures:
    """scikit-learn's figures."""
    per_class = precision_recall_fscore_support(targets, called, zero_division=0)[:3]
    return [np.asarray(accuracy_score(targets, called)), confusion_matrix(targets, called), *per_class]


def ours(targets: NDArray[np.int64], called: NDArray[np.int64]) -> Figures:
    """The same, from one confusion matrix."""
    confusion = metrics.confusion_matrix(targets, called, CLASSES)
    per_class = (metrics.precision(confusion), metrics.recall(confusion), metrics.f1(confusion))
    return [metrics.accuracy(confusion), confusion, *per_class]


def main(images: int = IMAGES, rounds: int = 5) -> None:
    """Measure and write ``speed_metrics.csv``."""
    targets, called = answers(images)
    pairs = zip(peer(targets, called), ours(targets, called), strict=True)
    away = max(float(np.abs(a - b).max()) for a, b in pairs)

    def counted(function: Callable[..., Figures]) -> Callable[[], int]:
        return lambda: (function(targets, called), images)[1]

    rates = interleave({"scikit-learn": counted(peer), "cellnet": counted(ours)}, rounds)
    table = rows(rates, "scikit-learn", ("numpy", "scikit-learn"))
    what = {"images": f"{images:,}", "largest_difference": f"{away:.1g}"}
    write("speed_metrics", [what | row for row in table])


if __name__ == "__main__":
    main()
