from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cellnet.errors import DataError
from cellnet.evaluation.paired import holm, mcnemar, mcnemar_of_pairs


@pytest.mark.parametrize(
    ("b", "c", "both"), [(6, 2, 2), (0, 0, 5), (1, 0, 0), (10, 10, 3), (40, 71, 2000), (900, 0, 9)]
)
def test_mcnemar_equals_the_binomial_test(b: int, c: int, both: int) -> None:
    first = np.repeat([True, False, True], [b, c, both])
    second = np.repeat([False, True, True], [b, c, both])
    result = mcnemar(first, second)
    assert (result.only_first, result.only_second) == (b, c)
    expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert result.p == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    # Five images differ, all in favour of one: 2 · (1/2)^5.
    assert mcnemar([True] * 5 + [False], [False] * 6).p == 2 / 2**5


def test_other_images() -> None:
    with pytest.raises(DataError, match="have 3 and 2 images"):
        mcnemar([True] * 3, [True] * 2)


def test_holm_by_hand() -> None:
    # 4 · 0.01; 3 · 0.02; 2 · 0.025 = 0.05 may not fall below the one before; 0.9.
    assert holm([0.025, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


def test_holm_keeps_its_promise() -> None:
    rng = np.random.default_rng(0)
    families = rng.uniform(size=(4000, 6))  # six true null hypotheses each
    alarms = np.mean([min(holm(p.tolist())) < 0.05 for p in families])
    assert 0.035 < alarms < 0.06


def test_pairs_are_tested_one_by_one_and_corrected_together() -> None:
    flags = {name: np.arange(40) < right for name, right in (("a", 40), ("b", 33), ("c", 30))}
    pairs = [((x, flags[x]), (y, flags[y])) for x, y in (("a", "b"), ("b", "c"))]
    first, second = mcnemar_of_pairs(pairs)
    assert (first.first, first.second, first.only_first, first.only_second) == ("a", "b", 7, 0)
    assert first.difference == pytest.approx(7 / 40)
    assert [first.p, second.p] == pytest.approx([2 / 2**7, 2 / 2**3])
    assert [first.p_holm, second.p_holm] == pytest.approx([2 * 2 / 2**7, 2 / 2**3])
    assert mcnemar_of_pairs([]) == []
