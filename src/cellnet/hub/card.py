"""The README of a checkpoint folder: its `WeightsCard` in words, figures never without their interval."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cellnet.cards import WeightsCard

if TYPE_CHECKING:
    from cellnet.models import CellClassifier

_STORAGE = {"float32": "32-bit floats", "float16": "16-bit floats", "int8": "one byte a weight with scales"}

_LOCAL = """
The argument is the path of this folder, or the folder's name where it ships with cellnet or stands in the
folder that the variable `CELLNET_WEIGHTS` names.
"""

_HUB_METRICS = {"accuracy": "accuracy", "macro_f1": "f1", "macro_precision": "precision", "macro_recall": "recall"}
"""cellnet's names of figures and the Hub's."""


def render_card(card: WeightsCard, model: CellClassifier, *, source: str, storage: str) -> str:
    """Markdown for people who find the folder, headed by what the Hub reads.

    Args:
        card: Facts about the weights.
        model: The model that they belong to.
        source: What `cellnet.load_pretrained` is given: the path of the folder, or its address on the Hub.
        storage: How the weights are stored.
    """
    size = model.preprocess.image_size
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"""---
{_front_matter(card)}
---

# {card.name}

**For research use only.** Not a medical device; not for diagnosis.

A classifier of single blood-cell images, made with cellnet.

```python
import cellnet
model = cellnet.load_pretrained("{source}")
model.predict("smears/").to_csv("predictions.csv")
```
{"" if source.startswith("hf://") else _LOCAL}
## Figures

{_metrics(card)}

## Limits

{_limits(card)}

## Facts

{_facts(card, parameters, size, storage)}

## Classes

| class | lineage | looks |
|---|---|---|
{_classes(model)}
"""


def _front_matter(card: WeightsCard) -> str:
    """YAML by which the Hub files the model."""
    from huggingface_hub import ModelCardData

    # The Hub knows licences by their SPDX identifiers in small letters, and calls any other thing "other".
    known = re.fullmatch(r"[\w.+-]+", card.licence) is not None
    facts: dict[str, Any] = {} if known else {"license_name": "see-below"}
    data = ModelCardData(
        license=card.licence.lower() if known else "other",
        library_name="cellnet",
        pipeline_tag="image-classification",
        tags=["haematology", "blood-cells", "microscopy", "research-use-only"],
        metrics=[theirs for ours, theirs in _HUB_METRICS.items() if ours in card.metrics] or None,
        **facts,
    )
    return data.to_yaml().strip()


def _metrics(card: WeightsCard) -> str:
    if not card.metrics:
        return "None were measured: treat these weights as untested."
    rows = "\n".join(
        f"| {name} | {figure['value']:.4f} | {figure['low']:.4f} – {figure['high']:.4f} |"
        for name, figure in card.metrics.items()
    )
    images = f"{card.num_test_images:,}" if card.num_test_images else "an unknown number of"
    return f"Measured on {images} test images.\n\n| figure | value | 95 % interval |\n|---|---|---|\n{rows}"


def _limits(card: WeightsCard) -> str:
    always = (
        "Figures hold for images like the training images: other stains, microscopes, laboratories or image "
        "crops can be much worse.",
        "Probabilities were calibrated, if at all, on images of the same source: elsewhere they are too confident.",
        "The model knows no other classes than those below, and gives every image one of them.",
    )
    return "\n".join(f"- {limit}" for limit in (*card.limits, *always))


def _facts(card: WeightsCard, parameters: int, size: int, storage: str) -> str:
    facts = {
        "Version": card.version,
        "Licence": card.licence,
        "Training data": card.training_data,
        "Hash of the training data": card.training_data_hash,
        "Split": card.split,
        "Starting weights": card.starting_weights,
        "Command": f"`{card.command}`" if card.command else "",
        "Parameters": f"{parameters:,}, stored as {_STORAGE[storage]}",
        "Image size": f"{size} × {size} pixels",
    }
    return "\n".join(f"- {name}: {value or 'not stated'}" for name, value in facts.items())


def _classes(model: CellClassifier) -> str:
    return "\n".join(f"| {cell.name} | {cell.lineage} | {cell.description} |" for cell in model.labels)
