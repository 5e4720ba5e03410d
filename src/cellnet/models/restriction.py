"""A model that knows only some of its classes, for images among which there can be no others."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn

from cellnet.errors import ConfigError, LabelError
from cellnet.labels import LabelSchema
from cellnet.models.calibrators import Calibrator, VectorScaling
from cellnet.models.heads import last_linear

if TYPE_CHECKING:
    from cellnet.models.classifier import CellClassifier


def restrict(model: CellClassifier, names: Iterable[str]) -> CellClassifier:
    """A copy of a model that answers with some of its classes only.

    That no other class occurs is knowledge, of a set that was sorted beforehand say, and the user's to state: a cell of
    a class that was left out is given one of the others. Logits of the classes that stay do not change; their
    probabilities grow by what the others had.

    Args:
        model: The model, which stays as it is.
        names: The classes to keep, by name or synonym, in any order; the copy has them in the model's order.

    Returns:
        The copy, in evaluation mode. It has no card, no golden logits, no prediction sets and no guarantee, and of the
        thresholds only the one for the distance, since the others were chosen for more classes: calibrate it anew
        where abstention matters.

    Raises:
        LabelError: Fewer than two classes, or a head without a last linear layer.
        UnknownNameError: A class that the model does not know.
        ConfigError: A calibration whose probabilities hold for all classes together, as isotonic calibration's do.

    Example:
        >>> from cellnet.models import create_model
        >>> restrict(create_model("cnn"), ["lymphocyte", "monocyte"]).labels.names
        ('lymphocyte', 'monocyte')
    """
    kept = sorted({model.labels.index(name) for name in names})
    if len(kept) < 2:
        raise LabelError(
            f"A model needs two classes to choose from, not {len(kept)}; name some of {', '.join(model.labels.names)}."
        )
    calibrator = _calibrator(model.calibrator, kept)
    copied = copy.deepcopy(model).eval()
    last = last_linear(copied.head, len(model.labels))
    with torch.no_grad():
        last.weight = nn.Parameter(last.weight[kept].clone())
        if last.bias is not None:
            last.bias = nn.Parameter(last.bias[kept].clone())
    last.out_features = len(kept)
    copied.labels = LabelSchema(f"{model.labels.name}, restricted", tuple(model.labels.classes[i] for i in kept))
    copied.calibrator = calibrator
    copied.thresholds = {name: value for name, value in model.thresholds.items() if name == "distance"}
    copied.forget()
    return copied


def _calibrator(fitted: Calibrator, kept: list[int]) -> Calibrator:
    """What turns the logits of the classes that stay into probabilities that keep their ratios."""
    if fitted.num_classes in (None, len(kept)):
        return fitted
    if isinstance(fitted, VectorScaling):
        return VectorScaling([fitted.scale[i] for i in kept], [fitted.bias[i] for i in kept])
    raise ConfigError(
        f"The {fitted.method} calibration of this model reads the softmax over all its {fitted.num_classes} classes, "
        "which a model of fewer has not. Calibrate it by temperature or vector scaling, or set model.temperature = 1.0 "
        "and calibrate the restricted model."
    )
