from __future__ import annotations

import numpy as np
import pytest

from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import CellnetError, ConfigError, DataError, LabelError, UnknownNameError
from cellnet.evaluation import calibrate, evaluate
from cellnet.evaluation.calibrate import _halves
from cellnet.inference import (
    PredictionSets,
    RiskControl,
    check_promised,
    energy_score,
    fit_thresholds,
    guarantees,
    likely_start,
)
from cellnet.labels import LabelSchema
from cellnet.models import CALIBRATORS, CellClassifier, TemperatureScaling


@pytest.fixture(scope="module")
def val() -> CellDataset:
    """128 drawn cells, 16 a class."""
    return load_dataset("synthetic", per_class=16, image_size=32, seed=5).subset(range(128), part="val")


@pytest.fixture
def easy(tiny_model: CellClassifier, val: CellDataset) -> CellDataset:
    """The same cells with such labels that the untrained model is right on three quarters of them."""
    called = tiny_model.predict(val).probabilities.argmax(1)
    targets = np.where(np.arange(128) % 4 == 0, (called + 1 + np.arange(128) // 4 % 7) % 8, called)
    images = np.stack([val.image(i).numpy() for i in range(128)])
    return CellDataset(None, targets, val.labels, images=images, part="val")


@pytest.mark.parametrize("method", CALIBRATORS)
def test_without_a_guarantee_all_images_fit_everything(
    tiny_model: CellClassifier, val: CellDataset, method: str
) -> None:
    logits = tiny_model.predict(val).logits
    calibrate(tiny_model, val, method)
    assert tiny_model.calibrator == CALIBRATORS[method].fit(logits, val.targets)
    assert tiny_model.thresholds == fit_thresholds(logits, val.targets, tiny_model.calibrator)
    assert (tiny_model.risk_control, tiny_model.sets) == (None, None)
    preds = tiny_model.predict(val)
    np.testing.assert_allclose(preds.probabilities, tiny_model.calibrator.apply(logits), atol=1e-6)
    assert preds.sets is None


def test_a_guarantee_is_fitted_on_images_that_did_not_fit_the_probabilities(
    tiny_model: CellClassifier, easy: CellDataset
) -> None:
    logits, targets = tiny_model.predict(easy).logits, easy.targets
    tiny_model.calibrate(easy, "vector", risk=0.5, coverage=0.8)
    first, second = _halves(easy, np.ones(128, bool))
    calibrator = CALIBRATORS["vector"].fit(logits[first], targets[first])
    probabilities = calibrator.apply(logits[second])
    assert tiny_model.calibrator == calibrator
    assert tiny_model.sets == PredictionSets.fit(probabilities, targets[second], 0.8)
    # Where the energy abstains nothing is accepted: the guarantee is for the others.
    familiar = energy_score(logits[second]) <= np.float32(tiny_model.thresholds["energy"])
    assert 0 < familiar.sum() < 64
    start = likely_start(calibrator.apply(logits[first]), targets[first], 0.5)
    expected = RiskControl.fit(probabilities[familiar], targets[second][familiar], 0.5, start=start)
    assert tiny_model.risk_control == expected
    assert tiny_model.thresholds["probability"] == expected.threshold is not None

    preds = tiny_model.predict(easy)
    assert (
        preds.abstain.tolist()
        == (
            (preds.probabilities.max(1) < np.float32(expected.threshold))
            | (preds.ood > tiny_model.thresholds["energy"])
        ).tolist()
    )
    assert preds.in_set.tolist() == tiny_model.sets.apply(preds.probabilities).tolist()
    assert (~preds.abstain[second]).sum() == expected.accepted


def test_a_calibration_of_other_images_leaves_all_to_the_guarantee(
    tiny_model: CellClassifier, easy: CellDataset
) -> None:
    tiny_model.temperature = 0.5
    tiny_model.calibrate(easy, None, risk=0.5, coverage=0.8)
    assert tiny_model.temperature == 0.5
    probabilities = tiny_model.predict(easy).probabilities
    assert tiny_model.sets == PredictionSets.fit(probabilities, easy.targets, 0.8)
    assert tiny_model.risk_control.images == 127  # of 128 the strangest abstains by its energy
    with pytest.raises(DataError, match=r"are wrong\. Give more validation images, or allow a larger risk\.$"):
        tiny_model.calibrate(easy, None, risk=0.05)


def test_calibrating_again_leaves_nothing_of_the_last_time(tiny_model: CellClassifier, easy: CellDataset) -> None:
    calibrate(tiny_model, easy, "isotonic", risk=0.5, coverage=0.8, by_class=False)
    assert len({*tiny_model.sets.limits}) == 1
    calibrate(tiny_model, easy)
    assert isinstance(tiny_model.calibrator, TemperatureScaling)
    assert (tiny_model.risk_control, tiny_model.sets) == (None, None)


def test_halves_hold_like_classes_and_keep_together_what_belongs_together(val: CellDataset) -> None:
    first, second = _halves(val, np.ones(128, bool))
    assert not (first & second).any()
    assert np.bincount(val.targets[first]).tolist() == np.bincount(val.targets[second]).tolist() == [8] * 8
    donors = np.arange(128) // 3
    first, second = _halves(val.with_groups(donors), np.ones(128, bool))
    assert not {*donors[first]} & {*donors[second]}
    assert 50 < first.sum() < 78
    known = np.arange(128) % 2 == 0
    first, second = _halves(val, known)
    assert (first | second).tolist() == known.tolist()


def test_a_class_without_validation_images_is_in_every_set(tiny_model: CellClassifier, val: CellDataset) -> None:
    few = val.subset(np.flatnonzero(val.targets != 3))
    calibrate(tiny_model, few, coverage=0.5)
    name = tiny_model.labels.names[3]
    assert all(name in row for row in tiny_model.predict(val).sets)
    test = load_dataset("synthetic", per_class=1, image_size=32, seed=9)
    report = evaluate(tiny_model, test)
    assert f"Too few validation images to ever exclude: {name}." in report.notes[-1]


def options(**kwargs: object) -> dict[str, object]:
    return {"method": "temperature", **kwargs}


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (options(risk=0.01), DataError, "cannot be guaranteed with 6[34] images: even without a mistake it takes 299"),
        (options(risk=0.1), DataError, "cannot be guaranteed with 6[34] images: of the .* are wrong"),
        (options(risk=0.0), ConfigError, "risk is 0.0"),
        (options(coverage=95), ConfigError, "coverage is 95"),
        (options(method="temprature"), UnknownNameError, "Did you mean 'temperature'"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    tiny_model: CellClassifier, val: CellDataset, given: dict[str, object], error: type[CellnetError], words: str
) -> None:
    tiny_model.temperature = 3.0
    with pytest.raises(error, match=words):
        calibrate(tiny_model, val, **given)  # type: ignore[arg-type]
    assert (tiny_model.temperature, tiny_model.thresholds) == (3.0, {})
    assert (tiny_model.risk_control, tiny_model.sets) == (None, None)


def test_a_test_part_is_refused(tiny_model: CellClassifier, val: CellDataset) -> None:
    with pytest.raises(ConfigError, match="test part"):
        tiny_model.calibrate(val.subset(range(128), part="test"))
    with pytest.raises(DataError, match="no images"):
        tiny_model.calibrate(val.subset([]))
    other = CellDataset(None, [0], LabelSchema.from_names(["x"]), images=np.zeros((1, 3, 32, 32), np.uint8))
    with pytest.raises(LabelError, match="harmonise"):
        tiny_model.calibrate(other)


def test_one_image_fits_a_calibration_but_no_guarantee(tiny_model: CellClassifier, val: CellDataset) -> None:
    one = val.subset([0])
    for method in CALIBRATORS:
        tiny_model.calibrate(one, method)
        assert np.isfinite(tiny_model.predict(val).probabilities).all()
    donor = val.with_groups(np.zeros(128, int))
    for data, guarantee in ((one, {"coverage": 0.9}), (donor, {"coverage": 0.5}), (donor, {"risk": 0.5})):
        with pytest.raises(DataError, match=r"a guarantee needs two independent groups; give more donors"):
            tiny_model.calibrate(data, **guarantee)


def test_evaluate_calibrates_first(tiny_model: CellClassifier, easy: CellDataset) -> None:
    test = load_dataset("synthetic", per_class=4, image_size=32, seed=6)
    report = evaluate(tiny_model, test, calibrate_on=easy, calibration="vector", risk=0.5, coverage=0.8)
    assert report.settings["calibration"] == "vector"
    assert report.notes[-2].startswith(str(tiny_model.risk_control))
    sets = tiny_model.predict(test).sets
    assert sets is not None
    assert report.predictions.sets == sets
    names = [test.labels.names[target] for target in test.targets]
    covered = [name in one for name, one in zip(names, sets, strict=True)]
    assert report.metrics["set_coverage"].value == pytest.approx(np.mean(covered))
    assert report.metrics["set_size"].value == pytest.approx(np.mean([len(one) for one in sets]))
    assert "true class in the prediction set" in str(report)


@pytest.mark.parametrize("given", [{"risk": 0.1}, {"coverage": 0.9}, {"calibration": "vector"}])
def test_a_guarantee_without_validation_images_is_refused(
    tiny_model: CellClassifier, val: CellDataset, given: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match="calibrate_on="):
        evaluate(tiny_model, val, **given)  # type: ignore[arg-type]


def test_a_promise_holds_only_for_predictions_as_it_was_fitted_on(
    tiny_model: CellClassifier, easy: CellDataset
) -> None:
    for fitted in (False, True):
        tiny_model.tta = fitted
        calibrate(tiny_model, easy, coverage=0.5)
        assert len(guarantees(tiny_model)) == 1
        check_promised(tiny_model, coverage=0.5)
        tiny_model.tta = not fitted
        assert guarantees(tiny_model) == []
        with pytest.raises(ConfigError, match=f"fitted {'with' if fitted else 'without'} test-time augmentation"):
            check_promised(tiny_model, coverage=0.5)


def test_an_adapted_model_promises_nothing(tiny_model: CellClassifier, easy: CellDataset) -> None:
    calibrate(tiny_model, easy, risk=0.5, coverage=0.8)
    adapted = tiny_model.adapt(easy)
    assert (adapted.risk_control, adapted.sets) == (None, None)
    assert tiny_model.sets is not None
