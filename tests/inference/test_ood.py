from __future__ import annotations

import numpy as np
import pytest
import torch

from cellnet.errors import ConfigError, DataError
from cellnet.inference import abstain, energy_score, fit_thresholds, softmax
from cellnet.models import TemperatureScaling

LOGITS = np.random.default_rng(0).normal(scale=5, size=(50, 4)).astype(np.float32)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.3])
def test_softmax_and_energy_agree_with_torch(temperature: float) -> None:
    scaled = torch.from_numpy(LOGITS).double() / temperature
    np.testing.assert_allclose(softmax(LOGITS, temperature), scaled.softmax(1), atol=1e-7)
    np.testing.assert_allclose(energy_score(LOGITS, temperature), -temperature * scaled.logsumexp(1), rtol=1e-6)
    assert softmax(LOGITS).dtype == energy_score(LOGITS).dtype == np.float32


def test_scores_stand_huge_logits_and_keep_nan_rows() -> None:
    logits = [[1e4, -1e4], [np.nan, np.nan]]
    assert softmax(logits)[0].tolist() == [1.0, 0.0]
    assert energy_score(logits)[0] == -1e4
    assert np.isnan(softmax(logits)[1]).all()
    assert np.isnan(energy_score(logits)[1])


def test_scores_of_no_rows() -> None:
    assert softmax(np.empty((0, 3))).shape == (0, 3)
    assert energy_score(np.empty((0, 3))).shape == (0,)


def test_temperature_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        softmax(LOGITS, 0)


def test_a_flat_answer_is_stranger_than_a_peaked_one() -> None:
    flat, peaked = energy_score([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]])
    assert flat > peaked


def logits_of(confidences: list[float]) -> np.ndarray:
    """Two classes; the first has the given probability."""
    p = np.array(confidences)
    return np.stack([np.log(p), np.log(1 - p)], axis=1)


def test_probability_threshold_is_the_lowest_confidence_that_reaches_the_goal() -> None:
    # Sure ones right, one wrong at 0.7, one right at 0.6: above 0.7 everything is right.
    logits = logits_of([0.99, 0.95, 0.9, 0.7, 0.6])
    thresholds = fit_thresholds(logits, [0, 0, 0, 1, 0])
    assert thresholds["probability"] == pytest.approx(0.9, abs=1e-6)
    rows = softmax(logits)
    assert abstain(rows, energy_score(logits), {"probability": thresholds["probability"]}).tolist() == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_one_mistake_in_two_hundred_is_tolerated() -> None:
    confidence = np.linspace(0.6, 0.99, 200).tolist()
    targets = np.zeros(200, int)
    targets[0] = 1  # the least confident one: 199/200 = 99.5 %
    assert fit_thresholds(logits_of(confidence), targets)["probability"] == 0.0
    targets[1] = 1
    assert 0.6 < fit_thresholds(logits_of(confidence), targets)["probability"] < 0.61


def test_images_of_equal_confidence_are_accepted_together() -> None:
    logits = logits_of([0.99, 0.8, 0.8])
    assert fit_thresholds(logits, [0, 0, 1])["probability"] == pytest.approx(0.99, abs=1e-6)


def test_a_hopeless_model_abstains_always() -> None:
    logits = logits_of([0.99, 0.8])
    thresholds = fit_thresholds(logits, [1, 1])
    assert abstain(softmax(logits), energy_score(logits), thresholds).all()


def test_energy_threshold_is_the_percentile() -> None:
    energy = fit_thresholds(LOGITS, LOGITS.argmax(1), TemperatureScaling(1.5))["energy"]
    assert energy == pytest.approx(np.percentile(energy_score(LOGITS, 1.5), 99.5))


def test_abstain() -> None:
    probabilities = [[0.9, 0.1], [0.6, 0.4], [0.9, 0.1], [np.nan, np.nan]]
    ood = [-9.0, -9.0, -1.0, np.nan]
    assert abstain(probabilities, ood, {}).tolist() == [False, False, False, True]
    assert abstain(probabilities, ood, {"probability": 0.7, "energy": -2.0}).tolist() == [
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("logits", "targets", "words"),
    [
        (np.empty((0, 2)), [], "at least one"),
        ([[0.0, 1.0]], [0, 1], "at least one"),
        ([[np.nan, np.nan]], [0], "not finite"),
    ],
)
def test_fit_thresholds_refuses(logits: object, targets: list[int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        fit_thresholds(logits, targets)  # type: ignore[arg-type]
