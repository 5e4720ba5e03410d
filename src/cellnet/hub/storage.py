"""How weights are stored: in full precision, half precision, or one byte a weight with scales."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cellnet.errors import WeightsError
from cellnet.registry import check_name

STORAGES = ("float32", "float16", "int8")

SCALE = "::scale"
"""Ends the name of the tensor that holds the scales of an int8 tensor; no module name contains a colon."""

EXACT = "probes."
"""Begins the names of tensors that are measured by distances, which a byte is too coarse for: they have two, and small
ones four."""

SMALL = 1024
"""So many numbers take no room worth saving."""

_INT8_MAX = 127


def pack(state: Mapping[str, Tensor], storage: str) -> dict[str, Tensor]:
    """Bring a state dict into the form in which it is stored.

    Vectors (biases, batch-normalisation statistics) and integers keep their type: they are small, and
    precision matters most there. Of the rest, "float16" halves, and "int8" keeps one byte a weight with one
    float32 scale for each output channel (symmetric, so that zero stays zero).

    Args:
        state: Name -> tensor; tensors may share memory.
        storage: ``"float32"``, ``"float16"`` or ``"int8"``.

    Raises:
        UnknownNameError: Another storage.
        WeightsError: A weight that is not finite.
    """
    check_name("storage", storage, STORAGES)
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        tensor = value.detach().cpu().clone()
        _check_finite(name, tensor)
        exact = name.startswith(EXACT)
        small = tensor.ndim < 2 or tensor.numel() == 0 or (exact and tensor.numel() <= SMALL)
        if not tensor.is_floating_point():
            packed[name] = tensor
        elif storage == "float32" or small:
            packed[name] = tensor.float()
        elif storage == "float16" or exact:
            half = tensor.half()
            # Beyond 65504 there is no half-precision number.
            packed[name] = half if torch.isfinite(half).all() else tensor.float()
        else:
            scale = tensor.float().flatten(1).abs().amax(1) / _INT8_MAX
            scale[scale == 0] = 1.0
            packed[name] = torch.round(tensor.float() / _per_channel(scale, tensor)).to(torch.int8)
            packed[name + SCALE] = scale
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `pack`: a state dict whose floating-point tensors are float32.

    Raises:
        WeightsError: A weight that is not finite, or scales that do not belong to an int8 tensor.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in packed.items():
        if name.endswith(SCALE):
            if name.removesuffix(SCALE) not in packed:
                raise WeightsError(f"The weights hold {name!r} without its tensor; get the file again.")
            continue
        state[name] = tensor.float() if tensor.is_floating_point() else tensor
        scale = packed.get(name + SCALE)
        if scale is not None:
            if tensor.dtype != torch.int8 or tensor.ndim < 2 or scale.shape != tensor.shape[:1]:
                raise WeightsError(f"The scales of {name!r} do not fit its tensor; get the file again.")
            state[name] = tensor.float() * _per_channel(scale.float(), tensor)
        _check_finite(name, state[name])
    return state


def _per_channel(scale: Tensor, tensor: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (tensor.ndim - 1))


def _check_finite(name: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise WeightsError(
            f"The weight {name!r} holds values that are not finite (NaN or infinite): the training diverged, "
            "or the file is damaged; use other weights."
        )
