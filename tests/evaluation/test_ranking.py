from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from cellnet.evaluation.clusters import Units
from cellnet.evaluation.ranking import (
    _precision_area,
    _roc_area,
    average_precisions,
    estimate_average_precisions,
    estimate_roc_areas,
    roc_areas,
    top_k_hits,
)


def case(
    seed: int, n: int = 200, classes: int = 5, decimals: int | None = None, even: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, rounded to make ties, and targets of which some classes may be absent, unless they are even."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(classes, n, p=None if even else rng.dirichlet(np.full(classes, 0.6)))
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), targets] += 1.5
    probabilities = softmax(logits, 1)
    return (probabilities if decimals is None else np.round(probabilities, decimals)), targets


@pytest.mark.parametrize("decimals", [None, 2, 1])
@pytest.mark.parametrize("seed", range(8))
def test_areas_equal_scikit_learns_for_the_classes_that_are_there(seed: int, decimals: int | None) -> None:
    probabilities, targets = case(seed, decimals=decimals)
    roc, precision = roc_areas(probabilities, targets), average_precisions(probabilities, targets)
    for label in range(5):
        own = targets == label
        if not own.any():
            assert np.isnan([roc[label], precision[label]]).all()
            continue
        assert roc[label] == pytest.approx(sk.roc_auc_score(own, probabilities[:, label]), abs=1e-12)
        assert precision[label] == pytest.approx(sk.average_precision_score(own, probabilities[:, label]), abs=1e-12)


def test_the_mean_of_full_classes_is_scikit_learns_macro_average() -> None:
    probabilities, targets = case(1, 600)
    targets[:5] = range(5)
    units = Units.of(None, 600)
    mean = estimate_roc_areas(probabilities, targets, units)[1]
    assert mean.value == pytest.approx(sk.roc_auc_score(targets, probabilities, multi_class="ovr"), abs=1e-12)
    mean = estimate_average_precisions(probabilities, targets, units)[1]
    assert mean.value == pytest.approx(sk.average_precision_score(np.eye(5)[targets], probabilities), abs=1e-12)


def test_absent_classes_are_left_out_of_the_mean() -> None:
    probabilities, targets = case(2)
    targets[targets == 3] = 0
    each, mean = estimate_roc_areas(probabilities, targets, Units.of(None, len(targets)))
    assert np.isnan(each[3].value)
    assert mean.value == pytest.approx(np.nanmean([estimate.value for estimate in each]))


def test_one_class_alone_has_no_roc_area() -> None:
    probabilities, targets, units = np.array([[0.9, 0.1], [0.4, 0.6]]), np.zeros(2, int), Units.of(None, 2)
    each, mean = estimate_roc_areas(probabilities, targets, units)
    assert np.isnan([*(one.value for one in each), mean.value]).all()
    each, mean = estimate_average_precisions(probabilities, targets, units)
    assert each[0].value == mean.value == sk.average_precision_score([True, True], probabilities[:, 0]) == 1
    assert each[0].low < 0.5


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_top_k_equals_scikit_learns(k: int) -> None:
    probabilities, targets = case(3)
    expected = sk.top_k_accuracy_score(targets, probabilities, k=k, labels=range(5)) if k < 5 else 1
    assert top_k_hits(probabilities, targets, k).mean() == pytest.approx(expected, abs=1e-12)


def test_of_equal_probabilities_the_first_class_counts_as_in_argmax() -> None:
    probabilities, targets = case(4, decimals=1)
    np.testing.assert_array_equal(top_k_hits(probabilities, targets, 1), probabilities.argmax(1) == targets)
    assert top_k_hits([[0.4, 0.4, 0.2]], [2], 2).tolist() == [False]


def test_the_variance_of_a_roc_area_is_delongs() -> None:
    """Beside the textbook's, by pairs of images; the two added images count little among many."""
    probabilities, targets = case(5, 6000, decimals=2, even=True)
    own, p = targets == targets[0], probabilities[:, targets[0]]
    wins = (p[own][:, None] > p[~own]) + 0.5 * (p[own][:, None] == p[~own])
    delong = wins.mean(1).var(ddof=1) / own.sum() + wins.mean(0).var(ddof=1) / (~own).sum()
    area = _roc_area(wins.mean(), p, own, Units.of(None, len(p)))
    assert area.variance == pytest.approx(delong, rel=0.03)
    assert area.steadied == pytest.approx(wins.mean(), abs=0.002)


@pytest.mark.parametrize("decimals", [None, 2])
def test_the_parts_of_an_area_are_what_its_images_add(decimals: int | None) -> None:
    """The infinitesimal jackknife: the derivative of scikit-learn's weighted average precision."""
    probabilities, targets = case(6, 120, decimals=decimals)
    own, p = targets == targets[0], probabilities[:, targets[0]]
    value = sk.average_precision_score(own, p)
    n, step = own.sum(), 1e-6
    derivatives = []
    for i in range(len(p)):
        weights = np.ones(len(p))
        weights[i] += step
        derivatives.append((sk.average_precision_score(own, p, sample_weight=weights) - value) / step)
    parts = _precision_area(value, p, own, Units.of(None, len(p))).parts
    np.testing.assert_allclose(parts * np.sqrt((n + 1) / n), derivatives, atol=1e-5)


@pytest.mark.parametrize("estimate", [estimate_roc_areas, estimate_average_precisions])
def test_intervals_agree_with_resampling_images(estimate) -> None:
    probabilities, targets = case(7, 2000, classes=3, even=True)
    function = roc_areas if estimate is estimate_roc_areas else average_precisions
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(80):
        chosen = rng.integers(0, 2000, 2000)
        draws.append(function(probabilities[chosen], targets[chosen]))
    each, mean = estimate(probabilities, targets, Units.of(None, 2000))
    for found, naive in zip((*each, mean), (*np.transpose(draws), np.mean(draws, axis=1)), strict=True):
        # Not narrower; somewhat wider, since an image of the class counts at most once for a precision-recall area.
        assert 0.85 < (found.high - found.low) / (3.92 * naive.std()) < 1.45


@pytest.mark.parametrize("estimate", [estimate_roc_areas, estimate_average_precisions])
def test_a_perfect_ranking_has_an_interval_that_shrinks_with_images(estimate) -> None:
    lows = []
    for n in (4, 40, 400):
        targets = np.repeat([0, 1, 2], n)
        each, mean = estimate(np.eye(3)[targets] * 0.7 + 0.1, targets, Units.of(None, 3 * n))
        assert each[0].value == each[0].high == mean.value == 1
        assert each[0].low < mean.low < 1
        lows.append(each[0].low)
    assert lows == sorted(lows)
    assert lows[1] == pytest.approx(0.91, abs=0.02)  # as Wilson's of 40 out of 40


@pytest.mark.parametrize("estimate", [estimate_roc_areas, estimate_average_precisions])
def test_copies_of_images_in_groups_say_no_more_than_the_images(estimate) -> None:
    probabilities, targets = case(8, 900, classes=3, even=True)
    copies, copied = np.repeat(probabilities, 4, 0), np.repeat(targets, 4)
    single = estimate(probabilities, targets, Units.of(None, 900))[1]
    naive = estimate(copies, copied, Units.of(None, 3600))[1]
    grouped = estimate(copies, copied, Units.of(np.repeat(np.arange(900), 4).tolist(), 3600))[1]
    assert grouped.value == pytest.approx(single.value)
    assert grouped.high - grouped.low == pytest.approx(single.high - single.low, rel=0.15)
    assert naive.high - naive.low == pytest.approx((single.high - single.low) / 2, rel=0.15)


def test_a_single_image() -> None:
    for estimate in (estimate_roc_areas, estimate_average_precisions):
        each, mean = estimate([[0.7, 0.3]], [0], Units.of(None, 1))
        assert np.isnan(each[1].value)
        assert np.isnan(mean.value) == (estimate is estimate_roc_areas)


@pytest.mark.parametrize("estimate", [estimate_roc_areas, estimate_average_precisions])
@pytest.mark.parametrize(("classes", "per_class"), [(2, 1), (2, 100), (3, 50), (8, 5)])
def test_a_model_that_says_the_same_of_all_images_has_an_interval(estimate, classes: int, per_class: int) -> None:
    targets = np.repeat(np.arange(classes), per_class)
    mean = estimate(np.full((len(targets), classes), 1 / classes), targets, Units.of(None, len(targets)))[1]
    assert mean.value == pytest.approx(0.5 if estimate is estimate_roc_areas else 1 / classes)
    assert mean.low < mean.value - 0.005
    assert mean.high > mean.value + 0.005


@pytest.mark.parametrize("estimate", [estimate_roc_areas, estimate_average_precisions])
def test_scores_without_a_signal_have_an_interval(estimate) -> None:
    for seed in range(40):
        p = np.random.default_rng(seed).random(12).round(1)
        mean = estimate(np.stack([p, 1 - p], 1), np.arange(12) % 2, Units.of(None, 12))[1]
        assert 0 <= mean.low <= mean.value <= mean.high <= 1
        assert mean.high - mean.low > 0.2


def test_a_perfect_precision_area_is_not_above_1() -> None:
    own, p = np.array([0] * 9 + [1] * 3), np.concatenate([np.linspace(0.55, 0.95, 9), [0.1, 0.2, 0.3]])
    assert average_precisions(np.stack([p, 1 - p], 1), own).max() == 1
