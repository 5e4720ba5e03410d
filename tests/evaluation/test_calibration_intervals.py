from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from cellnet.errors import LabelError
from cellnet.evaluation import calibration
from cellnet.evaluation.calibration_intervals import (
    classwise_calibration_errors,
    estimate_calibration_error,
    estimate_classwise_errors,
    estimate_loss,
    typical_outcomes,
)
from cellnet.evaluation.clusters import Units


def case(n: int = 600, classes: int = 4, seed: int = 0, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets drawn from their softmax, then made too sharp by a factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (n, classes))
    targets = (logits + rng.gumbel(size=logits.shape)).argmax(1)  # a draw from the softmax
    return logits * sharpness, targets


def test_the_error_of_honest_probabilities_may_be_zero() -> None:
    logits, targets = case(400)
    estimate = estimate_calibration_error(softmax(logits, 1), targets)
    assert estimate.value == pytest.approx(calibration.expected_calibration_error(softmax(logits, 1), targets))
    assert estimate.low == 0 < estimate.value < estimate.high


def test_the_error_of_exaggerated_probabilities_is_not_zero() -> None:
    logits, targets = case(1000, sharpness=3)
    estimate = estimate_calibration_error(softmax(logits, 1), targets)
    many, their_targets = case(50_000, seed=9, sharpness=3)
    truth = calibration.expected_calibration_error(softmax(many, 1), their_targets)
    assert 0 < estimate.low < truth < estimate.high


def test_no_mistake_among_few_images_leaves_room_for_some() -> None:
    probabilities, targets = np.tile([0.9999, 0.0001], (40, 1)), np.zeros(40, int)
    assert estimate_calibration_error(probabilities, targets).high > 0.03
    assert estimate_loss(calibration.brier_scores, probabilities, targets).high > 0.05
    assert estimate_loss(calibration.negative_log_likelihoods, probabilities, targets).high > 0.2


def test_a_schema_of_one_class() -> None:
    probabilities = np.ones((3, 1))
    assert estimate_calibration_error(probabilities, [0, 0, 0]).value == 0
    assert estimate_loss(calibration.brier_scores, probabilities, [0, 0, 0]).high == 0


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_classwise_errors_equal_a_naive_loop(bins: int) -> None:
    logits, targets = case(300, 5, sharpness=2)
    targets[targets == 3] = 0  # an absent class
    probabilities = softmax(logits, 1)
    ours = classwise_calibration_errors(probabilities, targets, bins=bins)
    for label in range(5):
        expected = 0.0
        for b in range(bins):
            p = probabilities[:, label]
            inside = (p > b / bins) & (p <= (b + 1) / bins)
            if inside.any():
                expected += inside.mean() * abs(p[inside].mean() - (targets[inside] == label).mean())
        assert np.isnan(ours[label]) if label == 3 else ours[label] == pytest.approx(expected, abs=1e-12)


def test_the_mean_of_the_classes_leaves_out_those_that_are_absent() -> None:
    logits, targets = case(300, 5)
    targets[targets == 3] = 0
    each, mean = estimate_classwise_errors(softmax(logits, 1), targets)
    values = [estimate.value for estimate in each]
    assert values == pytest.approx(classwise_calibration_errors(softmax(logits, 1), targets).tolist(), nan_ok=True)
    assert mean.value == pytest.approx(np.nanmean(values))
    assert all(e.low <= e.value <= e.high for e in (*each, mean) if not np.isnan(e.value))


def test_two_classes_have_the_same_error_as_each_other() -> None:
    logits, targets = case(400, 2, sharpness=3)
    each, mean = estimate_classwise_errors(softmax(logits, 1), targets)
    assert each[0].value == pytest.approx(each[1].value, abs=1e-3)  # bins are open on one side
    assert mean.low > 0


def test_made_up_images_are_as_sure_as_the_real_ones() -> None:
    probabilities, true = typical_outcomes([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1]], [0, 2])
    assert true.tolist() == [0, 0, 2, 2]
    assert probabilities.argmax(1).tolist() == [0, 2, 2, 1]
    np.testing.assert_allclose(probabilities.max(1), 0.85)
    np.testing.assert_allclose(probabilities.sum(1), 1)


def test_grouped_images_have_wider_intervals() -> None:
    logits, targets = case(400, sharpness=2)
    probabilities = softmax(logits, 1)
    copies, their_targets = np.repeat(probabilities, 5, 0), np.repeat(targets, 5)
    units = Units.of(np.repeat(np.arange(400), 5).tolist(), 2000)
    single = estimate_loss(calibration.brier_scores, probabilities, targets)
    naive = estimate_loss(calibration.brier_scores, copies, their_targets)
    grouped = estimate_loss(calibration.brier_scores, copies, their_targets, units)
    assert naive.value == pytest.approx(grouped.value) == single.value
    # Five copies of an image say no more than the image.
    assert grouped.high - grouped.low == pytest.approx(single.high - single.low, rel=0.1)
    assert naive.high - naive.low < 0.6 * (grouped.high - grouped.low)
    ece = [estimate_calibration_error(copies, their_targets, u) for u in (None, units)]
    assert ece[0].high < ece[1].high


def test_targets_without_a_column_are_refused() -> None:
    with pytest.raises(LabelError, match="2 classes"):
        classwise_calibration_errors([[0.5, 0.5]], [2])
