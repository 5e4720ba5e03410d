"""From labelled predictions to the figures of a report, each with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from cellnet.evaluation import calibration, metrics
from cellnet.evaluation.intervals import (
    NOT_AVAILABLE,
    Estimate,
    bootstrap,
    bootstrap_mean,
    wilson,
    wilson_f1,
)
from cellnet.evaluation.selective import estimate_area

if TYPE_CHECKING:
    from cellnet.labels import LabelSchema

INTERVAL_METHOD = (
    "95 %: Wilson score for shares and the F1 of a class; Bayesian bootstrap of the confusion matrix for "
    "averages, kappa and MCC, and over images for ECE, Brier, NLL, AURC and the size of sets; images taken as "
    "independent"
)

_BOOTSTRAPPED = {
    "balanced_accuracy": metrics.balanced_accuracy,
    "macro_f1": metrics.macro_f1,
    "weighted_f1": metrics.weighted_f1,
    "macro_precision": metrics.macro_precision,
    "macro_recall": metrics.macro_recall,
    "weighted_precision": metrics.weighted_precision,
    "kappa": metrics.kappa,
    "mcc": metrics.mcc,
}


class ClassFigures(TypedDict):
    """The figures of one class; all but ``n`` and ``specificity`` are NaN where ``n`` is 0.

    ``precision`` and ``npv``, the predictive values, hold at the share of the class among these images.
    """

    n: int
    precision: Estimate
    recall: Estimate
    specificity: Estimate
    npv: Estimate
    f1: Estimate


def overall_figures(
    confusion: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int64],
    accepted: NDArray[np.bool_],
    in_set: NDArray[np.bool_] | None = None,
) -> dict[str, Estimate]:
    """Figures over all classes.

    Args:
        confusion: C×C counts.
        probabilities: N×C, 0 to 1, of the same images.
        targets: N true labels.
        accepted: N flags, False where the model abstained.
        in_set: N×C flags, True where the class cannot be excluded; None where there are no prediction sets.

    Returns:
        ``accuracy``, ``balanced_accuracy``, ``macro_*`` and ``weighted_*`` of ``precision``, ``recall`` and
        ``f1``, ``kappa``, ``mcc``, ``ece``, ``brier``, ``nll``; ``coverage``, the share of images that the
        model did not abstain from; ``accepted_accuracy``, that on these; ``aurc``, the area under the risk-coverage
        curve; and where there are prediction sets ``set_coverage``, the share of images whose true class is in the
        set, and ``set_size``, the mean number of classes in it.
    """
    right = probabilities.argmax(1) == targets
    accuracy = wilson(int(right.sum()), len(targets))
    return {
        "accuracy": accuracy,
        **{name: bootstrap(confusion, function) for name, function in _BOOTSTRAPPED.items()},
        "weighted_recall": accuracy,  # the same thing, so that it must have the same interval
        "ece": calibration.estimate_calibration_error(probabilities, targets),
        "brier": calibration.estimate_loss(calibration.brier_scores, probabilities, targets),
        "nll": calibration.estimate_loss(calibration.negative_log_likelihoods, probabilities, targets),
        "coverage": wilson(int(accepted.sum()), len(targets)),
        "accepted_accuracy": wilson(int(right[accepted].sum()), int(accepted.sum())),
        "aurc": estimate_area(probabilities, targets),
        **({} if in_set is None else _set_figures(in_set, targets)),
    }


def _set_figures(in_set: NDArray[np.bool_], targets: NDArray[np.int64]) -> dict[str, Estimate]:
    covered = in_set[np.arange(len(targets)), targets]
    # Of two made-up images, as in the other intervals, one has a set of one class and one of two.
    return {
        "set_coverage": wilson(int(covered.sum()), len(targets)),
        "set_size": bootstrap_mean(in_set.sum(1), prior=[1, 2]),
    }


def class_figures(confusion: NDArray[np.int64], schema: LabelSchema) -> dict[str, ClassFigures]:
    """Figures of each class, by its name.

    Args:
        confusion: C×C counts.
        schema: The C classes.
    """
    total = int(confusion.sum())
    figures = {}
    for label, name in enumerate(schema.names):
        hits, true = int(confusion[label, label]), int(confusion[label].sum())
        called = int(confusion[:, label].sum())
        neither = total - true - called + hits
        figures[name] = ClassFigures(
            n=true,
            precision=wilson(hits, called) if true else NOT_AVAILABLE,
            recall=wilson(hits, true),
            specificity=wilson(neither, total - true),
            npv=wilson(neither, total - called) if true else NOT_AVAILABLE,
            f1=wilson_f1(hits, true, called),
        )
    return figures
