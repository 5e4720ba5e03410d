from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from cellnet.balancing import balanced_class_weights, effective_number_weights
from cellnet.errors import ConfigError


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999, 0.9999])
def test_weights_are_those_of_the_paper(beta):
    counts = [1, 7, 400, 3329]
    exact = [(1 - Fraction(beta)) / (1 - Fraction(beta) ** n) for n in counts]
    expected = [float(4 * weight / sum(exact)) for weight in exact]
    weights = effective_number_weights(np.repeat(np.arange(4), counts), 4, beta)
    assert weights.dtype == torch.float32
    assert np.allclose(weights, expected, rtol=1e-6)


def test_near_one_they_are_inverse_counts():
    weights = effective_number_weights(np.repeat([0, 1], [10, 1000]), 2, beta=1 - 1e-12)
    assert float(weights[0] / weights[1]) == pytest.approx(100, rel=1e-4)


def test_an_absent_class_is_named():
    with pytest.raises(ConfigError, match=r"classes \[1, 3\] have no image"):
        effective_number_weights(np.array([0, 2, 2]), 4)


@pytest.mark.parametrize("weights", [balanced_class_weights, effective_number_weights])
@pytest.mark.parametrize("targets", [[0, 1, 2], [-1, 0, 1]])
def test_a_label_of_no_class_is_refused(weights, targets):
    with pytest.raises(ConfigError, match="but there are 2 classes; give labels from 0 to 1"):
        weights(np.array(targets), 2)


@pytest.mark.parametrize("beta", [1.0, -0.1, 2, float("nan")])
def test_beta_out_of_range(beta):
    with pytest.raises(ConfigError, match="at least 0 and below 1"):
        effective_number_weights(np.array([0, 1]), 2, beta)
