from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from cellnet.evaluation import intervals, metrics
from cellnet.evaluation.intervals import (
    NOT_AVAILABLE,
    Estimate,
    bootstrap,
    bootstrap_mean,
    f1_of,
    multinomial_bootstrap,
    resample,
    resampled_means,
    wilson,
)


def confusion_of(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    targets = rng.choice(4, n, p=[0.1, 0.2, 0.3, 0.4])
    predicted = np.where(rng.random(n) < 0.85, targets, rng.integers(0, 4, n))
    return metrics.confusion_matrix(targets, predicted, 4)


@pytest.mark.parametrize(("k", "n"), [(0, 7), (1, 1), (3, 10), (40, 40), (5052, 5128), (2541, 2562)])
def test_wilson_equals_scipys(k: int, n: int) -> None:
    ours, theirs = wilson(k, n), stats.binomtest(k, n).proportion_ci(method="wilson")
    assert ours.value == k / n
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_solves_its_defining_equation() -> None:
    # The ends are the shares p for which the observed share lies exactly 1.96 standard errors away.
    estimate, z = wilson(17, 23), stats.norm.ppf(0.975)
    for p in (estimate.low, estimate.high):
        assert abs(17 / 23 - p) == pytest.approx(z * math.sqrt(p * (1 - p) / 23), abs=1e-12)


def test_wilson_agrees_with_the_studys_figure() -> None:
    assert str(wilson(5052, 5128)) == "98.52 % [98.15–98.81]"


def test_formats() -> None:
    estimate = Estimate(0.98514, 0.9815, 0.9881)
    assert str(estimate) == f"{estimate}" == "98.51 % [98.15–98.81]"
    assert f"{estimate:.1%}" == "98.5 % [98.2–98.8]"
    assert f"{estimate:.2f}" == "0.99 [0.98–0.99]"
    assert str(NOT_AVAILABLE) == "n/a"
    assert str(wilson(0, 0)) == "n/a"
    assert estimate.to_dict() == {"value": 0.98514, "low": 0.9815, "high": 0.9881}


def test_f1_of_a_class_and_its_interval() -> None:
    targets, predicted = np.repeat([1, 1, 0, 0], [30, 5, 8, 57]), np.repeat([1, 0, 1, 0], [30, 5, 8, 57])
    estimate = f1_of(wilson(30, 35 + 38 - 30))
    assert estimate.value == pytest.approx(f1_score(targets, predicted), abs=1e-12)
    rng = np.random.default_rng(0)
    draws = (rng.integers(0, 100, 100) for _ in range(4000))
    naive = [2 * (targets[r] & predicted[r]).sum() / (targets[r].sum() + predicted[r].sum()) for r in draws]
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])), abs=0.03)


def test_f1_without_hits_or_mistakes() -> None:
    assert (f1_of(wilson(0, 10)).value, f1_of(wilson(0, 10)).low) == (0, 0)
    perfect = f1_of(wilson(5, 5))
    assert perfect.value == perfect.high == 1
    assert 0.6 < perfect.low < 0.8


@pytest.mark.parametrize("function", [metrics.macro_f1, metrics.kappa, metrics.mcc, metrics.balanced_accuracy])
def test_bootstrap_agrees_with_resampling_images(function) -> None:
    confusion = confusion_of(1500)
    cells = np.repeat(np.arange(16), confusion.ravel())
    rng = np.random.default_rng(1)
    naive = [
        float(function(np.bincount(rng.choice(cells, len(cells)), minlength=16).reshape(4, 4))) for _ in range(2000)
    ]
    estimate = bootstrap(confusion, function)
    assert estimate.value == float(function(confusion))
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])), abs=0.004)


def test_bootstrap_of_the_accuracy_is_the_jeffreys_interval() -> None:
    confusion = np.array([[20, 2], [1, 7]])
    estimate = bootstrap(confusion, metrics.accuracy, draws=100_000)
    low, high = stats.beta(27.5, 3.5).ppf([0.025, 0.975])
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.003)


def test_a_perfect_score_has_an_interval() -> None:
    estimate = bootstrap(5 * np.eye(8, dtype=int), metrics.macro_f1)
    assert estimate.value == estimate.high == 1
    assert 0.9 < estimate.low < 0.97


def test_bootstrap_covers_the_truth_where_resampling_does_not() -> None:
    rng = np.random.default_rng(3)
    truth = np.where(np.eye(4, dtype=bool), 0.985 / 4, 0.015 / 12)
    value, covered, trials = float(metrics.macro_f1(truth)), 0, 300
    for _ in range(trials):
        estimate = bootstrap(rng.multinomial(60, truth.ravel()).reshape(4, 4), metrics.macro_f1, draws=300)
        covered += estimate.low <= value <= estimate.high
    assert covered / trials > 0.9


def test_bootstrap_is_seeded_and_keeps_absent_classes_absent() -> None:
    confusion = np.array([[9, 1, 0], [0, 5, 1], [0, 0, 0]])
    assert bootstrap(confusion, metrics.macro_f1) == bootstrap(confusion, metrics.macro_f1)
    assert bootstrap(confusion, metrics.macro_f1) != bootstrap(confusion, metrics.macro_f1, seed=1)
    assert bootstrap(confusion, metrics.macro_recall).value == pytest.approx((0.9 + 5 / 6) / 2)
    assert bootstrap(np.zeros((2, 2)), metrics.macro_f1) is NOT_AVAILABLE


@pytest.mark.parametrize("function", [metrics.macro_f1, metrics.accuracy])
def test_the_multinomial_bootstrap_has_the_law_of_resampled_images(function) -> None:
    confusion = confusion_of(80)
    cells = np.repeat(np.arange(16), confusion.ravel())
    rng = np.random.default_rng(1)
    naive = [float(function(np.bincount(rng.choice(cells, 80), minlength=16).reshape(4, 4))) for _ in range(5000)]
    seen: list[np.ndarray] = []

    def watched(matrices: np.ndarray) -> np.ndarray:
        values = function(matrices)
        if values.ndim:
            seen.append(values)
            assert (matrices.sum((1, 2)) == 80).all()
        return values

    estimate = multinomial_bootstrap(confusion, watched, draws=5000)
    assert stats.ks_2samp(naive, seen[0]).pvalue > 0.001
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])), abs=0.02)


def test_the_multinomial_bootstrap_of_no_mistake_and_of_no_image() -> None:
    assert multinomial_bootstrap(5 * np.eye(3, dtype=int), metrics.macro_f1) == Estimate(1, 1, 1)
    assert multinomial_bootstrap(np.zeros((2, 2), int), metrics.macro_f1) is NOT_AVAILABLE


def test_things_of_one_pattern_weigh_as_much_as_one_by_one() -> None:
    patterns = np.array([[1.0, 0.0], [2.0, 5.0], [0.0, 1.0]])
    counts = np.array([4, 1, 30])
    together = resample(patterns, counts, draws=20_000, seed=0)
    apart = resample(np.repeat(patterns, counts, 0), np.ones(35), draws=20_000, seed=1)
    for column in range(2):
        assert stats.ks_2samp(together[:, column], apart[:, column]).pvalue > 0.001


def test_draws_in_blocks_are_as_many_as_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_AT_ONCE", 7)
    assert resample(np.ones((3, 2)), np.ones(3), draws=5, seed=0).shape == (5, 2)


def test_means_over_units_weigh_their_images() -> None:
    means = resampled_means([[6.0], [1.0]], [[2.0]], sizes=[3, 1])
    assert means.min() >= 1
    assert means.max() <= 2
    estimate = bootstrap_mean([6.0, 1.0], [2.0], sizes=[3, 1])
    assert estimate.value == 7 / 4


def test_one_class_only() -> None:
    assert bootstrap([[7]], metrics.accuracy).value == 1


def test_mean_agrees_with_resampling_images() -> None:
    rng = np.random.default_rng(0)
    losses = rng.gamma(0.5, 0.2, 2000)
    naive = np.quantile([rng.choice(losses, 2000).mean() for _ in range(2000)], [0.025, 0.975])
    estimate = bootstrap_mean(losses, prior=[0.0, 1.0])
    assert estimate.value == pytest.approx(losses.mean())
    assert (estimate.low, estimate.high) == pytest.approx(tuple(naive), abs=0.002)


def test_resampled_means_have_one_row_a_draw() -> None:
    means = resampled_means(np.ones((5, 2)), np.ones((2, 2)), draws=7)
    assert means.shape == (7, 2)
    np.testing.assert_allclose(means, 1)
