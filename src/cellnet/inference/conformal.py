"""Abstention and prediction sets with a guarantee, whatever the model and however good its probabilities are.

Both are fitted on labelled images that the model, its epoch and its calibration were not chosen by. What they
guarantee holds for new images that are drawn as these were (exchangeable): of the same laboratory, stain, scanner and
mix of patients. It says nothing of other laboratories, and nothing of a single image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellnet.cards import Card
from cellnet.errors import ConfigError, DataError
from cellnet.inference.table import SUM_TOLERANCE
from cellnet.labels import LabelSchema
from cellnet.models.calibrators import labelled, numbers


@dataclass(frozen=True)
class RiskControl(Card):
    """A threshold such that few of the images accepted at it are wrong, or the news that there is none.

    Args:
        risk: Largest share of the accepted images that may be wrong, above 0 and below 1.
        delta: Probability that the guarantee fails, through bad luck with the images fitted on.
        images: How many images it was fitted on.
        accepted: How many of them are accepted; without a threshold, how many were tried.
        errors: How many of those are wrong.
        threshold: Lowest probability of the predicted class that is accepted; None where none can be guaranteed.
        tta: Whether it was fitted with test-time augmentation; it holds only for predictions made in the same way.

    Raises:
        ConfigError: Numbers out of these bounds.

    Example:
        >>> sure, unsure = [[0.95, 0.05]] * 90, [[0.6, 0.4]] * 10
        >>> print(RiskControl.fit(sure + unsure, [0] * 95 + [1] * 5, risk=0.05))
        At most 5 % of the images accepted from a probability of 0.600 on are wrong, with 95 % confidence: of 100 \
images fitted on, 90 were accepted, 0 of them wrong.
        >>> print(RiskControl.fit(unsure, [0] * 10, risk=0.05))
        A risk of 5 % cannot be guaranteed with 10 images: even without a mistake it takes 59. Give more validation \
images, or allow a larger risk.
    """

    risk: float
    delta: float
    images: int
    accepted: int
    errors: int
    threshold: float | None
    tta: bool = False

    def __post_init__(self) -> None:
        check_share("risk", self.risk)
        check_share("delta", self.delta)
        counts = (self.errors, self.accepted, self.images)
        if any(type(count) is not int for count in counts) or not 0 <= counts[0] <= counts[1] <= counts[2]:
            raise ConfigError(f"{counts} are no numbers of wrong, accepted and all images; fit the risk anew.")
        if self.threshold is not None:
            numbers("threshold", [self.threshold], 0, 1)

    @classmethod
    def fit(
        cls, probabilities: ArrayLike, targets: ArrayLike, risk: float, delta: float = 0.05, start: float = 0.5
    ) -> Self:
        """Find the lowest threshold for which the risk is proven.

        Thresholds are tried from the most certain images downwards, one image more at a time. At each, the exact
        binomial test asks whether so few mistakes among so many images could come of a risk above the allowed one;
        the first threshold that does not pass ends the search. In a fixed order no correction for their number is
        needed. Images of equal probability are accepted together.

        Args:
            probabilities: N×C, 0 to 1, rows that sum to 1.
            targets: N true labels.
            risk: Largest share of accepted images that may be wrong.
            delta: Probability that the guarantee may fail.
            start: Share of the images that the first threshold accepts, at least `least_images`: with few, a single
                sure mistake ends the search; with many, there may be too many mistakes among them. Not to be chosen
                by these images, but `likely_start` chooses it by others.

        Raises:
            LabelError: Shapes that do not fit.
            DataError: No image, or rows that are no probabilities.
            ConfigError: ``risk`` or ``delta`` is not between 0 and 1.

        Source: Learn then Test, Angelopoulos et al. 2021, arXiv:2110.01052, with fixed-sequence testing.
        """
        from scipy.stats import binom

        confidence, errors = _errors_by_certainty(probabilities, targets)
        n, accepted = len(errors), np.arange(1, len(errors) + 1)
        first = max(math.ceil(check_share("start", start) * n), least_images(risk, delta))

        last_of_equals = np.append(confidence[1:] < confidence[:-1], True)
        tried = np.flatnonzero(last_of_equals & (accepted >= first))
        passed = np.logical_and.accumulate(binom.cdf(errors[tried], accepted[tried], risk) <= delta)
        if not passed.any():
            last = tried[0] if len(tried) else n - 1
            return cls(risk, delta, n, int(accepted[last]), int(errors[last]), None)
        last = tried[passed][-1]
        # Just above the first image refused: given its probability, the images above it are a sample of all that
        # the threshold accepts, so that the mistakes among them are binomial.
        threshold = 0.0 if last == n - 1 else float(np.nextafter(confidence[last + 1], np.float32(1)))
        return cls(risk, delta, n, int(accepted[last]), int(errors[last]), threshold)

    def __str__(self) -> str:
        if self.threshold is not None:
            return (
                f"At most {100 * self.risk:g} % of the images accepted from a probability of {self.threshold:.3f} on "
                f"are wrong, with {100 * (1 - self.delta):g} % confidence: of {self.images:,} images fitted on, "
                f"{self.accepted:,} were accepted, {self.errors:,} of them wrong."
            )
        needed = least_images(self.risk, self.delta)
        reason = (
            f"even without a mistake it takes {needed:,}"
            if self.images < needed
            else f"of the {self.accepted:,} most certain, {self.errors:,} are wrong"
        )
        return (
            f"A risk of {100 * self.risk:g} % cannot be guaranteed with {self.images:,} images: {reason}. "
            "Give more validation images, or allow a larger risk."
        )


def least_images(risk: float, delta: float = 0.05) -> int:
    """How many images, all of them right, it takes to prove that a risk is at most so large.

    Example:
        >>> least_images(0.01), least_images(0.005)
        (299, 598)
    """
    return math.ceil(math.log(check_share("delta", delta)) / math.log1p(-check_share("risk", risk)))


def likely_start(probabilities: ArrayLike, targets: ArrayLike, risk: float) -> float:
    """Where `RiskControl.fit` had best start on other images like these.

    At the share of images whose mistakes speak most clearly for a lower risk, less a quarter, since others will not be
    as lucky. Over ten simulated cases, of good and weak models with and without wrong labels, this found a threshold in
    77 % of the draws, fixed starts in 51 to 72 %.

    Args:
        probabilities: N×C, 0 to 1, rows that sum to 1, of images that will not prove the risk.
        targets: N true labels.
        risk: As in `RiskControl.fit`.

    Raises:
        CellnetError: As `RiskControl.fit`.

    Source: the learned order of split fixed-sequence testing, Angelopoulos et al. 2021, arXiv:2110.01052.
    """
    from scipy.stats import binom

    errors = _errors_by_certainty(probabilities, targets)[1]
    accepted = np.arange(1, len(errors) + 1)
    return 0.75 * (int(binom.cdf(errors, accepted, check_share("risk", risk)).argmin()) + 1) / len(errors)


@dataclass(frozen=True)
class PredictionSets(Card):
    """For each image the classes that cannot be excluded.

    Args:
        coverage: How often the true class must be among them, above 0 and below 1.
        by_class: Whether that holds for the images of each class (Mondrian), or only for all images together.
        limits: For each class the lowest probability at which it is in the set. At 0 it is in every set: too few
            images, of the class or in all, to exclude it.
        tta: As in `RiskControl`.

    Raises:
        ConfigError: Numbers out of these bounds.

    Example:
        >>> table = [[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.4, 0.6], [0.2, 0.8], [0.1, 0.9]]
        >>> sets = PredictionSets.fit(table, [0, 0, 0, 0, 1, 1], coverage=0.6)
        >>> [round(limit, 2) for limit in sets.limits]
        [0.6, 0.8]
        >>> sets.apply([[0.65, 0.35], [0.5, 0.5]]).tolist()
        [[True, False], [True, True]]
    """

    coverage: float
    by_class: bool
    limits: Sequence[float]
    tta: bool = False

    def __post_init__(self) -> None:
        check_share("coverage", self.coverage)
        if not isinstance(self.by_class, bool):
            raise ConfigError(f"by_class is {self.by_class!r}; give True or False.")
        object.__setattr__(self, "limits", numbers("limits", self.limits, 0, 1))

    @classmethod
    def fit(cls, probabilities: ArrayLike, targets: ArrayLike, coverage: float, *, by_class: bool = True) -> Self:
        """Find how probable a class must be to stay in the set.

        With n images, the limit is the k-th highest probability that was given to the true class, where k is
        (n + 1) · coverage, rounded up. Where k is above n, no limit is low enough but 0.

        Args:
            probabilities: N×C, 0 to 1, rows that sum to 1.
            targets: N true labels.
            coverage: How often the true class must be in the set.
            by_class: Fit each class on its own images, which keeps the promise to rare classes too.

        Raises:
            LabelError: Shapes that do not fit.
            DataError: No image, or rows that are no probabilities.
            ConfigError: ``coverage`` is not between 0 and 1.

        Source: Vovk, Gammerman & Shafer 2005, *Algorithmic Learning in a Random World* (split and Mondrian conformal
        prediction); Sadinle, Lei & Wasserman 2019, J. Am. Stat. Assoc. 114:223 (this score, the smallest sets).
        """
        values, labels = _checked(probabilities, targets)
        true, classes = values[np.arange(len(labels)), labels], range(values.shape[1])
        if by_class:
            return cls(coverage, True, [_limit(true[labels == label], coverage) for label in classes])
        return cls(coverage, False, [_limit(true, coverage)] * len(classes))

    def apply(self, probabilities: ArrayLike) -> NDArray[np.bool_]:
        """Which classes are in the set of each image.

        The most probable class always is: to name none would say nothing, and more classes only cover more.

        Args:
            probabilities: N×C; a row of NaN is an unreadable image, whose set is empty.

        Returns:
            N×C.
        """
        values = np.asarray(probabilities, np.float32)
        likely = values >= np.asarray(self.limits, np.float32)
        return np.asarray(likely | (values == values.max(axis=1, keepdims=True)))

    def describe(self, names: Sequence[str]) -> str:
        """The promise in words, and the classes that it cannot exclude anywhere.

        Args:
            names: C class names.

        Example:
            >>> PredictionSets(0.95, True, [0.4, 0.0]).describe(["ig", "platelet"])
            'The true class is in the set for at least 95 % of the images of each class. Too few validation images \
to ever exclude: platelet.'
        """
        whose = "of each class" if self.by_class else "of all classes together"
        words = f"The true class is in the set for at least {100 * self.coverage:g} % of the images {whose}."
        always = [name for name, limit in zip(names, self.limits, strict=True) if limit == 0]
        return f"{words} Too few validation images to ever exclude: {', '.join(always)}." if always else words


class Promising(Protocol):
    """A model, or the file that says what it promises."""

    @property
    def labels(self) -> LabelSchema:
        """The classes."""

    @property
    def risk_control(self) -> RiskControl | None:
        """What the threshold of the probability guarantees, if anything."""

    @property
    def sets(self) -> PredictionSets | None:
        """How prediction sets are made, if at all."""


def guarantees(model: Promising) -> list[str]:
    """What a model promises of the images that it accepts and of its prediction sets, in words; nothing if nothing.

    What was fitted without test-time augmentation does not hold while ``model.tta`` is true, and the reverse.
    """
    control, sets = _holding(model)
    promises = [] if control is None else [str(control)]
    promises += [] if sets is None else [sets.describe(model.labels.names)]
    return [f"{words} This holds for images like those it was fitted on, for no others." for words in promises]


def _holding(model: Promising) -> tuple[RiskControl | None, PredictionSets | None]:
    """The promises that were fitted on predictions as the model now makes them."""
    control, sets, tta = model.risk_control, model.sets, getattr(model, "tta", False)
    return (
        control if control is not None and control.tta == tta else None,
        sets if sets is not None and sets.tta == tta else None,
    )


def _limit(true: NDArray[np.float32], coverage: float) -> float:
    # 20 · 0.95 must be 19, also where floats make it a little more.
    k = math.ceil((len(true) + 1) * check_share("coverage", coverage) - 1e-9)
    return 0.0 if k > len(true) else float(np.sort(true)[-k])


def _errors_by_certainty(probabilities: ArrayLike, targets: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probability of the predicted class, the highest first, and the number of mistakes among as many images."""
    values, labels = _checked(probabilities, targets)
    confidence, wrong = values.max(1), values.argmax(1) != labels
    order = np.argsort(-confidence, kind="stable")
    return confidence[order], np.cumsum(wrong[order])


def _checked(probabilities: ArrayLike, targets: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    values, labels = labelled(probabilities, targets)
    if not len(labels):
        raise DataError("There is no image to fit on; give a validation part.")
    if not np.isfinite(values).all():
        raise DataError("Some probabilities are not finite; leave out the images that could not be read.")
    sums = values.sum(1)
    off = np.flatnonzero((values < 0).any(1) | (values > 1).any(1) | (abs(sums - 1) > SUM_TOLERANCE))
    if len(off):
        raise DataError(
            f"Row {off[0]} is no row of probabilities: from {values[off[0]].min():g} to {values[off[0]].max():g}, with "
            f"the sum {sums[off[0]]:g}; give the softmax over the classes."
        )
    # As `predict` gives them: a limit must mean the same when it is applied.
    return values.astype(np.float32), labels


def check_promised(model: Promising, risk: float | None = None, coverage: float | None = None) -> None:
    """Make sure that a model promises at least what is asked for.

    Args:
        model: The model.
        risk: Largest share of the accepted images that may be wrong; None asks for nothing.
        coverage: How often the true class must be in the prediction set; None asks for nothing.

    Raises:
        ConfigError: A number that is not between 0 and 1, or a promise that the model does not make; the message says
            how to fit it.
    """
    control, sets = _holding(model)
    for name, asked, made, fitted in (
        ("risk", risk, None if control is None else control.risk, model.risk_control),
        ("coverage", coverage, None if sets is None else sets.coverage, model.sets),
    ):
        if asked is None:
            continue
        check_share(name, asked)
        if made is None or (made > asked if name == "risk" else made < asked):
            if made is None and fitted is not None:
                raise ConfigError(
                    f"The {name} was fitted {'with' if fitted.tta else 'without'} test-time augmentation, and holds "
                    f"only so; {'set model.tta = True' if fitted.tta else 'leave out --tta (model.tta = True)'}."
                )
            has = f"a {name} of {100 * made:g} %" if made is not None else f"no {name}"
            raise ConfigError(
                f"The model promises {has}, not {100 * asked:g} %. Fit it on labelled images: "
                f"cellnet evaluate --model MODEL --dataset NAME --root DIR --{name} {asked:g} --save FOLDER, "
                f"then use --model FOLDER; or call model.calibrate(val, {name}={asked:g})."
            )


def check_share(name: str, value: float) -> float:
    """The value, if it is a share that can be promised.

    Raises:
        ConfigError: It is not above 0 and below 1.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise ConfigError(f"{name} is {value!r}, but must be above 0 and below 1; 0.01 is one in a hundred.")
    return float(value)
