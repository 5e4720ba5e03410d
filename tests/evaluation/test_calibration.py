from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from cellnet.errors import LabelError
from cellnet.evaluation import calibration


def case(n: int = 600, classes: int = 4, seed: int = 0, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets drawn from their softmax, then made too sharp by a factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (n, classes))
    targets = (logits + rng.gumbel(size=logits.shape)).argmax(1)  # a draw from the softmax
    return logits * sharpness, targets


def test_negative_log_likelihood_equals_scikit_learns() -> None:
    logits, targets = case()
    probabilities = softmax(logits, 1)
    ours = calibration.negative_log_likelihoods(probabilities, targets).mean()
    assert ours == pytest.approx(log_loss(targets, probabilities, labels=range(4)), abs=1e-12)


def test_a_probability_of_zero_is_not_infinitely_bad() -> None:
    assert calibration.negative_log_likelihoods([[1.0, 0.0]], [1])[0] == pytest.approx(15.94, abs=0.01)


def test_brier_score_is_the_squared_distance_to_the_one_hot_target() -> None:
    logits, targets = case()
    probabilities = softmax(logits, 1)
    expected = ((probabilities - np.eye(4)[targets]) ** 2).sum(1)
    np.testing.assert_allclose(calibration.brier_scores(probabilities, targets), expected, atol=1e-12)


def test_calibration_error_worked_by_hand() -> None:
    # Bin (0.4, 0.6]: two images, sure to 0.5 and 0.6, one right. Bin (0.8, 1]: one of 0.9, wrong.
    probabilities = [[0.5, 0.3, 0.2], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0]]
    expected = 2 / 3 * abs(0.55 - 0.5) + 1 / 3 * 0.9
    assert calibration.expected_calibration_error(probabilities, [0, 1, 0], bins=5) == pytest.approx(expected)
    bins = calibration.reliability_bins(probabilities, [0, 1, 0], bins=5)
    assert [b.n for b in bins] == [0, 0, 2, 0, 1]
    assert bins[2].confidence == pytest.approx(0.55)
    assert bins[2].accuracy == 0.5
    assert np.isnan(bins[0].accuracy)


def test_edges_of_bins_belong_to_the_lower_bin() -> None:
    assert calibration.bin_of(np.array([0.0, 0.2, 0.2001, 1.0]), 5).tolist() == [0, 0, 1, 4]


def test_no_image_has_no_calibration_error() -> None:
    assert np.isnan(calibration.expected_calibration_error(np.empty((0, 3)), []))


@pytest.mark.parametrize(
    ("probabilities", "targets", "message"),
    [([[1.0, 2.0]], [0, 1], "N×C"), ([1.0, 2.0], [0, 1], "N×C"), ([[1.0, 2.0]], [2], "2 classes")],
)
def test_inputs_that_do_not_fit_are_refused(probabilities, targets, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        calibration.brier_scores(probabilities, targets)
