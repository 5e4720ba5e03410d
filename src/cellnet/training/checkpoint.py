"""The state of a run in one safetensors file: no pickle, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from cellnet.errors import WeightsError
from cellnet.tensors import read_metadata, read_tensors, write_tensors


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)


def _pack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON for a tree of dicts, lists and scalars; its tensors go into ``tensors``, a reference stays."""
    match tree:
        case Tensor():
            key = str(len(tensors))
            tensors[key] = tree
            # Its layout too: kernels round differently on another one, and the run would not go on bit for bit.
            return {"tensor": key, "channels_last": not tree.is_contiguous() and _is_channels_last(tree)}
        case dict():
            # Pairs, because an optimizer's keys are integers and JSON's are strings.
            return {"dict": [[key, _pack(value, tensors)] for key, value in tree.items()]}
        case list() | tuple():
            return [_pack(value, tensors) for value in tree]
        case _:
            return tree


def _unpack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    match tree:
        case {"tensor": key, "channels_last": channels_last}:
            layout = torch.channels_last if channels_last else torch.contiguous_format
            return tensors[key].contiguous(memory_format=layout)
        case {"dict": pairs}:
            return {key: _unpack(value, tensors) for key, value in pairs}
        case list():
            return [_unpack(value, tensors) for value in tree]
        case _:
            return tree


def save_state(path: str | PathLike[str], state: dict[str, Any]) -> None:
    """Write a tree of dicts, lists, tensors and JSON scalars; tuples become lists. A hash of it all goes along.

    Raises:
        ConfigError: The file cannot be written; an older one at ``path`` stays as it was.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_pack(state, tensors))
    own = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    write_tensors(path, own, {"state": skeleton, "sha256": _digest(skeleton, own)})


def load_state(path: str | PathLike[str]) -> dict[str, Any]:
    """Read what `save_state` wrote: the same bits in the same memory layout, on the CPU.

    Raises:
        WeightsError: The file is missing, damaged, or not a training checkpoint.
    """
    tensors = read_tensors(path)
    try:
        words = read_metadata(path)
        skeleton, digest = words["state"], words["sha256"]
        if _digest(skeleton, tensors) != digest:
            raise WeightsError(f"{path} is damaged: its content does not have the SHA-256 that it states.")
        state = _unpack(json.loads(skeleton), tensors)
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path} is not a training checkpoint ({error}); delete it and train anew.") from error
    return state  # type: ignore[no-any-return]


def _digest(skeleton: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(skeleton.encode())
    for key, tensor in sorted(tensors.items()):
        digest.update(f"{key} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
