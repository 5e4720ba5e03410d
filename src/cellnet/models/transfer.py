"""A trained model as the start of another training: on other images, and for other classes."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from cellnet.backbones import check_image_size
from cellnet.labels import LabelSchema, as_schema
from cellnet.models.heads import last_linear

if TYPE_CHECKING:
    from cellnet.models.classifier import CellClassifier


def transfer(
    model: CellClassifier,
    labels: LabelSchema | None = None,
    *,
    image_size: int | None = None,
    crop: float | None = None,
) -> CellClassifier:
    """A copy of a trained model to train on: transfer learning, or fine-tuning.

    All layers keep their weights. Where the classes differ, the last one keeps the rows of those that both know by name
    or synonym, and has new, random ones for the others.

    Args:
        model: The model, which stays as it is.
        labels: The classes of the copy, the model's own where None.
        image_size: Side of the images in pixels; the model's own where None.
        crop: Share of each image's shorter side that is seen, see `Preprocess`; the model's own where None.

    Returns:
        The copy, in training mode and with nothing frozen. What was fitted or measured on the old images is gone:
        probabilities, thresholds, probes, golden logits, card. Its ``origins`` tell on which images it has learned, so
        that none of them becomes a test image unnoticed.

    Raises:
        ConfigError: An image size that the network does not take, or a value out of range.
        LabelError: Labels that are no schema, or other classes and a head without a last linear layer.

    Example:
        >>> from cellnet.labels import PBC_LABELS
        >>> from cellnet.models import create_model
        >>> model = create_model("cnn", image_size=32)
        >>> transfer(model, LabelSchema.from_names(["neutrophil", "blast"])).labels.names
        ('neutrophil', 'blast')
    """
    copied = copy.deepcopy(model)
    copied.unfreeze_backbone()
    if image_size is not None and image_size != model.preprocess.image_size:
        check_image_size(copied.backbone, image_size)
    size, cut = model.preprocess.image_size, model.preprocess.crop
    copied.preprocess = replace(
        model.preprocess, image_size=size if image_size is None else image_size, crop=cut if crop is None else crop
    )
    if labels is not None:
        _relabel(copied, as_schema(labels))
    copied.forget_weights()
    copied.origins = (model.weights_card,)
    return copied.requires_grad_(True).train()


def _relabel(model: CellClassifier, labels: LabelSchema) -> None:
    """Give the last layer a row for each of these classes."""
    known = [model.labels.find(name) for name in labels.names]
    if known != list(range(len(model.labels))):
        last = last_linear(model.head, len(model.labels))
        new = nn.Linear(last.in_features, len(labels), bias=last.bias is not None).to(last.weight)
        with torch.no_grad():
            for row, old in enumerate(known):
                if old is not None:
                    new.weight[row] = last.weight[old]
                    if last.bias is not None:
                        new.bias[row] = last.bias[old]
        last.weight, last.bias, last.out_features = new.weight, new.bias, len(labels)
    model.labels = labels
