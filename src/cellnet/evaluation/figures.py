"""From labelled predictions to the figures of a report, each with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from cellnet.errors import ConfigError, DataError
from cellnet.evaluation import calibration, metrics
from cellnet.evaluation.calibration_intervals import (
    estimate_calibration_error,
    estimate_classwise_errors,
    estimate_loss,
)
from cellnet.evaluation.clusters import Units, effective_number, resampled_confusions, wilson_of_groups
from cellnet.evaluation.intervals import NOT_AVAILABLE, Estimate, bootstrap, bootstrap_mean, f1_of, from_draws, wilson
from cellnet.evaluation.ranking import estimate_average_precisions, estimate_roc_areas, top_k_hits
from cellnet.evaluation.selective import estimate_area
from cellnet.evaluation.tables import FIGURES

if TYPE_CHECKING:
    from cellnet.inference import Predictions
    from cellnet.labels import LabelSchema

_METHOD = (
    "95 %: Wilson score for shares and the F1 of a class; Bayesian bootstrap of the confusion matrix for "
    "averages, kappa and MCC, and over images for ECE, Brier, NLL, AURC and the size of sets; Wilson score for the "
    "number of images that the variance of an area (DeLong) is worth"
)
_INDEPENDENT = "images taken as independent"
_GROUPED = (
    "images of one group (donor, slide, photograph) taken together: effective numbers of images, and groups "
    "resampled as a whole, with Student's t for the number of groups"
)

DRAWS = 10_000

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

    ``precision`` and ``npv``, the predictive values, hold at the share of the class among these images;
    `Scored.predictive_values` gives those at another one. ``roc_auc`` and ``average_precision`` are the areas of the
    class against the rest, ``ece`` is the calibration error of its probability.
    """

    n: int
    precision: Estimate
    recall: Estimate
    specificity: Estimate
    npv: Estimate
    f1: Estimate
    roc_auc: Estimate
    average_precision: Estimate
    ece: Estimate


class PredictiveValues(TypedDict):
    """The predictive values of a class at a stated prevalence."""

    ppv: Estimate
    npv: Estimate


@dataclass(frozen=True, eq=False)
class Scored:
    """Labelled images and what a model said about them: all that the figures are made of.

    Args:
        schema: The C classes.
        probabilities: N×C, 0 to 1; N is at least 1.
        targets: N true labels.
        accepted: N flags, False where the model abstained.
        groups: N values, equal for images of one donor, slide or photograph; None where it is not known.
        in_set: N×C flags, True where the class cannot be excluded; None where there are no prediction sets.
    """

    schema: LabelSchema
    probabilities: NDArray[np.float32]
    targets: NDArray[np.int64]
    accepted: NDArray[np.bool_]
    groups: Sequence[object] | None = None
    in_set: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, predictions: Predictions) -> Scored:
        """The readable images of predictions with targets.

        Raises:
            DataError: No targets, or no readable image.
        """
        if not len(predictions):
            raise DataError("The predictions have no rows, so there is nothing to score; give at least one image.")
        targets = targets_of(predictions)
        rows = np.flatnonzero(predictions.readable)
        if not len(rows):
            raise DataError(
                f"None of the {len(predictions)} images could be read, so there is nothing to score; "
                "the errors of the predictions say why."
            )
        return cls(
            predictions.schema,
            predictions.probabilities[rows],
            targets[rows],
            ~predictions.abstain[rows],
            None if predictions.groups is None else [predictions.groups[row] for row in rows],
            None if predictions.in_set is None else predictions.in_set[rows],
        )

    @cached_property
    def units(self) -> Units:
        """What of the images is independent."""
        return Units.of(self.groups, len(self.targets))

    @cached_property
    def called(self) -> NDArray[np.int64]:
        """N predicted labels."""
        return np.asarray(self.probabilities.argmax(1))

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """C×C counts, true class by predicted class."""
        return metrics.confusion_matrix(self.targets, self.called, len(self.schema))

    @cached_property
    def _tables(self) -> NDArray[np.float64]:
        """The confusion matrix; of grouped images one for each group."""
        if not self.units.grouped:
            return self.confusion.astype(np.float64)
        return self.units.confusions(self.targets, self.called, len(self.schema))

    @property
    def interval_method(self) -> str:
        """How the intervals were made, in words."""
        return f"{_METHOD}; {_GROUPED if self.units.grouped else _INDEPENDENT}"

    def overall(self) -> dict[str, Estimate]:
        """Figures over all classes.

        Returns:
            ``accuracy``, ``top_2_accuracy``, ``balanced_accuracy``, ``macro_*`` and ``weighted_*`` of ``precision``,
            ``recall`` and ``f1``, ``kappa``, ``mcc``; ``macro_roc_auc`` and ``macro_average_precision``, the mean areas
            of the classes that are present; ``ece``, ``classwise_ece``, ``brier``, ``nll``; ``coverage``, the share of
            images that the model did not abstain from; ``accepted_accuracy``, that on these; ``aurc``, the area under
            the risk-coverage curve; and where there are prediction sets ``set_coverage``, the share of images whose
            true class is in the set, and ``set_size``, the mean number of classes in it.
        """
        right = self.called == self.targets
        accuracy = self._share_of(right)
        scores = (self.probabilities, self.targets, self.units)
        return {
            "accuracy": accuracy,
            "top_2_accuracy": self._share_of(top_k_hits(self.probabilities, self.targets, 2)),
            **self._bootstrapped(_BOOTSTRAPPED),
            "weighted_recall": accuracy,  # the same thing, so that it must have the same interval
            "macro_roc_auc": self._roc_areas[1],
            "macro_average_precision": self._average_precisions[1],
            "ece": estimate_calibration_error(*scores),
            "classwise_ece": self._classwise_errors[1],
            "brier": estimate_loss(calibration.brier_scores, *scores),
            "nll": estimate_loss(calibration.negative_log_likelihoods, *scores),
            "coverage": self._share_of(self.accepted),
            "accepted_accuracy": self._share_of(right, self.accepted),
            "aurc": estimate_area(*scores),
            **self._set_figures(),
        }

    def _set_figures(self) -> dict[str, Estimate]:
        if self.in_set is None:
            return {}
        covered = self.in_set[np.arange(len(self.targets)), self.targets]
        sizes = self.in_set.sum(1).astype(np.float64)
        # Of two made-up images, as in the other intervals, one has a set of one class and one of two.
        mean = bootstrap_mean(self.units.sums(sizes), [1.0, 2.0], sizes=self.units.sizes, tails=self.units.tails)
        return {"set_coverage": self._share_of(covered), "set_size": mean}

    def main(self) -> dict[str, Estimate]:
        """The figures by which models are compared: `tables.FIGURES`."""
        return {"accuracy": self._share_of(self.called == self.targets), **self._bootstrapped(FIGURES[1:])}

    def per_class(self) -> dict[str, ClassFigures]:
        """Figures of each class, by its name."""
        figures = {}
        for label, name in enumerate(self.schema.names):
            hits, true, called, total = self._counts(label)
            n, neither = int(self.confusion[label].sum()), total - true - called + hits
            figures[name] = ClassFigures(
                n=n,
                precision=self._share(hits, called) if n else NOT_AVAILABLE,
                recall=self._share(hits, true),
                specificity=self._share(neither, total - true),
                npv=self._share(neither, total - called) if n else NOT_AVAILABLE,
                f1=f1_of(self._share(hits, true + called - hits)) if n else NOT_AVAILABLE,
                roc_auc=self._roc_areas[0][label],
                average_precision=self._average_precisions[0][label],
                ece=self._classwise_errors[0][label],
            )
        return figures

    def predictive_values(self, prevalence: Mapping[str, float]) -> dict[str, PredictiveValues]:
        """What a call of a class, and its absence, mean where the class is as frequent as stated.

        Sensitivity and specificity are taken from these images, each with its Jeffreys posterior, and the rest is
        Bayes' theorem: among images where a class is rare, most calls of it can be false.

        Args:
            prevalence: Share of the class among the images to come, 0 to 1, by the name of the class.

        Raises:
            UnknownNameError: No such class.
            ConfigError: A share that is none.
        """
        found: dict[str, PredictiveValues] = {}
        for name, share in prevalence.items():
            label = self.schema.index(name)
            if not 0 <= share <= 1:
                raise ConfigError(f"The prevalence of {name} is {share}, but it is a share: give a number from 0 to 1.")
            hits, true, called, total = self._counts(label)
            pairs = [(hits, true), (total - true - called + hits, total - true)]
            sensitivity, specificity = (self._posterior(*pair, seed) for seed, pair in enumerate(pairs))
            # The first of each is the share as measured, the others are draws.
            values = metrics.predictive_values(sensitivity, specificity, share)
            ppv, npv = (from_draws(float(each[0]), each[1:]) for each in values)
            found[self.schema.names[label]] = PredictiveValues(ppv=ppv, npv=npv)
        return found

    def _bootstrapped(self, names: Iterable[str]) -> dict[str, Estimate]:
        functions = {name: _BOOTSTRAPPED[name] for name in names}
        if not self.units.grouped:
            return {name: bootstrap(self.confusion, function) for name, function in functions.items()}
        drawn, counts = resampled_confusions(self._tables), self.confusion.astype(np.float64)
        return {
            name: from_draws(float(function(counts)), function(drawn), self.units.tails)
            for name, function in functions.items()
        }

    @cached_property
    def _roc_areas(self) -> tuple[list[Estimate], Estimate]:
        return estimate_roc_areas(self.probabilities, self.targets, self.units)

    @cached_property
    def _average_precisions(self) -> tuple[list[Estimate], Estimate]:
        return estimate_average_precisions(self.probabilities, self.targets, self.units)

    @cached_property
    def _classwise_errors(self) -> tuple[list[Estimate], Estimate]:
        return estimate_classwise_errors(self.probabilities, self.targets, self.units)

    def _counts(self, label: int) -> tuple[NDArray[np.float64], ...]:
        """Hits, images of the class, images called so, and all images: numbers, or one a group."""
        t = self._tables
        return t[..., label, label], t[..., label, :].sum(-1), t[..., label].sum(-1), t.sum((-2, -1))

    def _share(self, successes: NDArray[np.float64], n: NDArray[np.float64]) -> Estimate:
        """A share of two `_counts`."""
        return wilson_of_groups(successes, n) if self.units.grouped else wilson(float(successes), float(n))

    def _share_of(self, counted: NDArray[np.bool_], among: NDArray[np.bool_] | None = None) -> Estimate:
        """The share of the images ``among`` some, or all, that are ``counted``."""
        among = np.ones_like(counted) if among is None else among
        flags = (counted & among, among)
        if self.units.grouped:
            return wilson_of_groups(*map(self.units.sums, flags))
        return wilson(*(int(each.sum()) for each in flags))

    def _posterior(self, successes: NDArray[np.float64], n: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        """A share of `_counts`, and behind it draws of what it may be."""
        hits, total = float(successes.sum()), float(n.sum())
        if total == 0:
            return np.full(DRAWS + 1, np.nan)
        worth = effective_number(successes, n) if self.units.grouped else total
        share = hits / total
        draws = np.random.default_rng(seed).beta(share * worth + 0.5, (1 - share) * worth + 0.5, DRAWS)
        return np.append(share, draws)


def targets_of(predictions: Predictions) -> NDArray[np.int64]:
    """The true labels, one a row.

    Raises:
        DataError: There are none.
    """
    if predictions.targets is None:
        raise DataError(
            "These predictions carry no true classes to score them by; add a column 'target', or predict a "
            "labelled data set."
        )
    return predictions.targets
