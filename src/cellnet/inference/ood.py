"""How strange an image is to a model, and when the model should abstain.

The score is the distance of the image's features from those of the training images, where the model knows it
(`cellnet.models.probes.Familiarity`); without that the energy of Liu et al., *Energy-based Out-of-distribution
Detection*, NeurIPS 2020 (arXiv 2010.03759), which needs nothing but the logits and tells less.

Limits, to be read before relying on it: the thresholds come from validation images of the laboratory that
the model was trained on. They say "unlike those images", not "ill" or "wrong". On other laboratories' images most may
be strange, and a confident mistake on a familiar-looking image passes unseen.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from cellnet.errors import DataError
from cellnet.models.calibrators import Calibrator, TemperatureScaling

ACCURACY_GOAL = 0.995
"""Accuracy that the accepted validation images must reach."""

ENERGY_PERCENTILE = 99.5
"""Share of validation images, in percent, whose energy counts as familiar."""

DISTANCE_PERCENTILE = 98.5
"""The same for distances, which tell strange images better than energies do: a few more false alarms buy much."""

NEVER_ACCEPT = 1.01
"""Threshold above every probability: no confidence was enough on the validation images."""


def softmax(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities, float32 N×C, of logits N×C divided by ``temperature``.

    A row of NaN stays a row of NaN.

    Raises:
        ConfigError: ``temperature`` is not above 0.

    Example:
        >>> softmax([[0.0, 0.0]]).tolist()
        [[0.5, 0.5]]
    """
    return TemperatureScaling(temperature).apply(logits)


def energy_score(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float32]:
    """Energy ``-T·logsumexp(logits/T)`` of each row of logits N×C; higher = stranger; NaN stays NaN.

    Raises:
        ConfigError: ``temperature`` is not above 0.

    Example:
        >>> energy_score([[0.0, 10.0], [0.0, 0.0]]).round(2).tolist()
        [-10.0, -0.6899999976158142]
    """
    scaled = np.asarray(logits, np.float64) / TemperatureScaling(temperature).temperature
    return np.asarray(-temperature * logsumexp(scaled, axis=1), np.float32)


def fit_thresholds(
    logits: ArrayLike,
    targets: ArrayLike,
    calibrator: Calibrator | None = None,
    distances: ArrayLike | None = None,
) -> dict[str, float]:
    """Choose when to abstain, on the logits N×C and labels N of a validation part (never of the test part).

    The first is the accuracy on these images, not a promise for others: `RiskControl` gives one, at the price of
    a few hundred images.

    Args:
        logits: N×C.
        targets: N true labels.
        calibrator: What turns logits into probabilities; default: the softmax.
        distances: N distances from the training images, where the model knows them.

    Returns:
        ``"probability"``: the lowest confidence such that the images at or above it are classified with an
        accuracy of 99.5 % or more; 0 when all images together are; above 1 when no confidence is enough.
        And ``"distance"``: the 98.5th percentile of the distances; or ``"energy"``: the 99.5th of the energies.

    Raises:
        DataError: No image, lengths that differ, or a row of NaN (an unreadable image: leave it out).
    """
    scores, labels = np.asarray(logits, np.float32), np.asarray(targets, np.int64)
    if scores.ndim != 2 or len(scores) == 0 or labels.shape != scores.shape[:1]:
        raise DataError(
            f"Thresholds need logits N×C and N labels of at least one image, not {scores.shape} and "
            f"{labels.shape}; give those of the validation part."
        )
    if not np.isfinite(scores).all():
        raise DataError("Some logits are not finite; leave out the images that could not be read.")
    calibrator = calibrator or TemperatureScaling()
    thresholds = {"probability": _lowest_confidence(calibrator.apply(scores), labels)}
    if distances is not None:
        return thresholds | {"distance": float(np.percentile(np.asarray(distances, np.float64), DISTANCE_PERCENTILE))}
    energy = np.percentile(energy_score(scores, calibrator.temperature), ENERGY_PERCENTILE)
    return thresholds | {"energy": float(energy)}


def familiar_up_to(thresholds: Mapping[str, float]) -> np.float32:
    """The largest score of strangeness, distance or energy, that is no reason to abstain."""
    return np.float32(thresholds.get("distance", thresholds.get("energy", np.inf)))


def abstain(probabilities: ArrayLike, ood: ArrayLike, thresholds: Mapping[str, float]) -> NDArray[np.bool_]:
    """Which of N images the model should leave to a human.

    Args:
        probabilities: N×C; a row of NaN is an unreadable image, and always abstained from.
        ood: N energies, or distances where ``thresholds`` has one of these.
        thresholds: What `fit_thresholds` returned; without a threshold its score plays no part.
    """
    values = np.asarray(probabilities, np.float32)
    unreadable = np.isnan(values).any(axis=1)
    unsure = values.max(axis=1) < thresholds.get("probability", 0.0)
    strange = np.asarray(ood, np.float32) > familiar_up_to(thresholds)
    return np.asarray(unreadable | unsure | strange)


def _lowest_confidence(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    confidence = confidence[order]
    right = (probabilities.argmax(axis=1) == labels)[order]
    accuracy = np.cumsum(right) / np.arange(1, len(right) + 1)
    # Images of equal confidence are accepted together: only the last of them is a possible cut.
    last_of_equals = np.append(confidence[1:] < confidence[:-1], True)
    cuts = np.flatnonzero(last_of_equals & (accuracy >= ACCURACY_GOAL))
    if len(cuts) == 0:
        return NEVER_ACCEPT
    return 0.0 if cuts[-1] == len(right) - 1 else float(confidence[cuts[-1]])
