"""`cellnet.augment.draws`: numbers from torch's global generator, and what is no number or range."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cellnet.augment.draws import check_numbers, check_range, happens, log_uniform, uniform
from cellnet.errors import ConfigError

LIMITS = st.tuples(st.floats(0.1, 10), st.floats(0, 5)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(LIMITS, min_size=1, max_size=5), st.integers(0, 1000))
def test_draws_keep_to_their_ranges(limits: list[tuple[float, float]], seed: int) -> None:
    for draw in (uniform, log_uniform):
        torch.manual_seed(seed)
        drawn = draw(*limits)
        assert all(low - 1e-9 <= value <= high + 1e-9 for (low, high), value in zip(limits, drawn, strict=True))
        torch.manual_seed(seed)
        assert draw(*limits) == drawn


def test_halving_is_as_likely_as_doubling() -> None:
    torch.manual_seed(0)
    drawn = torch.tensor(log_uniform(*[(0.25, 4.0)] * 20_000))
    # Four standard errors of a proportion of one half.
    assert abs(float((drawn < 1).double().mean()) - 0.5) < 4 * math.sqrt(0.25 / 20_000)
    assert abs(float((drawn < 0.5).double().mean()) - 0.25) < 4 * math.sqrt(0.1875 / 20_000)


def test_never_and_always_are_certain() -> None:
    assert not any(happens(0.0) for _ in range(200))
    assert all(happens(1.0) for _ in range(200))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([math.nan], r"size=nan cannot be used; give 0 to 1\."),
        ([math.inf], "size=inf"),
        ([1.5], "give 0 to 1"),
        ([0.5, -0.1], r"size=\(0.5, -0.1\) cannot be used; give 0 to 1, each\."),
    ],
)
def test_numbers_out_of_range(values: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_numbers("size", values, 0, 1)


@pytest.mark.parametrize("values", [[math.nan], [-math.inf]])
def test_numbers_that_are_none(values: list[float]) -> None:
    with pytest.raises(ConfigError, match="give a finite number"):
        check_numbers("angle", values)


def test_a_bound_on_one_side() -> None:
    with pytest.raises(ConfigError, match=r"factor=-1 cannot be used; give 0 or more\."):
        check_numbers("factor", [-1], 0)


@pytest.mark.parametrize("limits", [(2.0, 1.0), (1.0,), (1.0, 2.0, 3.0), 1.0])
def test_what_is_no_range(limits: Any) -> None:
    with pytest.raises(ConfigError, match="is no range; give its least and its greatest value"):
        check_range("size", limits)
