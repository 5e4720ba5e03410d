"""The checks that imbalanced-learn and scikit-learn have for their own samplers."""

from __future__ import annotations

import pytest
from imblearn.utils import estimator_checks as imbalanced_learn
from sklearn.utils import estimator_checks as scikit_learn
from torch import Tensor

from cellnet.balancing import SMOTE, EmbeddingSMOTE


def pixels(rows: Tensor) -> Tensor:
    """Features of images that are rows of numbers: themselves."""
    return rows


SAMPLERS = [SMOTE(random_state=0), EmbeddingSMOTE(pixels, random_state=0)]

# The random data of some checks hold a class of few rows.
pytestmark = pytest.mark.filterwarnings("ignore:The class .* has .* images:UserWarning")


@pytest.mark.parametrize(
    ("sampler", "check"),
    [
        pytest.param(sampler, check, id=f"{kind.__name__.split('.')[0]}-{type(sampler).__name__}-{check.func.__name__}")
        for kind in (imbalanced_learn, scikit_learn)
        for one in SAMPLERS
        for sampler, check in kind.estimator_checks_generator(one)
    ],
)
def test_checks(sampler, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # one of them is skipped without it
    check(sampler)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: type(sampler).__name__)
def test_parameters_and_column_names(sampler):
    """Two checks that imbalanced-learn runs on all its samplers, but not in check_estimator."""
    name = type(sampler).__name__
    imbalanced_learn.check_param_validation(name, sampler)
    imbalanced_learn.check_dataframe_column_names_consistency(name, sampler)
