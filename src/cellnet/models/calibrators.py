"""From logits to probabilities that mean what they say. A model carries one calibrator, fitted on a validation part.

Temperature scaling has a single number to fit, and keeps every label. Vector scaling corrects each class, isotonic
calibration any shape of error; both have more to fit, and may change labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, softmax

from cellnet.cards import Card
from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.registry import check_name

TEMPERATURES = (0.05, 20.0)
"""Range in which a temperature is sought."""

BIASES = (-20.0, 20.0)
"""Range in which the bias of a class is sought."""

_SCALES = (1 / TEMPERATURES[1], 1 / TEMPERATURES[0])


def labelled(scores: ArrayLike, targets: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores N×C (logits or probabilities) with N labels, as arrays that fit together.

    Raises:
        LabelError: Shapes that do not fit, or a label without a column.
    """
    values, labels = np.asarray(scores, np.float64), np.asarray(targets, np.int64)
    if values.ndim != 2 or labels.shape != values.shape[:1]:
        raise LabelError(
            f"There are {values.shape} numbers for {labels.shape} targets; give an N×C array and N labels."
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < values.shape[1]:
        raise LabelError(f"Targets run from {labels.min()} to {labels.max()}, but there are {values.shape[1]} classes.")
    return values, labels


class Calibrator(Card, ABC):
    """Turns logits into probabilities; subclasses are frozen dataclasses of plain numbers.

    Attributes:
        method: Name in `CALIBRATORS`.
        temperature: What the logits are divided by, 1 unless that is the method.
    """

    method: ClassVar[str]
    temperature: float = 1.0

    @classmethod
    @abstractmethod
    def fit(cls, logits: ArrayLike, targets: ArrayLike) -> Self:
        """Fit on the logits N×C, before the softmax, and labels N of a validation part, never of the test part.

        Raises:
            LabelError: No image, or shapes that do not fit.
            DataError: Logits that are not finite.
        """

    @abstractmethod
    def apply(self, logits: ArrayLike) -> NDArray[np.float32]:
        """Probabilities, float32 N×C, of logits N×C; a row of NaN stays one."""

    @property
    @abstractmethod
    def num_classes(self) -> int | None:
        """Number of classes that it was fitted for; None where it serves any number."""

    def to_dict(self) -> dict[str, Any]:
        """The method and its numbers as plain JSON types."""
        return {"method": self.method, **super().to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """The inverse of `to_dict`: a calibrator of whichever method.

        Raises:
            UnknownNameError: An unknown method, or a number that it does not have.
            ConfigError: Numbers that are missing or out of bounds.
        """
        kind = CALIBRATORS[check_name("calibration", data.get("method", ""), CALIBRATORS)]
        return super(Calibrator, kind).from_dict({key: value for key, value in data.items() if key != "method"})


@dataclass(frozen=True)
class TemperatureScaling(Calibrator):
    """softmax(logits / T): as sure as its accuracy on the validation part warrants; no label changes.

    Args:
        temperature: T, above 0; above 1 makes the model less sure of itself.

    Raises:
        ConfigError: ``temperature`` is not above 0.

    Source: Guo et al. 2017, arXiv:1706.04599.

    Example:
        >>> logits = [[2.0, 0.0]] * 3 + [[0.0, 2.0]]      # says 88 %, is right 75 % of the time
        >>> fitted = TemperatureScaling.fit(logits, [0, 0, 0, 0])
        >>> round(fitted.temperature, 2), fitted.apply(logits)[0].round(2).tolist()
        (1.82, [0.75, 0.25])
    """

    method: ClassVar[str] = "temperature"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError(f"The temperature is {self.temperature}, but it must be above 0; 1 changes nothing.")

    @classmethod
    def fit(cls, logits: ArrayLike, targets: ArrayLike) -> Self:
        """Find the T, within `TEMPERATURES`, for which the probabilities are most likely to give the targets.

        The negative log-likelihood is convex in 1/T, so that its slope has one zero, which is found by bisection.
        If every image is called rightly there is none, since sharper is always better; a set without errors
        cannot tell how often the model errs, and the answer is 1.
        """
        values, labels = _to_fit(logits, targets)
        values = values - values.max(1, keepdims=True)
        true = values[np.arange(len(labels)), labels]
        if (true == 0).all():
            return cls(1.0)

        def slope(inverse: float) -> float:
            weights = np.exp(values * inverse)
            return float(((weights * values).sum(1) / weights.sum(1) - true).mean())

        low, high = (1 / t for t in reversed(TEMPERATURES))
        for _ in range(60):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if slope(middle) < 0 else (low, middle)
        return cls(float(1 / middle))

    def apply(self, logits: ArrayLike) -> NDArray[np.float32]:
        """See `Calibrator.apply`."""
        return np.asarray(softmax(np.asarray(logits, np.float64) / self.temperature, axis=1), np.float32)

    @property
    def num_classes(self) -> None:
        """Serves any number."""
        return None


@dataclass(frozen=True)
class VectorScaling(Calibrator):
    """softmax(scale · logits + bias), with a scale and a bias for each class.

    Args:
        scale: C numbers, each the inverse of a temperature within `TEMPERATURES`.
        bias: C numbers within `BIASES`.

    Raises:
        ConfigError: Other numbers.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.

    Example:
        >>> VectorScaling([1.0, 1.0], [0.0, 2.0]).apply([[2.0, 0.0]]).tolist()
        [[0.5, 0.5]]
    """

    method: ClassVar[str] = "vector"
    scale: Sequence[float]
    bias: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", numbers("scale", self.scale, *_SCALES))
        object.__setattr__(self, "bias", numbers("bias", self.bias, *BIASES))
        if len(self.scale) != len(self.bias):
            raise ConfigError(f"There are {len(self.scale)} scales and {len(self.bias)} biases; give one each a class.")

    @classmethod
    def fit(cls, logits: ArrayLike, targets: ArrayLike) -> Self:
        """Find the most likely scales and biases, each with a normal prior about the temperature's: 1/T ± 1, 0 ± 1.

        The prior weighs little beside some hundred images, and keeps a class without images, or without a mistake,
        near what the temperature says of it. The problem is strictly convex: there is one answer.
        """
        from scipy.optimize import minimize

        values, labels = _to_fit(logits, targets)
        rows, classes = np.arange(len(labels)), values.shape[1]
        start = np.repeat([1 / TemperatureScaling.fit(values, labels).temperature, 0.0], classes)

        def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            scale, bias = parameters.reshape(2, classes)
            scores = scale * values + bias
            gaps = softmax(scores, axis=1)
            gaps[rows, labels] -= 1
            moved = parameters - start
            value = (logsumexp(scores, axis=1) - scores[rows, labels]).sum() + moved @ moved / 2
            slope = np.concatenate([(gaps * values).sum(0), gaps.sum(0)]) + moved
            return value / len(labels), slope / len(labels)

        bounds = [_SCALES] * classes + [BIASES] * classes
        options = {"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-8}
        found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options)
        scale, bias = found.x.reshape(2, classes).tolist()
        return cls(scale, bias)

    def apply(self, logits: ArrayLike) -> NDArray[np.float32]:
        """See `Calibrator.apply`."""
        scores = np.asarray(logits, np.float64) * np.array(self.scale) + np.array(self.bias)
        return np.asarray(softmax(scores, axis=1), np.float32)

    @property
    def num_classes(self) -> int:
        """Number of scales."""
        return len(self.scale)


@dataclass(frozen=True)
class IsotonicCalibration(Calibrator):
    """A rising curve for each class, from the softmax to how often it is right; then the row is made to sum to 1.

    Args:
        probability: For each class the knots of its curve on the axis of the softmax, rising from 0 to 1.
        share: For each class the height of the curve at its knots, 0 to 1, never falling.

    Raises:
        ConfigError: Curves that are none.

    Source: Zadrozny & Elkan 2002, KDD, 694 (one class against the rest); scikit-learn's ``IsotonicRegression``.

    Example:
        >>> seldom_first = IsotonicCalibration([[0, 1], [0, 1]], [[0, 0.25], [0, 0.75]])
        >>> seldom_first.apply([[0.0, 0.0]]).tolist()
        [[0.25, 0.75]]
    """

    method: ClassVar[str] = "isotonic"
    probability: Sequence[Sequence[float]]
    share: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        for name in ("probability", "share"):
            given = getattr(self, name)
            if not isinstance(given, (list, tuple)):
                raise ConfigError(f"The {name} of the curves is {given!r}; give a list of numbers for each class.")
            object.__setattr__(self, name, tuple(numbers(name, curve, 0, 1) for curve in given))
        if [len(curve) for curve in self.probability] != [len(curve) for curve in self.share]:
            raise ConfigError("Each curve needs as many shares as probabilities; get the numbers as they were fitted.")
        for knots, heights in zip(self.probability, self.share, strict=True):
            rising = all(a < b for a, b in pairwise(knots)) and all(a <= b for a, b in pairwise(heights))
            if not rising or knots[0] != 0 or knots[-1] != 1:
                raise ConfigError("Each curve must rise from probability 0 to 1; get the numbers as they were fitted.")

    @classmethod
    def fit(cls, logits: ArrayLike, targets: ArrayLike) -> Self:
        """Fit the curves by scikit-learn's isotonic regression, one class against the rest.

        The softmax itself counts as one image beside the N fitted on. So no curve claims 0 or 1, no row is zero
        throughout, and images that isotonic regression would make equal keep their order. A class that all or no
        images belong to keeps its softmax.
        """
        from sklearn.isotonic import IsotonicRegression

        values, labels = _to_fit(logits, targets)
        softmaxes, curves = softmax(values, axis=1), []
        for label, column in enumerate(softmaxes.T):
            knots = heights = np.array([0.0, 1.0])
            right = labels == label
            if right.any() and not right.all():
                fitted = IsotonicRegression(y_min=0, y_max=1).fit(column, right)
                inner = np.clip(fitted.X_thresholds_, 0, 1)
                knots = np.unique(np.concatenate([inner, [0, 1]]))
                heights = np.interp(knots, inner, fitted.y_thresholds_)
                heights = (len(labels) * heights + knots) / (len(labels) + 1)
            curves.append((knots.tolist(), heights.tolist()))
        return cls([knots for knots, _ in curves], [heights for _, heights in curves])

    def apply(self, logits: ArrayLike) -> NDArray[np.float32]:
        """See `Calibrator.apply`."""
        softmaxes = softmax(np.asarray(logits, np.float64), axis=1)
        columns = zip(softmaxes.T, self.probability, self.share, strict=True)
        shares = np.stack([np.interp(column, knots, heights) for column, knots, heights in columns], axis=1)
        shares = np.maximum(shares, np.finfo(np.float32).tiny)  # whatever the curves, a row can be divided by its sum
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)

    @property
    def num_classes(self) -> int:
        """Number of curves."""
        return len(self.probability)


CALIBRATORS: dict[str, type[Calibrator]] = {
    kind.method: kind for kind in (TemperatureScaling, VectorScaling, IsotonicCalibration)
}
"""Methods of calibration by name."""


def numbers(name: str, values: Any, low: float, high: float) -> tuple[float, ...]:
    """Numbers that were read from a file, as floats.

    Raises:
        ConfigError: They are no list of finite numbers from ``low`` to ``high``, or none at all.
    """
    if not isinstance(values, (list, tuple)) or not values:
        raise ConfigError(f"{name} is {values!r}; give a list of numbers.")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ConfigError(f"{name} holds {value!r}, but every number must lie between {low:g} and {high:g}.")
    return tuple(float(value) for value in values)


def _to_fit(logits: ArrayLike, targets: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values, labels = labelled(logits, targets)
    if not len(values):
        raise LabelError("There is no image to fit a calibration on; give a validation part.")
    if not np.isfinite(values).all():
        raise DataError("Some logits are not finite; leave out the images that could not be read.")
    return values, labels
