"""Checkpoint folders for places without the net."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cellnet.hub import config as config_file
from cellnet.hub.checkpoint import GOLDEN, README, check_free, new_folder, verify
from cellnet.hub.config import CheckpointConfig
from cellnet.hub.find import find
from cellnet.hub.sharing import WEIGHTS, make_whole


def copy_pretrained(name: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """Copy a checkpoint folder, fetched from the Hub if need be, into a folder for ``CELLNET_WEIGHTS``.

    Args:
        name: As for `load_pretrained`; the copy bears this name, or the last part of a path or address.
        folder: Where to; it is made if need be. An older copy there is replaced.

    Returns:
        The copy, whose hashes were checked.

    Raises:
        CellnetError: As `load_pretrained`.
        ConfigError: The folder cannot be written, or holds anything but an older copy of that name.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     sorted(path.name for path in copy_pretrained("mobilenet_v2", folder).iterdir())
        ['README.md', 'config.json', 'golden.safetensors', 'model.safetensors']
    """
    source, address = find(name)
    copy = Path(folder) / _name(name, address)
    if copy.resolve() == source.resolve():
        verify(copy)
        return copy
    check_free(copy, overwrite=True)
    with new_folder(copy) as temporary:
        for file in (config_file.NAME, WEIGHTS, GOLDEN, README):
            if (source / file).is_file():
                shutil.copyfile(source / file, temporary / file)
        config = CheckpointConfig.read(source)
        if config.shared or config.probes:
            make_whole(source, temporary)
        verify(temporary)
    return copy


def _name(name: str | os.PathLike[str], address: str) -> str:
    """The folder's name: without organisation and revision for an address on the Hub."""
    if isinstance(name, str) and name.startswith("hf://"):
        return address.partition("@")[0].rpartition("/")[2]
    return Path(name).resolve().name
