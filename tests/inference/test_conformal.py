from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binom

from cellnet.errors import CellnetError, ConfigError, DataError, LabelError
from cellnet.inference import PredictionSets, RiskControl, least_images, likely_start

TWO = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]
"""Rows of probabilities that are in order."""


def draw(n: int, rng: np.random.Generator, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of five classes, the first rare and poorly known, and targets drawn from calibrated ones."""
    logits = rng.normal(0, 3, (n, 5)) - [2.5, 0, 0, 0, 0]
    targets = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    return softmax(sharpness * logits, 1), targets


def naive_limit(true: list[float], coverage: float) -> float:
    """The lowest probability to accept, by counting on the scores 1 - p."""
    scores = sorted(1 - p for p in true)
    k = next(k for k in range(1, len(scores) + 2) if k / (len(scores) + 1) >= coverage - 1e-12)
    return 0.0 if k > len(scores) else 1 - scores[k - 1]


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 19, 20, 99, 400])
def test_limits_are_the_quantiles_of_the_scores(n: int, coverage: float) -> None:
    probabilities, targets = draw(n, np.random.default_rng(n))
    true = probabilities[np.arange(n), targets]
    split = PredictionSets.fit(probabilities, targets, coverage, by_class=False)
    assert split.limits == pytest.approx([naive_limit(true.tolist(), coverage)] * 5, abs=1e-6)
    mondrian = PredictionSets.fit(probabilities, targets, coverage)
    expected = [naive_limit(true[targets == label].tolist(), coverage) for label in range(5)]
    assert mondrian.limits == pytest.approx(expected, abs=1e-6)


def test_nineteen_images_are_just_enough_for_95_percent() -> None:
    # 20 · 0.95 is 19: the lowest of 19 probabilities; of 18 none is low enough.
    table = np.stack([np.linspace(0.5, 0.9, 19), 1 - np.linspace(0.5, 0.9, 19)], axis=1)
    assert PredictionSets.fit(table, [0] * 19, 0.95, by_class=False).limits[0] == 0.5
    assert PredictionSets.fit(table[1:], [0] * 18, 0.95, by_class=False).limits[0] == 0


@pytest.mark.parametrize("sharpness", [1.0, 3.0])  # calibrated, and far too sure of itself
def test_sets_cover_as_often_as_promised(sharpness: float) -> None:
    rng, coverage, n = np.random.default_rng(0), 0.9, 200
    covered, of_first = [], []
    for _ in range(300):
        fitted_on, (probabilities, targets) = draw(n, rng, sharpness), draw(400, rng, sharpness)
        rows = np.arange(400)
        split = PredictionSets.fit(*fitted_on, coverage, by_class=False)
        covered.append((probabilities[rows, targets] >= split.limits[0] - 1e-9).mean())
        mondrian = PredictionSets.fit(*fitted_on, coverage).apply(probabilities)
        of_first.append(mondrian[rows, targets][targets == 0].mean())
    # Coverage is at least 0.9, and at most 1 / (n + 1) more; the mean of the simulation has an error of 0.002.
    assert coverage - 0.004 < np.mean(covered) < coverage + 1 / (n + 1) + 0.004
    assert np.nanmean(of_first) > coverage - 0.01


def test_without_classes_apart_the_rare_one_pays() -> None:
    rng = np.random.default_rng(1)
    fitted_on, (probabilities, targets) = draw(5000, rng), draw(20_000, rng)
    rare = targets == 0
    split, mondrian = (
        PredictionSets.fit(*fitted_on, 0.9, by_class=by_class).apply(probabilities)[rare, 0].mean()
        for by_class in (False, True)
    )
    assert split < 0.8 < 0.88 < mondrian


def test_the_most_probable_class_is_always_in_the_set() -> None:
    sets = PredictionSets(0.5, False, (0.95, 0.95, 0.95))
    assert sets.apply([[0.5, 0.3, 0.2], [0.96, 0.02, 0.02], [np.nan] * 3]).tolist() == [
        [True, False, False],
        [True, False, False],
        [False, False, False],
    ]
    assert sets.apply(np.empty((0, 3))).shape == (0, 3)


def test_a_limit_lets_in_the_image_that_set_it() -> None:
    probabilities, targets = draw(300, np.random.default_rng(2))
    true = probabilities.astype(np.float32)[np.arange(300), targets]
    limit = PredictionSets.fit(probabilities, targets, 0.9, by_class=False).limits[0]
    assert (true >= np.float32(limit)).sum() == math.ceil(301 * 0.9)


def test_a_class_without_images_is_in_every_set_and_the_words_say_so() -> None:
    probabilities, targets = draw(2000, np.random.default_rng(3))
    known = targets != 2
    sets = PredictionSets.fit(probabilities[known], targets[known], 0.95)
    assert sets.limits[2] == 0
    assert sets.apply(probabilities)[:, 2].all()
    assert not sets.apply(probabilities).all()
    words = sets.describe(["a", "b", "c", "d", "e"])
    assert "at least 95 % of the images of each class" in words
    assert words.endswith("Too few validation images to ever exclude: c.")
    assert "Too few" not in PredictionSets.fit(probabilities, targets, 0.95).describe(["a", "b", "c", "d", "e"])


def naive_threshold(probabilities: np.ndarray, targets: np.ndarray, risk: float, start: float) -> int:
    """Number of images accepted, by testing one after the other."""
    order = sorted(range(len(targets)), key=lambda i: -probabilities[i].max())
    wrong = [probabilities[i].argmax() != targets[i] for i in order]
    kept = 0
    for m in range(max(math.ceil(start * len(targets)), least_images(risk)), len(targets) + 1):
        k = sum(wrong[:m])
        if sum(math.comb(m, j) * risk**j * (1 - risk) ** (m - j) for j in range(k + 1)) > 0.05:
            break
        kept = m
    return kept


@pytest.mark.parametrize("risk", [0.05, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("start", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_is_that_of_one_test_after_the_other(risk: float, start: float, seed: int) -> None:
    probabilities, targets = draw(300, np.random.default_rng(seed))
    control = RiskControl.fit(probabilities, targets, risk, start=start)
    kept = naive_threshold(probabilities, targets, risk, start)
    if not kept:
        assert control.threshold is None
        return
    assert control.threshold is not None
    accepted = probabilities.astype(np.float32).max(1) >= control.threshold
    assert accepted.sum() == control.accepted == kept
    assert control.errors == (probabilities.argmax(1) != targets)[accepted].sum()


@pytest.mark.parametrize("sharpness", [1.0, 3.0])
def test_the_risk_is_kept_as_often_as_promised(sharpness: float) -> None:
    rng, risk, delta = np.random.default_rng(0), 0.1, 0.1
    many, their_targets = draw(100_000, rng, sharpness)
    confidence, wrong = many.astype(np.float32).max(1), many.argmax(1) != their_targets
    assert wrong.mean() > 0.2
    broken = found = 0
    for _ in range(500):
        start = likely_start(*draw(300, rng, sharpness), risk)
        control = RiskControl.fit(*draw(300, rng, sharpness), risk, delta, start)
        if control.threshold is not None:
            found += 1
            broken += wrong[confidence >= control.threshold].mean() > risk
    # The promise may be broken in 50 of 500 cases; 66 would come of it once in a hundred simulations.
    assert broken <= binom.ppf(0.99, 500, delta)
    assert broken > 20  # and is not kept by needless caution
    assert found > 400


def test_a_single_sure_mistake_does_not_end_the_search() -> None:
    confidence = np.linspace(0.999, 0.6, 1000)
    targets = np.zeros(1000, int)
    targets[0] = 1
    control = RiskControl.fit(np.stack([confidence, 1 - confidence], 1), targets, 0.01)
    assert (control.threshold, control.accepted, control.errors) == (0.0, 1000, 1)


def test_images_of_equal_probability_are_accepted_together() -> None:
    table = [[0.99, 0.01]] * 60 + [[0.8, 0.2]] * 40
    control = RiskControl.fit(table, [0] * 97 + [1] * 3, 0.05)
    assert control.accepted == 60
    assert 0.8 < control.threshold <= 0.99  # type: ignore[operator]
    assert np.float32(0.8) < np.float32(control.threshold)  # type: ignore[arg-type]


def test_too_few_images_are_said_to_be_too_few() -> None:
    control = RiskControl.fit([[0.9, 0.1]] * 298, [0] * 298, 0.01)
    assert control.threshold is None
    assert "cannot be guaranteed with 298 images: even without a mistake it takes 299" in str(control)
    assert RiskControl.fit([[0.9, 0.1]] * 299, [0] * 299, 0.01).threshold == 0.0
    assert binom.cdf(0, least_images(0.01), 0.01) <= 0.05 < binom.cdf(0, least_images(0.01) - 1, 0.01)


def test_too_many_mistakes_are_said_to_be_too_many() -> None:
    control = RiskControl.fit([[0.9, 0.1]] * 400, [0, 1] * 200, 0.01)
    assert control.threshold is None
    assert "cannot be guaranteed with 400 images: of the 400 most certain, 200 are wrong" in str(control)


def test_the_start_follows_what_the_model_can_do() -> None:
    confidence = np.linspace(0.999, 0.6, 1000)
    table, targets = np.stack([confidence, 1 - confidence], 1), np.zeros(1000, int)
    assert likely_start(table, targets, 0.05) == 0.75
    targets[400:] = 1
    assert likely_start(table, targets, 0.05) == pytest.approx(0.3)
    assert RiskControl.fit(table, targets, 0.05).threshold is None
    control = RiskControl.fit(table, targets, 0.05, start=0.3)
    assert 400 < control.accepted < 430
    assert control.errors == control.accepted - 400


def fit_sets(probabilities, targets) -> object:
    return PredictionSets.fit(probabilities, targets, 0.9)


def fit_risk(probabilities, targets) -> object:
    return RiskControl.fit(probabilities, targets, 0.1)


@pytest.mark.parametrize("fit", [fit_sets, fit_risk])
@pytest.mark.parametrize(
    ("probabilities", "targets", "error", "words"),
    [
        (np.empty((0, 2)), [], DataError, "no image"),
        ([[0.5, 0.5]], [0, 1], LabelError, "N×C"),
        ([0.5, 0.5], [0, 1], LabelError, "N×C"),
        ([[0.5, 0.5]], [2], LabelError, "2 classes"),
        ([[0.5, 0.5]], [-1], LabelError, "2 classes"),
        ([*TWO, [np.nan, np.nan]], [0, 1, 0, 1], DataError, "not finite"),
        ([*TWO, [0.5, 0.4]], [0, 1, 0, 1], DataError, "Row 3 .* the sum 0.9"),
        ([*TWO, [1.5, -0.5]], [0, 1, 0, 1], DataError, "Row 3 .* from -0.5 to 1.5"),
        ([[2.0, -3.0]], [0], DataError, "Row 0 .* softmax"),
    ],
)
def test_what_cannot_be_fitted_on(fit, probabilities, targets, error: type[CellnetError], words: str) -> None:
    with pytest.raises(error, match=words):
        fit(probabilities, targets)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan"), "0.1", True])
def test_shares_that_are_none(share: object) -> None:
    for fit in (
        lambda: RiskControl.fit(TWO, [0, 1, 0], share),  # type: ignore[arg-type]
        lambda: RiskControl.fit(TWO, [0, 1, 0], 0.1, share),  # type: ignore[arg-type]
        lambda: RiskControl.fit(TWO, [0, 1, 0], 0.1, start=share),  # type: ignore[arg-type]
        lambda: likely_start(TWO, [0, 1, 0], share),  # type: ignore[arg-type]
        lambda: PredictionSets.fit(TWO, [0, 1, 0], share),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match="above 0 and below 1"):
            fit()


def test_one_image_and_one_class() -> None:
    assert PredictionSets.fit([[0.9, 0.1]], [0], 0.9).limits == (0.0, 0.0)
    assert PredictionSets.fit([[0.9, 0.1]], [0], 0.5).limits == (pytest.approx(0.9), 0.0)
    assert RiskControl.fit([[0.9, 0.1]], [0], 0.1).threshold is None
    assert PredictionSets.fit(np.ones((30, 1)), [0] * 30, 0.9).apply([[1.0]]).tolist() == [[True]]
    assert RiskControl.fit(np.ones((30, 1)), [0] * 30, 0.1).threshold == 0.0


def test_json_and_back() -> None:
    probabilities, targets = draw(300, np.random.default_rng(4))
    for fitted in (fit_sets(probabilities, targets), RiskControl.fit(probabilities, targets, 0.2)):
        data = json.loads(json.dumps(fitted.to_dict(), allow_nan=False))  # type: ignore[attr-defined]
        assert type(fitted).from_dict(data) == fitted  # type: ignore[attr-defined]
