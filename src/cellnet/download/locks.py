"""One process at a time: who comes second waits, and finds the work done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cellnet.errors import ConfigError


@contextlib.contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Hold the right to write ``name`` in ``folder``, which is made if need be.

    Raises:
        ConfigError: The folder cannot be written, or the disk is full, now or within the block.
    """
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock"):
            yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"Cannot write into {folder}: {reason}; free some space or choose another folder.") from error
