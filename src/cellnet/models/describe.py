"""A table of the models: size, features and speed on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from cellnet.errors import DataError
from cellnet.models.factory import create_model, list_models

_BATCH_SIZE = 8


def describe_models(images: Sequence[Tensor], names: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Build each model on the CPU, untrained, and send images through it.

    Args:
        images: uint8 tensors 3xHxW of any size, at least one; each model cuts and resizes them for itself.
        names: Models to describe, all of `list_models` where None.

    Returns:
        One row a model: ``name``; ``tag``, the timm weights that ``pretrained=True`` loads, empty where there
        are none; ``parameters``, head included; ``num_features``; ``input_size`` in pixels; ``ms_per_image``,
        the time of a forward pass at that size.

    Raises:
        DataError: No image.
        UnknownNameError: Unknown model.

    Example:
        >>> [row] = describe_models([torch.zeros(3, 64, 64, dtype=torch.uint8)], ["cnn"])
        >>> row["parameters"], row["num_features"], row["input_size"]
        (981288, 256, 128)
    """
    if not images:
        raise DataError("There is no image to time the models with; give at least one uint8 tensor 3xHxW.")
    return [_describe(name, images) for name in (list_models() if names is None else names)]


def _describe(name: str, images: Sequence[Tensor]) -> dict[str, Any]:
    model = create_model(name).eval()
    backbone = model.backbone
    batches = torch.split(torch.stack([model.preprocess(image) for image in images]), _BATCH_SIZE)
    with torch.inference_mode():
        model(batches[0][:1])  # untimed: the first pass also allocates
        start = time.perf_counter()
        for batch in batches:
            model(batch)
        seconds = time.perf_counter() - start
    return {
        "name": name,
        "tag": backbone.tag,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_features": backbone.num_features,
        "input_size": backbone.input_size,
        "ms_per_image": round(1000 * seconds / len(images), 1),
    }
