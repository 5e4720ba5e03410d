"""Judge a model on labelled images, with an honest protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cellnet.errors import ConfigError, DataError, ImageError
from cellnet.evaluation.calibrate import calibrate, check_classes
from cellnet.evaluation.report import Report
from cellnet.inference import guarantees
from cellnet.inference.predictor import predict

if TYPE_CHECKING:
    import torch

    from cellnet.datasets import CellDataset
    from cellnet.models import CellClassifier

UPPER_BOUND = (
    "Image-level split without donor or slide ids: cells of one donor may stand both here and among the "
    "training images, so the figures are an upper bound of what a new patient would get."
)
SOME_GROUPS = (
    "Images of one group are kept together, but not every image has a group: of the others neither donor nor slide is "
    "known, and cells of one donor may stand both here and among the training images, so the figures are an upper "
    "bound of what a new patient would get."
)
SMALL_GROUPS = (
    "The groups of these images need not be donors, since no donor is known: where a group is smaller, as a photograph "
    "is, cells of one donor may stand both here and among the training images, and the figures are an upper bound of "
    "what a new patient would get."
)
TRAINING_PART = "These are training images: the figures say nothing about new ones."


def evaluate(
    model: CellClassifier,
    dataset: CellDataset,
    *,
    calibrate_on: CellDataset | None = None,
    calibration: str | None = "temperature",
    risk: float | None = None,
    coverage: float | None = None,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    progress: bool = False,
    features: bool = False,
    title: str | None = None,
    history: Sequence[Mapping[str, Any]] | None = None,
    best_epoch: int | None = None,
    settings: Mapping[str, Any] | None = None,
    subgroups: Mapping[str, Sequence[Any]] | None = None,
) -> Report:
    """Predict a labelled data set and score the predictions; every figure has a 95 % interval.

    With ``calibrate_on``, calibration and abstention are first fitted there and stored on the model, in place of
    those that it had: `calibrate`.

    Args:
        model: The model; what `calibrate` fits changes if ``calibrate_on`` is given.
        dataset: Images to judge on, with the model's classes. Unreadable ones are counted, not scored.
        calibrate_on: Validation images, never those of the test part.
        calibration: How probabilities are fitted there: ``"temperature"``, ``"vector"`` or ``"isotonic"``; None keeps
            the model's own.
        risk: Largest share of accepted images that may be wrong, guaranteed with 95 % confidence; see `calibrate`.
        coverage: How often the true class must be in the prediction set, for the images of each class; see
            `calibrate`.
        batch_size: Images at a time.
        device: Where to compute, e.g. ``"cuda"``; default: where the model is.
        progress: Show a progress bar on standard error.
        features: Keep the backbone's features in the predictions, and show in the report how the images lie in them.
        title: Headline of the report; default: the data set's.
        history: Rows of `Trainer.fit`, for the curves.
        best_epoch: The epoch whose weights these are, to be marked in them.
        settings: How the model came about, shown under "To reproduce this" behind what is known here: the weights, and
            the hash of the data set.
        subgroups: What tells the images apart beside their class -> its value for each image, such as
            ``{"stain": ["MGG", "Wright", ...]}``: each part is judged by itself too. None takes what the data set
            offers (`CellDataset.subgroups`), ``{}`` nothing.

    Raises:
        LabelError: A data set has other classes than the model; the message names the call that harmonises.
        ConfigError: ``calibrate_on`` is a test part, or a guarantee is asked for without it.
        DataError: A data set is empty or wholly unreadable, the two share images, a risk cannot be guaranteed, or a
            subgroup has not one value an image.

    Example:
        >>> from cellnet import create_model, load_dataset
        >>> cells = load_dataset("synthetic", per_class=2, image_size=32)
        >>> report = evaluate(create_model("cnn", cells.labels, image_size=32), cells)
        >>> report.n
        16
    """
    check_classes(model, dataset, "dataset")
    options: dict[str, Any] = {"batch_size": batch_size, "device": device, "progress": progress}
    if calibrate_on is not None:
        check_classes(model, calibrate_on, "calibrate_on")
        _check_apart(dataset, calibrate_on)
        calibrate(model, calibrate_on, calibration, risk=risk, coverage=coverage, **options)
    elif (calibration, risk, coverage) != ("temperature", None, None):
        raise ConfigError("calibration, risk and coverage are fitted on validation images; give them as calibrate_on=.")
    name = dataset.card.title if dataset.card else ""
    return Report.from_predictions(
        predict(model, dataset, features=features, **options),
        title=title or (f"Evaluation on {name}" if name else "Evaluation"),
        dataset=name,
        part=dataset.part,
        notes=(*_notes(model, dataset), *guarantees(model)),
        settings={**_settings(model, dataset, calibrate_on), **(settings or {})},
        history=history,
        best_epoch=best_epoch,
        images=dataset.image,
        subgroups=dataset.subgroups() if subgroups is None else subgroups,
    )


def _check_apart(dataset: CellDataset, calibrate_on: CellDataset) -> None:
    shared = np.isin(calibrate_on.content_hashes(), dataset.content_hashes())
    if shared.any():
        example = calibrate_on.files[int(shared.argmax())]
        raise DataError(
            f"{int(shared.sum())} images of calibrate_on, e.g. {example}, are also among those to judge on; "
            "give another part, as dataset.split() makes them."
        )


def _notes(model: CellClassifier, dataset: CellDataset) -> tuple[str, ...]:
    card, weights = dataset.card, model.weights_card
    # What concerns the donors limits the figures most.
    known = sorted(card.known_defects, key=lambda defect: "donor" not in defect) if card else []
    defects = tuple(f"Known of these data: {defect}." for defect in known)
    if dataset.part == "train":
        return (TRAINING_PART, *defects)
    trained_on_it = card is not None and weights is not None and card.name == weights.training_data
    if not (dataset.part or trained_on_it):
        return defects
    donors_unknown = any("donor" in defect for defect in known)
    if dataset.groups is None:
        return (UPPER_BOUND, *defects) if card is None or donors_unknown else defects
    # An audit gives a group to those images alone that have a double.
    if None in dataset.groups.tolist():
        return (SOME_GROUPS, *defects)
    return (SMALL_GROUPS, *defects) if donors_unknown else defects


def _settings(model: CellClassifier, dataset: CellDataset, calibrate_on: CellDataset | None) -> dict[str, Any]:
    """What was judged on what, and what the probabilities and abstentions rest on."""
    facts: dict[str, Any] = {}
    if (card := model.weights_card) is not None:
        facts["weights"] = f"{card.name}, version {card.version}"
        if card.training_data:
            facts["trained on"] = f"{card.training_data} ({card.training_data_hash or 'no hash'})"
    facts |= {
        "data set hash": _fingerprint(dataset),
        "model": str(model.architecture.get("backbone", "")),
        "calibration": model.calibrator.method,
        "temperature": model.temperature,
    }
    facts |= {f"threshold.{name}": value for name, value in model.thresholds.items()}
    if calibrate_on is not None:
        part = f", part {calibrate_on.part}" if calibrate_on.part else ""
        facts["calibrated on"] = f"{len(calibrate_on):,} images{part}"
    return facts


def _fingerprint(dataset: CellDataset) -> str:
    try:
        return dataset.fingerprint()
    except ImageError:  # a file that cannot be opened is counted, and does not stop an evaluation
        return "none: not every file can be read"
