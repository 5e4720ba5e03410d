"""Starting weights from a local safetensors file: the whole network or an error, nothing skipped silently."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cellnet.errors import WeightsError
from cellnet.tensors import read_tensors


@dataclass(frozen=True)
class WeightsReport:
    """What a weights file gave to a network.

    Args:
        file: Name of the file.
        matched: Keys that were loaded.
        missing: Keys of the network that the file lacks; empty after a successful load. Counters of batches, which
            older files have not, do not count.
        unexpected: Keys of the file that the network has no place for: its old classifier.

    Example:
        >>> print(WeightsReport("resnet.safetensors", matched=("conv1.weight",), unexpected=("fc.weight",)))
        resnet.safetensors: 1 tensor matched, none missing, 1 unused (fc.weight)
    """

    file: str
    matched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()

    def __str__(self) -> str:
        plural = "" if len(self.matched) == 1 else "s"
        return (
            f"{self.file}: {len(self.matched)} tensor{plural} matched, "
            f"{_count(self.missing)} missing, {_count(self.unexpected)} unused"
            f"{f' ({_some(self.unexpected)})' if self.unexpected else ''}"
        )


def load_weights(network: nn.Module, file: str | Path, unused: Collection[str] = ()) -> WeightsReport:
    """Copy every tensor of ``network`` from ``file``, widened to the network's own precision.

    Args:
        network: The network; it is unchanged where this raises.
        file: A safetensors file whose keys are the network's, without prefix.
        unused: Names of modules, such as the old classifier, whose tensors the file may hold in addition.

    Raises:
        WeightsError: The file is missing, damaged or no safetensors; a tensor of the network is not in it,
            or has another shape or kind of number there, or is not finite; or it holds tensors of another
            network.
    """
    path = Path(file)
    tensors = read_tensors(path)
    own = network.state_dict()
    report = WeightsReport(
        file=path.name,
        matched=tuple(sorted(own.keys() & tensors.keys())),
        missing=tuple(sorted(key for key in own.keys() - tensors.keys() if not key.endswith("num_batches_tracked"))),
        unexpected=tuple(sorted(tensors.keys() - own.keys())),
    )
    foreign = [k for k in report.unexpected if not k.startswith(tuple(f"{name}." for name in unused))]
    if report.missing or foreign:
        raise WeightsError(
            f"{path} holds another network: {_count(report.missing)} of {len(own)} tensors missing"
            f"{f' ({_some(report.missing)})' if report.missing else ''}, {_count(foreign)} unknown"
            f"{f' ({_some(foreign)})' if foreign else ''}; "
            "choose the backbone that it was made for, its keys as timm writes them and without prefix."
        )
    for key in report.matched:
        _check(path, key, tensors[key], own[key])
    network.load_state_dict({key: tensors[key] for key in report.matched}, strict=False)  # but for these counters
    return report


def _check(path: Path, key: str, given: Tensor, wanted: Tensor) -> None:
    if given.shape != wanted.shape:
        raise WeightsError(
            f"{path} does not fit: {key} is {_shape(given)} there and {_shape(wanted)} in the backbone; "
            "choose the backbone that the file was made for."
        )
    if given.is_floating_point() != wanted.is_floating_point():
        raise WeightsError(
            f"{path} stores {key} as {given.dtype}, the backbone has {wanted.dtype}; "
            "give a file of floating-point weights (float16 is enough)."
        )
    if not bool(torch.isfinite(given).all()):
        raise WeightsError(f"{path} holds NaN or infinite numbers in {key}; give a checkpoint from before that.")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


def _count(keys: Collection[str]) -> str:
    return str(len(keys)) if keys else "none"


def _some(keys: Collection[str], most: int = 3) -> str:
    first = ", ".join(sorted(keys)[:most])
    return f"{first}, ..." if len(keys) > most else first
