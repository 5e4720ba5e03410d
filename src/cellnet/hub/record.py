"""What is known of weights grows: reports written into the card of a checkpoint folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cellnet.cards import WeightsCard
from cellnet.errors import DataError, LabelError
from cellnet.files import write_text
from cellnet.hub.card import render_card
from cellnet.hub.checkpoint import README, load
from cellnet.hub.config import CheckpointConfig
from cellnet.labels import LabelSchema

if TYPE_CHECKING:
    from cellnet.evaluation import Report


def record(folder: str | os.PathLike[str], report: Report, *, note: str = "") -> WeightsCard:
    """Add a report to the card of a checkpoint folder: one scoring more, its figures beside those before.

    Args:
        folder: A checkpoint folder of one's own.
        report: From images that the model was not trained on, e.g. another laboratory's.
        note: How it was done, where that is not plain.

    Returns:
        The card as it stands in the folder now.

    Raises:
        DataError: The report judges training images.
        LabelError: The report is about other classes than the model's.
        WeightsError: The folder is no whole checkpoint.
        ConfigError: It cannot be written.
    """
    path = Path(folder)
    model, config = load(path), CheckpointConfig.read(path)
    check_report(report, model.labels)
    scoring = report.scoring(version=config.card.version, note=note)
    card = replace(config.card, scorings=(*config.card.scorings, scoring))
    write_text(path / README, render_card(card, model, source=f"./{path.resolve().name}", storage=config.storage))
    replace(config, card=card).write(path)
    return card


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
