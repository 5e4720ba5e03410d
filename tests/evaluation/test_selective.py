from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from cellnet.errors import LabelError
from cellnet.evaluation.intervals import wilson
from cellnet.evaluation.selective import estimate_area, risk_coverage


def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, 4))
    return softmax(logits, 1), (logits + rng.gumbel(size=logits.shape)).argmax(1)


def naive_area(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """The mean risk over all numbers of accepted images, over many orders of equal images."""
    rng, areas = np.random.default_rng(0), []
    for _ in range(2000):
        order = np.lexsort((rng.random(len(targets)), -probabilities.max(1)))
        wrong = (probabilities.argmax(1) != targets)[order]
        areas.append(np.mean([wrong[:m].mean() for m in range(1, len(wrong) + 1)]))
    return float(np.mean(areas))


def test_every_point_is_a_count() -> None:
    probabilities, targets = draw(57, 0)
    points = risk_coverage(probabilities, targets)
    assert len(points) == 57
    for point in points:
        accepted = probabilities.max(1) >= point.probability
        assert point.coverage == accepted.mean()
        assert point.risk == wilson(int((probabilities.argmax(1) != targets)[accepted].sum()), int(accepted.sum()))
    assert points[-1].coverage == 1


def test_many_images_are_thinned_evenly() -> None:
    points = risk_coverage(*draw(5000, 1), points=50)
    np.testing.assert_allclose([point.coverage for point in points], np.linspace(0.02, 1, 50), atol=1e-3)


def test_images_of_equal_probability_come_together() -> None:
    table = [[0.9, 0.1]] * 3 + [[0.6, 0.4]] * 2
    points = risk_coverage(table, [0, 0, 1, 0, 1])
    assert [(point.coverage, point.risk.value) for point in points] == [(0.6, 1 / 3), (1.0, 0.4)]


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_is_the_mean_risk(ties: bool) -> None:
    probabilities, targets = draw(30, 2)
    if ties:
        probabilities = np.round(probabilities * 4) / 4
    estimate = estimate_area(probabilities, targets)
    assert estimate.value == pytest.approx(naive_area(probabilities, targets), abs=5e-3 if ties else 1e-12)
    assert 0 <= estimate.low < estimate.value < estimate.high <= 1


def test_the_interval_of_the_area_covers_it() -> None:
    truth = estimate_area(*draw(200_000, 0), draws=2).value
    estimates = [estimate_area(*draw(200, seed), draws=300) for seed in range(1, 201)]
    covered = np.mean([e.low <= truth <= e.high for e in estimates])
    assert 0.91 <= covered <= 0.99


def test_many_images_have_the_interval_of_single_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    grouped = estimate_area(*draw(6000, 3))
    monkeypatch.setattr("cellnet.evaluation.selective.GROUPS", 6000)
    single = estimate_area(*draw(6000, 3))
    assert grouped.value == single.value
    assert (grouped.low, grouped.high) == pytest.approx((single.low, single.high), rel=0.03)


def test_no_mistake_leaves_room_for_some() -> None:
    estimate = estimate_area([[0.9, 0.1]] * 40, [0] * 40)
    assert estimate.value == estimate.low == 0
    assert 0.01 < estimate.high < 0.2


@pytest.mark.parametrize("target", [0, 1])
def test_a_single_image(target: int) -> None:
    assert estimate_area([[0.9, 0.1]], [target]).value == target
    [point] = risk_coverage([[0.9, 0.1]], [target])
    assert (point.coverage, point.risk.value) == (1, target)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(LabelError, match="N×C"):
        risk_coverage([[0.9, 0.1]], [0, 1])
