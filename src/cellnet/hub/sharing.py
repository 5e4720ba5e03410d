"""The tensors of a checkpoint folder, wherever they lie: in its weights file, beside it, or in a folder beside.

A hybrid and the networks that it is fused of are three models and one set of weights. A folder that shares lies beside
the one that holds, and is whole again wherever it is copied or published. So is one whose probes were fitted anew and
lie in a file of their own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from cellnet.errors import ConfigError, WeightsError
from cellnet.hub.config import CheckpointConfig, Shared
from cellnet.hub.storage import EXACT
from cellnet.tensors import read_tensors, write_tensors

WEIGHTS = "model.safetensors"
PROBES = "probes.safetensors"


def read_weights(folder: Path, config: CheckpointConfig) -> dict[str, Tensor]:
    """The tensors of a checkpoint folder as they are stored, those beside its weights file among them.

    Raises:
        WeightsError: A file is missing, damaged or another one.
    """
    tensors = read_tensors(folder / WEIGHTS, config.sha256)
    for shared in config.shared:
        tensors |= _borrowed(folder, shared)
    if config.probes:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(EXACT)}
        tensors |= read_tensors(folder / PROBES, config.probes)
    return tensors


def share(folder: str | os.PathLike[str], owner: str | os.PathLike[str], names: Mapping[str, str]) -> None:
    """Leave out of a checkpoint folder what a folder beside it holds already.

    Args:
        folder: The folder that becomes small; it loads as before, as long as ``owner`` lies beside it.
        owner: The folder that keeps the tensors.
        names: What the names of the tensors begin with here, and in ``owner``, e.g.
            ``{"backbone.": "backbone._branches.1."}``.

    Raises:
        ConfigError: The two do not lie side by side, or nothing begins like this.
        WeightsError: The tensors are not the same, or a folder is damaged.
    """
    path, other = Path(folder), Path(owner)
    if path.resolve().parent != other.resolve().parent:
        raise ConfigError(f"{path} and {other} do not lie in one folder; move one of them.")
    config = CheckpointConfig.read(path)
    own = read_tensors(path / WEIGHTS, config.sha256)
    shared = Shared(other.resolve().name, CheckpointConfig.read(other).sha256, dict(names))
    borrowed = _borrowed(path, shared)
    if not borrowed:
        raise ConfigError(f"No tensor of {other} begins with {', '.join(names.values())}; see its config.json.")
    different = [name for name, tensor in borrowed.items() if name not in own or not _equal(own[name], tensor)]
    if different:
        raise WeightsError(f"{different[0]!r} of {path} is not that of {other}; only the same weights can be shared.")
    digest = write_tensors(path / WEIGHTS, {name: tensor for name, tensor in own.items() if name not in borrowed})
    replace(config, sha256=digest, shared=(*config.shared, shared)).write(path)


def make_whole(folder: Path, into: Path) -> CheckpointConfig:
    """Write weights and config.json of a folder into another one, with all tensors in the weights file.

    Returns:
        The config that was written.

    Raises:
        WeightsError: As `read_weights`.
    """
    config = CheckpointConfig.read(folder)
    digest = write_tensors(into / WEIGHTS, read_weights(folder, config))
    whole = replace(config, sha256=digest, shared=(), probes="")
    whole.write(into)
    return whole


def _borrowed(folder: Path, shared: Shared) -> dict[str, Tensor]:
    there = read_tensors(folder.resolve().parent / shared.folder / WEIGHTS, shared.sha256)
    return {
        here + name.removeprefix(prefix): tensor
        for here, prefix in shared.names.items()
        for name, tensor in there.items()
        if name.startswith(prefix)
    }


def _equal(a: Tensor, b: Tensor) -> bool:
    # The scale of an int8 tensor that was widened and stored again may differ in its last bit.
    return a.dtype == b.dtype and a.shape == b.shape and torch.allclose(a.float(), b.float(), rtol=1e-6, atol=0)
