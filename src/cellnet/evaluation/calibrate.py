"""Fit what a model says of itself on a validation part: probabilities, abstention and prediction sets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.inference import PredictionSets, RiskControl, energy_score, fit_thresholds, likely_start
from cellnet.inference.conformal import check_share
from cellnet.inference.ood import familiar_up_to
from cellnet.inference.predictor import predict
from cellnet.models import CALIBRATORS
from cellnet.registry import check_name

if TYPE_CHECKING:
    import torch

    from cellnet.datasets import CellDataset
    from cellnet.models import CellClassifier


def calibrate(
    model: CellClassifier,
    dataset: CellDataset,
    method: str | None = "temperature",
    *,
    risk: float | None = None,
    coverage: float | None = None,
    by_class: bool = True,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> None:
    """Fit calibration and abstention on labelled images, and store them on the model in place of what it had.

    Without more, the model abstains where its probability, or its distance or energy, is outside what these images
    showed (`fit_thresholds`). ``risk`` and ``coverage`` ask for guarantees. The images that prove one may not have
    chosen the probabilities, so that one half of them then fits the calibration, and the other half everything else;
    identical images and images of one group stay together. A guarantee holds to the letter if the images did not
    choose the epoch either.

    Args:
        model: ``model.calibrator``, ``thresholds``, ``risk_control`` and ``sets`` change; nothing does on an error.
        dataset: Images with the model's classes that it did not learn from, never the test part.
        method: ``"temperature"``, ``"vector"`` or ``"isotonic"``, see `cellnet.models.calibrators`. None keeps the
            calibration that the model has, so that all images go into the guarantee; it must come of other images.
        risk: Largest share of the accepted images that may be wrong, with 95 % confidence, see `RiskControl`.
        coverage: How often the true class must be in the set of classes that cannot be excluded, see
            `PredictionSets`.
        by_class: Whether ``coverage`` holds for the images of each class, or only for all together.
        batch_size: Images at a time.
        device: Where to compute, e.g. ``"cuda"``; default: where the model is.
        progress: Show a progress bar on standard error.

    Raises:
        ConfigError: A test part, a risk or coverage that is not between 0 and 1, or no `CellClassifier`.
        LabelError: The images have other classes than the model; the message names the call that harmonises.
        UnknownNameError: An unknown method.
        DataError: No readable image, or a guarantee that these cannot give.

    Example:
        >>> from cellnet import create_model, load_dataset
        >>> cells = load_dataset("synthetic", per_class=4, image_size=32)
        >>> model = create_model("cnn", cells.labels, image_size=32)
        >>> calibrate(model, cells, coverage=0.5)
        >>> 1 <= len(model.predict(cells.image(0))[0].set) <= 8
        True
    """
    for name, share in (("risk", risk), ("coverage", coverage)):
        if share is not None:
            check_share(name, share)
    check_classes(model, dataset, "dataset")
    kind = None if method is None else CALIBRATORS[check_name("calibration", method, CALIBRATORS)]
    if dataset.part == "test":
        raise ConfigError(
            "This is a test part, whose images must not choose calibration and thresholds; give the validation part."
        )
    predictions = predict(model, dataset, batch_size=batch_size, device=device, progress=progress)
    known = predictions.readable
    if not known.any():
        raise DataError("None of the images to calibrate on could be read; check their files.")

    first = second = known
    if kind and (risk is not None or coverage is not None):
        first, second = _halves(dataset, known)
    calibrator = kind.fit(predictions.logits[first], dataset.targets[first]) if kind else model.calibrator
    logits, targets = predictions.logits[second], dataset.targets[second]
    strangeness = predictions.ood[second] if model.familiarity else energy_score(logits, calibrator.temperature)
    thresholds = fit_thresholds(logits, targets, calibrator, strangeness if model.familiarity else None)
    probabilities = calibrator.apply(logits)
    control, sets = None, None
    if risk is not None:
        # What is too strange is not accepted, whatever its probability.
        familiar = strangeness <= familiar_up_to(thresholds)
        others = calibrator.apply(predictions.logits[first]), dataset.targets[first]
        start = likely_start(*others, risk) if kind else 0.5
        control = RiskControl.fit(probabilities[familiar], targets[familiar], risk, start=start)
        control = replace(control, tta=model.tta)
        if control.threshold is None:
            half = " (They are half of those given: the others fit the probabilities.)" if kind else ""
            raise DataError(f"{control}{half}")
        thresholds["probability"] = control.threshold
    if coverage is not None:
        sets = replace(PredictionSets.fit(probabilities, targets, coverage, by_class=by_class), tta=model.tta)
    model.calibrator, model.thresholds, model.risk_control, model.sets = calibrator, thresholds, control, sets


def check_classes(model: CellClassifier, dataset: CellDataset, argument: str) -> None:
    """Refuse what is no model with classes, images that are none, or whose classes are not the model's.

    Raises:
        ConfigError: No `CellClassifier`; the message says how to judge another network.
        LabelError: Other classes; the message names the call that harmonises.
        DataError: No images.
    """
    if getattr(model, "labels", None) is None:
        raise ConfigError(
            f"The model is a {type(model).__name__}, but a CellClassifier is needed. Write the predictions of another "
            "network into a CSV file with the columns file, target and one of probabilities for each class, and judge "
            "it by `cellnet evaluate --predictions FILE.csv`."
        )
    if dataset.labels.hash != model.labels.hash:
        raise LabelError(
            f"{argument} has the classes {', '.join(dataset.labels.names)}, but the model has "
            f"{', '.join(model.labels.names)}; evaluate on dataset.harmonise(model.labels)."
        )
    if not len(dataset):
        raise DataError(f"{argument} has no images; check how it was chosen or split.")


def _halves(dataset: CellDataset, known: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The readable images in two halves of like classes; what belongs together is in one."""
    units = dataset.units()
    leaders = np.unique(units[known])
    if len(leaders) < 2:
        raise DataError(
            f"The {known.sum():,} readable images are one group, or one image, but a guarantee needs two independent "
            "groups; give more donors, or leave risk and coverage out."
        )
    shuffled = leaders[np.argsort(np.random.PCG64(0).random_raw(len(leaders)))]
    # Every other one in the order of their classes; an odd one goes to the half that proves the guarantee.
    by_label = shuffled[np.argsort(dataset.targets[shuffled], kind="stable")]
    second = np.isin(units, by_label[::2])
    return known & ~second, known & second
