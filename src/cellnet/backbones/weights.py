"""Starting weights from a local safetensors file: the whole network or an error, nothing skipped silently."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cellnet.errors import WeightsError

# How files begin that people give by mistake, and what to do with them.
_FOREIGN = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the weights; fetch them with `git lfs pull`"),
    (b"PK\x03\x04", "is a PyTorch checkpoint or ZIP archive; convert it with safetensors.torch.save_file"),
    (b"\x80", "is a Python pickle, which is never loaded; convert it with safetensors.torch.save_file"),
    (b"\x89HDF", "is a Keras HDF5 file; convert it to safetensors with timm's key names"),
    (b"<", "is a web page, not the weights; download the file itself"),
)


@dataclass(frozen=True)
class WeightsReport:
    """What a weights file gave to a network.

    Args:
        file: Name of the file.
        matched: Keys that were loaded.
        missing: Keys of the network that the file lacks; empty after a successful load.
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
    tensors = read_weights(path)
    own = network.state_dict()
    report = WeightsReport(
        file=path.name,
        matched=tuple(sorted(own.keys() & tensors.keys())),
        missing=tuple(sorted(own.keys() - tensors.keys())),
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
    network.load_state_dict({key: tensors[key] for key in report.matched})
    return report


def read_weights(file: str | Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, as stored.

    Raises:
        WeightsError: The file is missing, unreadable, damaged or no safetensors; the message says what it
            seems to be.
    """
    path = Path(file)
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "does not exist"
        raise WeightsError(f"{path} {reason}; give the path of a safetensors file.")
    if not path.stat().st_size:
        raise WeightsError(f"{path} is empty (0 bytes); copy or download it again.")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error}; check its permissions.") from error
    except SafetensorError as error:
        with path.open("rb") as stream:
            start = stream.read(64).lstrip()
        hint = next(
            (words for magic, words in _FOREIGN if start.startswith(magic)),
            f"is damaged or no safetensors file ({error}); copy or download it again",
        )
        raise WeightsError(f"{path} {hint}.") from error
    return tensors


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
