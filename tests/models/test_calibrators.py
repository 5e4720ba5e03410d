from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from cellnet.errors import CellnetError, ConfigError, DataError, LabelError, UnknownNameError
from cellnet.evaluation.calibration import expected_calibration_error, negative_log_likelihoods
from cellnet.models import CALIBRATORS, Calibrator, IsotonicCalibration, TemperatureScaling, VectorScaling


def case(n: int = 600, classes: int = 4, seed: int = 0, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets drawn from their softmax, then made too sharp by a factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (n, classes))
    targets = (logits + rng.gumbel(size=logits.shape)).argmax(1)  # a draw from the softmax
    return logits * sharpness, targets


def loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    return float(negative_log_likelihoods(probabilities, targets).mean())


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 2.5])
def test_temperature_minimises_the_likelihood(sharpness: float) -> None:
    logits, targets = case(sharpness=sharpness)

    def at(t: float) -> float:
        return -log_softmax(logits / t, 1)[np.arange(len(targets)), targets].mean()

    expected = minimize_scalar(at, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9}).x
    fitted = TemperatureScaling.fit(logits, targets).temperature
    assert fitted == pytest.approx(expected, rel=1e-5)
    assert fitted == pytest.approx(sharpness, rel=0.2)


def test_temperature_without_errors_is_one() -> None:
    assert TemperatureScaling.fit([[5.0, 0.0], [0.0, 0.1]], [0, 1]).temperature == 1.0


def test_temperature_stays_in_its_range() -> None:
    assert TemperatureScaling.fit([[5.0, 0.0]] * 3, [1, 1, 1]).temperature == pytest.approx(20)
    assert TemperatureScaling.fit([[1000.0, 0.0], [0.0, 1000.0]], [0, 0]).temperature == pytest.approx(20)
    # One mistake by a hair among many easy images: as sharp as allowed.
    logits, targets = [[0.02, 0.0]] * 500 + [[0.0, 1e-6]], [0] * 501
    assert TemperatureScaling.fit(logits, targets).temperature == pytest.approx(0.05)


def test_vector_scaling_is_the_optimum_of_its_objective() -> None:
    logits, targets = case(200, classes=3, sharpness=2)
    start = np.repeat([1 / TemperatureScaling.fit(logits, targets).temperature, 0.0], 3)

    def objective(parameters: np.ndarray) -> float:
        scores = log_softmax(logits * parameters[:3] + parameters[3:], 1)
        return -scores[np.arange(200), targets].sum() + ((parameters - start) ** 2).sum() / 2

    expected = minimize(objective, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9, "maxiter": 9999})
    fitted = VectorScaling.fit(logits, targets)
    np.testing.assert_allclose([*fitted.scale, *fitted.bias], expected.x, atol=1e-4)


def test_vector_scaling_of_two_classes_is_a_logistic_regression() -> None:
    # With many images the prior fades, and the difference of the two scores is a free linear function of the logits.
    logits, targets = case(20_000, classes=2, sharpness=2)
    theirs = LogisticRegression(C=1e9, tol=1e-8).fit(logits, targets)
    ours = VectorScaling.fit(logits, targets).apply(logits)
    np.testing.assert_allclose(ours, theirs.predict_proba(logits), atol=2e-3)


def test_isotonic_curves_are_scikit_learns_but_for_one_image() -> None:
    logits, targets = case(400, sharpness=2)
    new = case(50, seed=1, sharpness=2)[0]
    expected = np.empty((50, 4))
    for label in range(4):
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        fitted.fit(softmax(logits, 1)[:, label], targets == label)
        column = softmax(new, 1)[:, label]
        expected[:, label] = (400 * fitted.predict(column) + column) / 401
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(IsotonicCalibration.fit(logits, targets).apply(new), expected, atol=1e-6)


def test_isotonic_calibration_claims_nothing_for_certain_and_keeps_images_apart() -> None:
    logits = np.array([[3.0, 0.0]] * 30 + [[4.0, 0.0]] * 30 + [[0.0, 5.0]] * 30)
    probabilities = IsotonicCalibration.fit(logits, [0] * 60 + [1] * 30).apply(logits)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert probabilities[0, 0] < probabilities[30, 0]


@pytest.mark.parametrize("method", CALIBRATORS)
def test_every_method_repairs_what_is_too_sharp(method: str) -> None:
    logits, targets = case(3000, sharpness=3)
    new, truth = case(3000, seed=1, sharpness=3)
    calibrated = CALIBRATORS[method].fit(logits, targets).apply(new)
    assert calibrated.dtype == np.float32
    np.testing.assert_allclose(calibrated.sum(1), 1, atol=1e-6)
    assert expected_calibration_error(softmax(new, 1), truth) > 0.08
    assert expected_calibration_error(calibrated, truth) < 0.03
    assert loss(calibrated, truth) < loss(softmax(new, 1), truth) - 0.1


@pytest.mark.parametrize("method", ["vector", "isotonic"])
def test_a_class_that_is_called_too_often_is_corrected(method: str) -> None:
    logits, targets = case(3000)
    logits = np.add(logits, [2.0, 0, 0, 0])
    new, truth = case(3000, seed=1)
    new = np.add(new, [2.0, 0, 0, 0])
    fitted = {name: CALIBRATORS[name].fit(logits, targets).apply(new) for name in ("temperature", method)}
    assert loss(fitted[method], truth) < loss(fitted["temperature"], truth) - 0.05
    excess = {name: abs(table[:, 0].mean() - (truth == 0).mean()) for name, table in fitted.items()}
    assert excess[method] < excess["temperature"] / 2


@pytest.mark.parametrize("method", CALIBRATORS)
@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        ([[2.0, 0.0, -1.0]], [1]),  # one image
        ([[2.0, 0.0, -1.0], [3.0, 0.0, 0.0]], [0, 0]),  # one class only, and no error
        ([[2.0, 0.0, -1.0], [0.0, 3.0, 0.0]] * 20, [0, 1] * 20),  # a class without images
        ([[900.0, -900.0, 0.0], [0.0, 3.0, 0.0]] * 20, [0, 1] * 20),  # beyond what exp can say
        ([[1.0, 1.0, 1.0]] * 9, [0, 1, 2] * 3),  # nothing to go by
    ],
)
def test_few_images_still_give_probabilities(method: str, logits: list[list[float]], targets: list[int]) -> None:
    probabilities = CALIBRATORS[method].fit(logits, targets).apply([*logits, [0.0, 0.0, 50.0], [np.nan] * 3])
    assert np.isnan(probabilities[-1]).all()
    np.testing.assert_allclose(probabilities[:-1].sum(1), 1, atol=1e-6)
    assert (probabilities[:-1] >= 0).all()
    assert probabilities[-2].argmax() == 2  # also where no image of class 2 was seen


def test_a_schema_of_one_class() -> None:
    for kind in CALIBRATORS.values():
        assert kind.fit(np.zeros((3, 1)), [0, 0, 0]).apply([[7.0]]).tolist() == [[1.0]]


@pytest.mark.parametrize("method", CALIBRATORS)
def test_no_images_to_apply_to(method: str) -> None:
    assert CALIBRATORS[method].fit(*case(50)).apply(np.empty((0, 4))).shape == (0, 4)


@pytest.mark.parametrize("method", CALIBRATORS)
@pytest.mark.parametrize(
    ("logits", "targets", "error", "message"),
    [
        (np.empty((0, 2)), [], LabelError, "no image"),
        ([[1.0, 2.0]], [0, 1], LabelError, "N×C"),
        ([1.0, 2.0], [0, 1], LabelError, "N×C"),
        ([[1.0, 2.0]], [2], LabelError, "2 classes"),
        ([[1.0, np.nan]], [0], DataError, "not finite"),
    ],
)
def test_what_cannot_be_fitted_on(method: str, logits, targets, error: type[CellnetError], message: str) -> None:
    with pytest.raises(error, match=message):
        CALIBRATORS[method].fit(logits, targets)


@pytest.mark.parametrize("method", CALIBRATORS)
def test_json_and_back(method: str) -> None:
    fitted = CALIBRATORS[method].fit(*case(300))
    data = json.loads(json.dumps(fitted.to_dict(), allow_nan=False))
    assert data["method"] == method
    assert Calibrator.from_dict(data) == fitted


CURVE = {"method": "isotonic", "probability": [[0, 0.5, 1]], "share": [[0, 0.2, 0.9]]}


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({}, UnknownNameError, "calibration ''"),
        ({"method": "isotonc"}, UnknownNameError, "Did you mean 'isotonic'"),
        ({"method": "temperature", "temperature": 0.0}, ConfigError, "above 0"),
        ({"method": "temperature", "temperature": float("nan")}, ConfigError, "above 0"),
        ({"method": "vector", "scale": [1.0]}, ConfigError, "incomplete"),
        ({"method": "vector", "scale": [1.0], "bias": [0.0, 0.0]}, ConfigError, "1 scales and 2 biases"),
        ({"method": "vector", "scale": [0.0], "bias": [0.0]}, ConfigError, "scale holds 0"),
        ({"method": "vector", "scale": [float("nan")], "bias": [0.0]}, ConfigError, "scale holds nan"),
        ({"method": "vector", "scale": "1", "bias": [0.0]}, ConfigError, "scale is '1'"),
        ({"method": "vector", "scale": [], "bias": []}, ConfigError, r"scale is \[\]|scale is \(\)"),
        ({"method": "vector", "scale": [1.0], "bias": [0.0], "slope": 1}, UnknownNameError, "'slope'"),
        (CURVE | {"probability": 0.5}, ConfigError, "probability of the curves is 0.5"),
        (CURVE | {"probability": [[0, 0.5, 0.5]]}, ConfigError, "must rise"),
        (CURVE | {"probability": [[0, 0.5, 0.9]]}, ConfigError, "must rise"),
        (CURVE | {"share": [[0, 0.9, 0.2]]}, ConfigError, "must rise"),
        (CURVE | {"share": [[0, 0.2, 1.1]]}, ConfigError, "share holds 1.1"),
        (CURVE | {"share": [[0, 0.2]]}, ConfigError, "as many shares"),
    ],
)
def test_numbers_that_no_fit_gave(data: dict[str, object], error: type[CellnetError], message: str) -> None:
    with pytest.raises(error, match=message):
        Calibrator.from_dict(data)
