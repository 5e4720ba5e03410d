"""Figures of merit as pure functions of the confusion matrix.

``confusion[..., i, j]`` counts the images of class ``i`` that were called ``j``; leading dimensions are kept,
so that one call serves a thousand bootstrap draws. Definitions are scikit-learn's with ``zero_division=0``.

A class that has no image in the targets is *absent*: its recall, precision and F1 are NaN, and an average
is taken over the classes that are present. A class that is present but never predicted has no precision
either (NaN); an average counts it as zero, since the model found none of its cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellnet.errors import LabelError

Floats = NDArray[np.float64]

BLOCK = 1 << 14
"""Images that are counted at a time."""


def confusion_matrix(targets: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Count the images of each true class (row) by predicted class (column).

    Args:
        targets: N true labels, 0 to ``num_classes - 1``.
        labels: N predicted labels.
        num_classes: C.

    Returns:
        C×C counts.

    Raises:
        LabelError: The two differ in length, or a label is out of range.

    Example:
        >>> confusion_matrix([0, 0, 1], [0, 1, 1], num_classes=2).tolist()
        [[1, 1], [0, 1]]
    """
    true, predicted = np.asarray(targets, np.int64), np.asarray(labels, np.int64)
    if true.shape != predicted.shape or true.ndim != 1:
        raise LabelError(f"targets and labels have the shapes {true.shape} and {predicted.shape}; give each image one.")
    counts, cells = np.zeros(num_classes**2, np.int64), np.empty(BLOCK, np.int64)
    for start in range(0, len(true), BLOCK):  # a block stays in the processor's cache
        rows, columns = true[start : start + BLOCK], predicted[start : start + BLOCK]
        # As unsigned numbers, negative ones are huge.
        if max(rows.view(np.uint64).max(), columns.view(np.uint64).max()) >= num_classes:
            both = np.concatenate([true, predicted])
            raise LabelError(
                f"Labels run from {both.min()} to {both.max()}, but {num_classes} classes have the labels 0 to "
                f"{num_classes - 1}; check the label schema."
            )
        cell = np.multiply(rows, num_classes, out=cells[: len(rows)])
        cell += columns
        counts += np.bincount(cell, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, NaN where the denominator is zero."""
    result = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def _parts(confusion: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    """Per class the hits, the true and the predicted number (..., C each), and the total (..., 1)."""
    counts = np.asarray(confusion, np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return hits, counts.sum(-1), counts.sum(-2), counts.sum((-2, -1))[..., None]


def support(confusion: ArrayLike) -> Floats:
    """Number of images of each class."""
    return _parts(confusion)[1]


def recall(confusion: ArrayLike) -> Floats:
    """Share of each class's images that were called so (sensitivity)."""
    hits, true, _, _ = _parts(confusion)
    return _ratio(hits, true)


def precision(confusion: ArrayLike) -> Floats:
    """Share of the images called a class that belong to it (positive predictive value)."""
    hits, true, predicted, _ = _parts(confusion)
    return _ratio(hits, np.where(true > 0, predicted, 0))


def specificity(confusion: ArrayLike) -> Floats:
    """Share of the images of all other classes that were not called this one; counts false alarms."""
    hits, true, predicted, total = _parts(confusion)
    return _ratio(total - true - predicted + hits, total - true)


def negative_predictive_value(confusion: ArrayLike) -> Floats:
    """Share of the images not called a class that indeed belong to another."""
    hits, true, predicted, total = _parts(confusion)
    return _ratio(total - true - predicted + hits, np.where(true > 0, total - predicted, 0))


def predictive_values(sensitivity: ArrayLike, specificity: ArrayLike, prevalence: ArrayLike) -> tuple[Floats, Floats]:
    """Positive and negative predictive value where a class is as frequent as stated, by Bayes' theorem.

    `precision` and `negative_predictive_value` hold at the share of the class among the images judged; sensitivity
    and specificity do not depend on it.

    Args:
        sensitivity: As `recall`, 0 to 1.
        specificity: As `specificity`, 0 to 1.
        prevalence: Share of the class among the images to come, 0 to 1.

    Returns:
        Both, in the common shape of the arguments; NaN where nothing would be called so, or everything.

    Example:
        >>> [round(float(value), 3) for value in predictive_values(0.9, 0.99, prevalence=0.001)]
        [0.083, 1.0]
    """
    se, sp, p = (np.asarray(each, np.float64) for each in (sensitivity, specificity, prevalence))
    true_calls, false_calls = se * p, (1 - sp) * (1 - p)
    true_rests, false_rests = sp * (1 - p), (1 - se) * p
    return _ratio(true_calls, true_calls + false_calls), _ratio(true_rests, true_rests + false_rests)


def f1(confusion: ArrayLike) -> Floats:
    """Harmonic mean of precision and recall of each class."""
    hits, true, predicted, _ = _parts(confusion)
    return _ratio(2 * hits, np.where(true > 0, true + predicted, 0))


def accuracy(confusion: ArrayLike) -> Floats:
    """Share of all images that were called rightly.

    Example:
        >>> float(accuracy([[3, 1], [0, 4]]))
        0.875
    """
    hits, _, _, total = _parts(confusion)
    return _ratio(hits.sum(-1), total[..., 0])


def _macro(values: Floats, confusion: ArrayLike) -> Floats:
    present = support(confusion) > 0
    return _ratio(np.where(present, np.nan_to_num(values), 0).sum(-1), present.sum(-1).astype(np.float64))


def _weighted(values: Floats, confusion: ArrayLike) -> Floats:
    weights = support(confusion)
    return _ratio((np.nan_to_num(values) * weights).sum(-1), weights.sum(-1))


def macro_recall(confusion: ArrayLike) -> Floats:
    """Mean recall of the classes that are present."""
    return _macro(recall(confusion), confusion)


def macro_precision(confusion: ArrayLike) -> Floats:
    """Mean precision of the classes that are present."""
    return _macro(precision(confusion), confusion)


def macro_f1(confusion: ArrayLike) -> Floats:
    """Mean F1 of the classes that are present."""
    return _macro(f1(confusion), confusion)


def weighted_recall(confusion: ArrayLike) -> Floats:
    """Recall averaged with the number of images as weight: the accuracy."""
    return _weighted(recall(confusion), confusion)


def weighted_precision(confusion: ArrayLike) -> Floats:
    """Precision averaged with the number of images as weight."""
    return _weighted(precision(confusion), confusion)


def weighted_f1(confusion: ArrayLike) -> Floats:
    """F1 averaged with the number of images as weight."""
    return _weighted(f1(confusion), confusion)


def balanced_accuracy(confusion: ArrayLike) -> Floats:
    """Accuracy where each present class counts the same: the macro recall under its usual name."""
    return macro_recall(confusion)


def kappa(confusion: ArrayLike) -> Floats:
    """Agreement beyond chance, -1 to 1 (Cohen 1960); NaN if all targets and predictions are one class."""
    hits, true, predicted, total = _parts(confusion)
    n = total[..., 0]
    chance = (true * predicted).sum(-1)
    return _ratio(hits.sum(-1) * n - chance, n**2 - chance)


def mcc(confusion: ArrayLike) -> Floats:
    """Matthews correlation coefficient of C classes, -1 to 1 (Gorodkin 2004).

    Zero, as in scikit-learn, where all targets or all predictions are one class.
    """
    hits, true, predicted, total = _parts(confusion)
    n = total[..., 0]
    covariance = hits.sum(-1) * n - (true * predicted).sum(-1)
    variances = (n**2 - (true**2).sum(-1)) * (n**2 - (predicted**2).sum(-1))
    return np.nan_to_num(_ratio(covariance, np.sqrt(np.maximum(variances, 0))))
