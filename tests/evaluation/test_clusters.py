from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cellnet.evaluation import clusters, metrics
from cellnet.evaluation.clusters import (
    Units,
    effective_number,
    expanded_tails,
    resampled_confusions,
    student,
    wilson_of_groups,
)
from cellnet.evaluation.intervals import bootstrap, from_draws, wilson


def test_groups_become_codes_and_unknown_ones_stand_alone() -> None:
    units = Units.of(["b", None, "a", "b", None, 7], 6)
    assert units.grouped
    same = units.codes[:, None] == units.codes
    assert same.sum() == 6 + 2
    assert same[0, 3]
    assert sorted(set(units.codes.tolist())) == list(range(5))
    assert units.sizes.sum() == 6
    assert Units.of(["b", math.nan, "a", "b", np.float64("nan"), 7], 6).codes.tolist() == units.codes.tolist()


@pytest.mark.parametrize("groups", [None, [None] * 4, ["a", "b", "c", "d"], ["a"] * 4])
def test_images_count_as_independent_where_nothing_tells_how_groups_differ(groups: list | None) -> None:
    units = Units.of(groups, 4)
    assert not units.grouped
    assert units.codes.tolist() == [0, 1, 2, 3]
    assert units.tails == pytest.approx((0.025, 0.975))


def test_very_many_units_are_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "MOST_UNITS", 50)
    units = Units.of(np.repeat(np.arange(200), 3).tolist(), 600)
    assert len(units.sizes) == 50
    assert set(units.sizes.tolist()) == {12}
    for group in range(200):
        assert len(set(units.codes[3 * group : 3 * group + 3].tolist())) == 1
    assert len(Units.of(None, 600).sizes) == 50


def test_sums_and_confusions_by_unit() -> None:
    units = Units.of(["a", "b", "a", "a"], 4)
    np.testing.assert_array_equal(units.sums([1.0, 10.0, 2.0, 3.0]), [6, 10])
    np.testing.assert_array_equal(units.sums([[1, 0], [10, 5], [2, 0], [3, 1]]), [[6, 1], [10, 5]])
    tables = units.confusions([0, 1, 1, 1], [0, 1, 0, 1], 2)
    np.testing.assert_array_equal(tables, [[[1, 0], [1, 1]], [[0, 0], [0, 1]]])


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (20, 20), (17, 20), (1, 3)])
def test_a_share_of_images_in_groups_of_one_is_wilsons_but_for_students_t(hits: int, n: int) -> None:
    successes = np.repeat([1, 0], [hits, n - hits])
    factor = n / (n - 1)
    share = (hits + 0.5) / (n + 1)
    between = (hits * (1 - share) ** 2 + (n - hits) * share**2) * factor
    worth = min(n, share * (1 - share) * n * (n + 1) / (between + ((1 - share) ** 2 + share**2) / 2)) * student(n)
    assert effective_number(successes, np.ones(n)) == pytest.approx(worth)
    assert worth == pytest.approx(n * student(n), rel=2 / n)
    ours, plain = wilson_of_groups(successes, np.ones(n)), wilson(hits, n)
    assert ours.value == plain.value
    assert ours.low <= plain.low
    assert ours.high >= plain.high


def test_groups_that_are_all_right_or_all_wrong_count_as_one_image_each() -> None:
    successes, sizes = np.repeat([50, 0], [45, 5]), np.full(50, 50)
    assert effective_number(successes, sizes) / student(50) == pytest.approx(50, rel=0.03)


def test_images_that_ignore_their_groups_count_in_full() -> None:
    rng = np.random.default_rng(0)
    worth = [effective_number(rng.binomial(20, 0.9, 200), np.full(200, 20)) for _ in range(20)]
    assert np.mean(worth) == pytest.approx(4000, rel=0.1)
    assert max(worth) <= 4000


def test_without_a_mistake_nothing_tells_that_groups_differ() -> None:
    perfect, nearly = (wilson_of_groups([10] * 29 + [last], [10] * 30) for last in (10, 9))
    assert perfect.value == perfect.high == 1
    assert nearly.low < perfect.low < nearly.value  # one mistake more, and the end moves but does not jump


def test_no_image_has_no_share() -> None:
    assert math.isnan(wilson_of_groups([0, 0], [0, 0]).value)


def test_wilson_with_the_shrunk_number_is_wilson_with_students_quantile() -> None:
    n, hits, groups = 200, 180, 8
    t, p = stats.t.ppf(0.975, groups - 1), hits / n
    low, high = (
        (p + t * t / (2 * n) + sign * t * math.sqrt(p * (1 - p) / n + t * t / (4 * n * n))) / (1 + t * t / n)
        for sign in (-1, 1)
    )
    worth = n * student(groups)
    estimate = wilson(p * worth, worth)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))


def test_expanded_tails_of_a_mean_are_students() -> None:
    # A normal percentile interval has the half-width z(tail) · s·sqrt((n-1)/n) / sqrt(n); Student's is t · s / sqrt(n).
    for groups in (3, 10, 100):
        tail, upper = expanded_tails(groups)
        assert upper == 1 - tail
        half = -stats.norm.ppf(tail) * math.sqrt((groups - 1) / groups)
        assert half == pytest.approx(stats.t.ppf(0.975, groups - 1))


def test_resampling_groups_agrees_with_a_loop_over_them() -> None:
    rng = np.random.default_rng(0)
    rates = rng.beta(18, 2, 60)
    tables = np.zeros((60, 2, 2))
    for group, rate in enumerate(rates):
        right = rng.binomial([20, 10], rate)
        tables[group] = [[right[0], 20 - right[0]], [10 - right[1], right[1]]]
    total = tables.sum(0)
    naive = [float(metrics.macro_f1(tables[rng.integers(0, 60, 60)].sum(0))) for _ in range(3000)]
    drawn = metrics.macro_f1(resampled_confusions(tables))
    assert drawn.std() == pytest.approx(np.std(naive), rel=0.06)
    estimate = from_draws(float(metrics.macro_f1(total)), drawn)
    alone = bootstrap(total, metrics.macro_f1)
    assert estimate.high - estimate.low > 1.2 * (alone.high - alone.low)


def test_groups_of_one_image_are_resampled_as_images_are() -> None:
    confusion = np.array([[30, 2], [3, 25]])
    cells = np.repeat(np.arange(4), confusion.ravel())
    drawn = metrics.kappa(resampled_confusions(np.eye(4)[cells].reshape(-1, 2, 2), draws=4000))
    alone = bootstrap(confusion, metrics.kappa, draws=4000)
    ends = np.quantile(drawn, [0.025, 0.975])
    assert tuple(ends) == pytest.approx((alone.low, alone.high), abs=0.02)
