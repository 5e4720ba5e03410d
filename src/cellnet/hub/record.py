"""What is known of weights grows: reports written into a checkpoint folder, and what was fitted beside the weights."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cellnet.cards import WeightsCard
from cellnet.errors import DataError, LabelError, WeightsError
from cellnet.files import write_text
from cellnet.hub.card import render_card
from cellnet.hub.checkpoint import README, load, new_folder
from cellnet.hub.config import CheckpointConfig
from cellnet.hub.sharing import PROBES
from cellnet.hub.storage import EXACT, pack
from cellnet.labels import LabelSchema
from cellnet.tensors import write_tensors

if TYPE_CHECKING:
    from cellnet.evaluation import Report
    from cellnet.models import CellClassifier


def record(folder: str | os.PathLike[str], report: Report, *, note: str = "", headline: bool = False) -> WeightsCard:
    """Add a report to the card of a checkpoint folder: one scoring more, its figures beside those before.

    Args:
        folder: A checkpoint folder of one's own.
        report: From images that the model was not trained on, e.g. another laboratory's.
        note: How it was done, where that is not plain.
        headline: The report judges the test part anew, e.g. after `refit`: its figures become those that the card
            states first. The ones before stay among its scorings.

    Returns:
        The card as it stands in the folder now.

    Raises:
        DataError: The report judges training images, or is to be the headline and does not judge a test part.
        LabelError: The report is about other classes than the model's.
        WeightsError: The folder is no whole checkpoint.
        ConfigError: It cannot be written.
    """
    path = Path(folder)
    model, config = load(path), CheckpointConfig.read(path)
    check_report(report, model.labels)
    if headline and report.part != "test":
        raise DataError("Only a test part gives the headline of a card; evaluate that part, or leave out headline.")
    scoring = report.scoring(version=config.card.version, note=note)
    card = replace(config.card, scorings=(*config.card.scorings, scoring))
    if headline:
        card = replace(card, metrics=scoring.metrics, num_test_images=scoring.images)
    write_text(path / README, render_card(card, model, source=f"./{path.resolve().name}", storage=config.storage))
    replace(config, card=card).write(path)
    return card


def refit(model: CellClassifier, folder: str | os.PathLike[str]) -> Path:
    """Write what was fitted beside the weights anew: probes, calibration, thresholds, prediction sets.

    The weights file stays as it is to the byte, and so do card, golden logits and folders that share the weights. The
    probes go into a file of their own, ``probes.safetensors``. What the card says of abstention was measured before:
    evaluate the test part anew, and `record` that as its headline.

    Args:
        model: What `load` made of the folder, fitted anew.
        folder: The folder, which changes as a whole or not at all.

    Returns:
        The folder.

    Raises:
        WeightsError: The folder is no whole checkpoint, or the model has other weights, classes or images.
        ConfigError: It cannot be written.
    """
    path = Path(folder)
    stored, config = load(path), CheckpointConfig.read(path)
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(EXACT)}
    there = stored.state_dict()
    same = all(name in there and torch.equal(there[name], tensor.cpu()) for name, tensor in own.items())
    if not same or {**model.architecture, "probes": None} != {**stored.architecture, "probes": None}:
        raise WeightsError(f"The model is not that of {path}, which it was to be written into; save it elsewhere.")
    probes = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(EXACT)}
    with new_folder(path) as temporary:
        for file in path.iterdir():
            shutil.copy2(file, temporary / file.name)
        replace(
            config,
            architecture=model.architecture,
            calibrator=model.calibrator,
            thresholds={key: float(value) for key, value in model.thresholds.items()},
            risk_control=model.risk_control,
            sets=model.sets,
            probes=write_tensors(temporary / PROBES, pack(probes, config.storage)),
        ).write(temporary)
        text = render_card(config.card, model, source=f"./{path.resolve().name}", storage=config.storage)
        write_text(temporary / README, text)
    return path


def check_report(report: Report, labels: LabelSchema) -> None:
    """Refuse a report that says nothing about these weights.

    Raises:
        DataError: It judges training images.
        LabelError: It is about other classes.
    """
    if report.part == "train":
        raise DataError("The report judges the training part, which says nothing about new images; judge another.")
    if report.schema.hash != labels.hash:
        raise LabelError("The report is about other classes than the model's; evaluate this model.")
