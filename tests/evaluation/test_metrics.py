from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from cellnet.errors import LabelError
from cellnet.evaluation import metrics


def labels(seed: int, classes: int = 5, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.choice(classes, n, p=rng.dirichlet(np.ones(classes)))
    predicted = np.where(rng.random(n) < 0.7, targets, rng.integers(0, classes, n))
    return targets, predicted


@pytest.mark.parametrize("seed", range(5))
def test_every_metric_equals_scikit_learns(seed: int) -> None:
    targets, predicted = labels(seed)
    confusion = metrics.confusion_matrix(targets, predicted, 5)
    assert np.array_equal(confusion, sk.confusion_matrix(targets, predicted, labels=range(5)))

    options = {"labels": np.unique(targets), "zero_division": 0}
    expected = {
        metrics.accuracy: sk.accuracy_score(targets, predicted),
        metrics.balanced_accuracy: sk.balanced_accuracy_score(targets, predicted),
        metrics.macro_precision: sk.precision_score(targets, predicted, average="macro", **options),
        metrics.macro_recall: sk.recall_score(targets, predicted, average="macro", **options),
        metrics.macro_f1: sk.f1_score(targets, predicted, average="macro", **options),
        metrics.weighted_precision: sk.precision_score(targets, predicted, average="weighted", **options),
        metrics.weighted_recall: sk.recall_score(targets, predicted, average="weighted", **options),
        metrics.weighted_f1: sk.f1_score(targets, predicted, average="weighted", **options),
        metrics.kappa: sk.cohen_kappa_score(targets, predicted),
        metrics.mcc: sk.matthews_corrcoef(targets, predicted),
        metrics.precision: sk.precision_score(targets, predicted, average=None, **options),
        metrics.recall: sk.recall_score(targets, predicted, average=None, **options),
        metrics.f1: sk.f1_score(targets, predicted, average=None, **options),
    }
    present = metrics.support(confusion) > 0
    for function, value in expected.items():
        ours = function(confusion)
        ours = ours[present] if ours.ndim else ours
        np.testing.assert_allclose(np.nan_to_num(ours), value, rtol=0, atol=1e-12, err_msg=function.__name__)


def test_specificity_and_npv_are_recall_and_precision_of_the_rest() -> None:
    targets, predicted = labels(7)
    confusion = metrics.confusion_matrix(targets, predicted, 5)
    for label in range(5):
        rest, called_rest = targets != label, predicted != label
        assert metrics.specificity(confusion)[label] == pytest.approx(sk.recall_score(rest, called_rest), abs=1e-12)
        assert metrics.negative_predictive_value(confusion)[label] == pytest.approx(
            sk.precision_score(rest, called_rest), abs=1e-12
        )


def test_predictive_values_at_the_prevalence_of_the_images_are_precision_and_npv() -> None:
    targets, predicted = labels(3)
    confusion = metrics.confusion_matrix(targets, predicted, 5)
    share = metrics.support(confusion) / confusion.sum()
    ppv, npv = metrics.predictive_values(metrics.recall(confusion), metrics.specificity(confusion), share)
    np.testing.assert_allclose(ppv, metrics.precision(confusion), atol=1e-12)
    np.testing.assert_allclose(npv, metrics.negative_predictive_value(confusion), atol=1e-12)


def test_predictive_values_by_hand() -> None:
    # Of 1,000 cells 10 are blasts: 9 are called so, and 99 of the 990 others.
    ppv, npv = metrics.predictive_values(0.9, 0.9, 0.01)
    assert ppv == pytest.approx(9 / 108)
    assert npv == pytest.approx(891 / 892)
    assert np.isnan(metrics.predictive_values(0.0, 1.0, 0.5)[0])


def test_an_absent_class_is_nan_and_not_averaged() -> None:
    confusion = metrics.confusion_matrix([0, 0, 1, 1], [0, 2, 1, 1], 4)  # 2 is only called, 3 is nowhere
    for function in (metrics.recall, metrics.precision, metrics.f1, metrics.negative_predictive_value):
        assert np.isnan(function(confusion)).tolist() == [False, False, True, True]
    assert metrics.specificity(confusion).tolist() == [1.0, 1.0, 0.75, 1.0]
    assert metrics.macro_recall(confusion) == pytest.approx((0.5 + 1) / 2)
    assert metrics.macro_f1(confusion) == pytest.approx((2 / 3 + 1) / 2)


def test_a_class_never_called_has_no_precision_but_counts_as_zero() -> None:
    confusion = metrics.confusion_matrix([0, 0, 1], [0, 0, 0], 2)
    assert np.isnan(metrics.precision(confusion)[1])
    assert metrics.f1(confusion)[1] == 0
    assert metrics.macro_precision(confusion) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.filterwarnings("ignore:A single label was found")  # scikit-learn's own
def test_one_class_alone() -> None:
    confusion = metrics.confusion_matrix([1, 1], [1, 1], 2)
    assert metrics.accuracy(confusion) == metrics.macro_f1(confusion) == 1
    assert np.isnan(metrics.kappa(confusion))
    assert metrics.mcc(confusion) == sk.matthews_corrcoef([1, 1], [1, 1]) == 0


def test_no_image_is_nan_everywhere() -> None:
    confusion = metrics.confusion_matrix([], [], 3)
    assert confusion.shape == (3, 3)
    assert np.isnan(metrics.accuracy(confusion))
    assert np.isnan(metrics.macro_f1(confusion))


def test_leading_dimensions_are_kept() -> None:
    stack = np.stack([metrics.confusion_matrix(*labels(seed), 5) for seed in range(3)])
    for function in (metrics.recall, metrics.macro_f1, metrics.kappa, metrics.mcc, metrics.accuracy):
        np.testing.assert_array_equal(function(stack), np.stack([function(one) for one in stack]))


@pytest.mark.parametrize(
    ("targets", "predicted", "message"),
    [([0, 1], [0], "shapes"), ([0, 3], [0, 0], "from 0 to 3"), ([0, -1], [0, 0], "from -1"), ([[0]], [[0]], "shapes")],
)
def test_labels_that_do_not_fit_are_refused(targets: list, predicted: list, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        metrics.confusion_matrix(targets, predicted, 3)


def test_more_images_than_are_counted_at_a_time() -> None:
    generator = np.random.default_rng(0)
    pairs = generator.integers(0, 5, (2 * metrics.BLOCK + 7, 2))
    confusion = metrics.confusion_matrix(*pairs.T, 5)  # every other number of an array
    assert np.array_equal(confusion, sk.confusion_matrix(*pairs.T, labels=range(5)))
    for wrong in (5, -1):
        pairs[-1, 1] = wrong
        with pytest.raises(LabelError, match=rf"Labels run from {min(wrong, 0)} to {max(wrong, 4)}, but 5 classes"):
            metrics.confusion_matrix(*pairs.T, 5)
