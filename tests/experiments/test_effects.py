"""The effect of a change: its interval against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

from cellnet.errors import DataError
from cellnet.experiments.effects import effect


def test_the_figures_by_hand() -> None:
    base = [[1, 1, 0, 0], [1, 0, 0, 0]]
    other = [[1, 1, 1, 0], [1, 1, 1, 0]]
    found = effect("ema=0", other, base)
    assert (found.recipe, found.seeds, found.accuracy) == ("ema=0", 2, 0.75)
    assert (found.difference.value, found.lowest, found.highest) == (0.375, 0.25, 0.5)
    assert found.difference.low <= 0.375 <= found.difference.high


@pytest.mark.parametrize("seeds", [1, 3])
def test_no_difference_has_an_interval_of_honest_width(seeds: int) -> None:
    same = np.random.default_rng(0).random((seeds, 50)) < 0.9
    found = effect("", same, same).difference
    assert found.value == 0
    assert found.low == pytest.approx(-found.high, abs=0.02)
    assert 0.02 < found.high < 0.06
    assert effect("", ~same & False, same | True).difference.low == pytest.approx(-1)
    assert effect("", ~same & False, same | True).difference.high > -0.98


def test_the_interval_is_that_of_paired_images_for_one_seed() -> None:
    rng = np.random.default_rng(1)
    base, other = rng.random((1, 4000)) < 0.9, rng.random((1, 4000)) < 0.92
    found = effect("", other, base).difference
    d = (other.astype(float) - base)[0]
    half = 1.96 * d.std() / np.sqrt(d.size)
    assert (found.low, found.high) == pytest.approx((d.mean() - half, d.mean() + half), abs=0.0015)


def test_the_interval_covers_the_truth_where_seeds_differ_too() -> None:
    rng, hits = np.random.default_rng(2), 0
    for trial in range(60):
        seed_effects = 0.02 + 0.01 * rng.standard_normal((8, 1))
        base = rng.random((8, 500)) < 0.9
        other = rng.random((8, 500)) < 0.9 + seed_effects
        found = effect("", other, base, seed=trial).difference
        hits += found.low <= 0.02 <= found.high
    assert hits >= 54


def test_answers_on_other_images_are_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(2, 3\) and \(2, 4\) cannot be compared; give seeds × images of both"):
        effect("", np.ones((2, 3)), np.ones((2, 4)))
