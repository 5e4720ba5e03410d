"""What the scripts beside this one have in common: the parts that a model was trained on, and how rows are kept."""

from __future__ import annotations

import runpy
from pathlib import Path

from cellnet.datasets import CellDataset
from cellnet.errors import DataError
from cellnet.models import CellClassifier

RESULTS = Path(__file__).parents[1] / "results"

_COLLECT = runpy.run_path(str(Path(__file__).parents[1] / "accuracy" / "collect.py"))
machine_facts, replace_rows = _COLLECT["machine_facts"], _COLLECT["replace_rows"]

Parts = tuple[CellDataset, CellDataset, CellDataset]
"""Training, validation and test part."""


def own_parts(model: CellClassifier, parts: Parts) -> Parts:
    """The parts, if the first is what the model was trained on.

    Raises:
        DataError: The card names other training images.
    """
    card = model.weights_card
    if card is not None and card.training_data_hash not in ("", parts[0].fingerprint()):
        raise DataError(
            f"{card.name} was trained on other images (hash {card.training_data_hash}) than the first part of these "
            f"data ({parts[0].fingerprint()}): what seems new to it here may not be; give the data of its card."
        )
    return parts
