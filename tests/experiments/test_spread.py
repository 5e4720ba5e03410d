from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cellnet.errors import ConfigError
from cellnet.evaluation import Estimate
from cellnet.experiments.spread import corrected_mean, deviation, spread


def test_the_corrected_interval_by_hand() -> None:
    # Mean 0.92; s² = (0.02² + 0 + 0.02²) / 2 = 0.0004; (1/3 + 1/2) · s² = 1/3000; Student's quantile 4.302653 at
    # 2 degrees of freedom, from a table.
    estimate = corrected_mean([0.90, 0.92, 0.94], test_per_train=1 / 2)
    half = 4.302653 * math.sqrt(1 / 3000)
    assert estimate.value == pytest.approx(0.92)
    assert estimate.low == pytest.approx(0.92 - half, abs=1e-7)
    assert estimate.high == pytest.approx(0.92 + half, abs=1e-7)


@pytest.mark.parametrize(("n", "k"), [(2, 2), (5, 5), (10, 10), (50, 10)])
def test_the_corrected_interval_equals_scipys_with_the_corrected_error(n: int, k: int) -> None:
    values = np.random.default_rng(n).uniform(0.6, 0.65, n)
    estimate = corrected_mean(values, 1 / (k - 1))
    error = math.sqrt((1 / n + 1 / (k - 1)) * values.var(ddof=1))
    low, high = stats.t.interval(0.95, n - 1, values.mean(), error)
    assert (estimate.low, estimate.high) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-12)


def test_without_correction_it_is_the_plain_t_interval() -> None:
    values = [0.91, 0.93, 0.95, 0.90]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (corrected_mean(values).low, corrected_mean(values).high) == pytest.approx((low, high), abs=1e-12)


def test_a_share_has_no_interval_beyond_one() -> None:
    estimate = corrected_mean([0.99, 1.0, 0.98], 0.5)
    assert estimate.high == 1


def test_runs_that_do_not_vary_give_no_interval() -> None:
    for estimate, text in ((corrected_mean([1 / 3] * 3), "33.33 % [n/a]"), (deviation([1 / 3] * 3), "0.00 % [n/a]")):
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)
        assert str(estimate) == text


def test_shares_deviate_by_a_half_at_most() -> None:
    assert deviation([0.90, 0.95]).high == 0.5
    most = deviation([0.0, 1.0])
    assert most.value == most.high == pytest.approx(math.sqrt(0.5))  # of two, as n - 1 makes it


def test_the_correction_covers_the_truth_where_the_plain_interval_does_not() -> None:
    """Repeated splits of one sample: the figure is the error of the training mean on the test images."""
    rng = np.random.default_rng(0)
    n, n_test, splits, trials = 60, 15, 10, 400
    # Expected squared error of a mean of n_train standard normal numbers as the prediction of a new one.
    truth = 1 + 1 / (n - n_test)
    covered = {0.0: 0, n_test / (n - n_test): 0}
    for _ in range(trials):
        sample = rng.normal(size=n)
        orders = rng.permuted(np.tile(np.arange(n), (splits, 1)), axis=1)
        test, train = sample[orders[:, :n_test]], sample[orders[:, n_test:]]
        errors = ((test - train.mean(1, keepdims=True)) ** 2).mean(1) / 10  # a tenth, to stay below 1
        for ratio in covered:
            estimate = corrected_mean(errors, ratio)
            covered[ratio] += estimate.low <= truth / 10 <= estimate.high
    plain, corrected = (count / trials for count in covered.values())
    assert plain < 0.8
    assert corrected > 0.9


def test_one_run_has_no_spread() -> None:
    with pytest.raises(ConfigError, match="make at least two"):
        corrected_mean([0.9])
    assert math.isnan(deviation([0.9]).value)


def test_the_deviation_and_its_interval_equal_scipys() -> None:
    values = np.random.default_rng(0).normal(0.9, 0.02, 8)
    estimate = deviation(values)
    s = values.std(ddof=1)
    low, high = (s * math.sqrt(7 / stats.chi2.ppf(q, 7)) for q in (0.975, 0.025))
    assert estimate.value == pytest.approx(s)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert estimate.low < estimate.value < estimate.high


def test_the_ends_of_a_spread_are_runs_with_their_own_intervals() -> None:
    runs = [Estimate(v, v - 0.02, v + 0.01) for v in (0.93, 0.91, 0.95)]
    result = spread(runs, 0.25)
    assert (result.runs, result.lowest, result.highest) == (3, runs[1], runs[2])
    assert result.mean == corrected_mean([0.93, 0.91, 0.95], 0.25)
    assert spread(runs[:1]).mean == runs[0]
