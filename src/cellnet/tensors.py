"""Files of tensors: safetensors only, whole or not at all. Nothing in a file is ever executed."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from cellnet.errors import WeightsError
from cellnet.files import atomic_path

# What stands in place of a safetensors file when something went wrong, by its first bytes.
_FOREIGN = {
    b"version https://git-lfs": "a Git LFS pointer, not the weights; run `git lfs pull` in its repository",
    b"<": "a web page, not weights; download the file itself",
    b"PK\x03\x04": "a PyTorch pickle or ZIP archive, which cellnet never opens; "
    "convert it with safetensors.torch.save_file",
    b"\x80": "a Python pickle, which cellnet never opens; convert it with safetensors.torch.save_file",
    b"\x89HDF": "a Keras HDF5 file; convert it to safetensors",
}


def write_tensors(
    path: str | PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> str:
    """Write a safetensors file.

    Args:
        path: The file; an older one is replaced only once the new one is whole.
        tensors: Tensors by name, on any device, in any memory layout; they may share memory.
        metadata: Words to keep in the file's header.

    Returns:
        The SHA-256 of the file.

    Raises:
        ConfigError: The file cannot be written, or the disk is full.

    Example:
        >>> import torch, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     digest = write_tensors(Path(folder, "a.safetensors"), {"w": torch.ones(2)})
        ...     read_tensors(Path(folder, "a.safetensors"), digest)["w"]
        tensor([1., 1.])
    """
    # Copies, because safetensors refuses tensors that share memory, e.g. tied weights.
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = safetensors.torch.save(own, metadata={"format": "pt", **(metadata or {})})
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def read_tensors(path: str | PathLike[str], sha256: str | None = None) -> dict[str, Tensor]:
    """All tensors of a safetensors file, as stored, on the CPU.

    Args:
        path: The file.
        sha256: What its hash must be; None checks nothing.

    Raises:
        WeightsError: The file is missing, damaged, another kind of file, or has another hash; the message says
            what it seems to be.
    """
    data = _read(Path(path))
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise WeightsError(
            f"{path} is not the file that its config.json describes (another SHA-256): it is damaged, "
            "truncated or was replaced; get the whole checkpoint folder again."
        )
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: a type that torch does not have
        raise WeightsError(f"{path} is damaged or no safetensors file ({error}); get it again.") from error


def read_metadata(path: str | PathLike[str]) -> dict[str, str]:
    """The words in the header of a safetensors file.

    Raises:
        WeightsError: As `read_tensors`.
    """
    data = _read(Path(path))
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        return {str(key): str(value) for key, value in header.get("__metadata__", {}).items()}
    except (struct.error, ValueError, AttributeError) as error:
        raise WeightsError(f"{path} is damaged or no safetensors file ({error}); get it again.") from error


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """A short hash of tensors and their names, e.g. of a model's state: sixteen hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give the path of a safetensors file.")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist; give the path of a safetensors file.") from error
    except OSError as error:
        raise WeightsError(f"Cannot read {path}: {error.strerror}; check its permissions.") from error
    if not data:
        raise WeightsError(f"{path} is empty (0 bytes); get it again.")
    # A safetensors file starts with eight arbitrary bytes, the size of its header, and then a brace.
    if data[8:9] != b"{":
        for start, what in _FOREIGN.items():
            if data.lstrip().startswith(start):
                raise WeightsError(f"{path} is {what}.")
    return data
