"""The files of a data set: fetched and unpacked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cellnet.cards import RemoteFile
from cellnet.download.archives import is_archive
from cellnet.download.fetch import fetch
from cellnet.download.unpack import unpack_once


def obtain(files: Iterable[RemoteFile], folder: str | os.PathLike[str], *, progress: bool = False) -> Path:
    """Fetch files into a folder, and unpack the archives among them there.

    An archive that comes out of an archive is unpacked beside itself; one within that is left as it is. What is
    there already is neither fetched nor unpacked again.

    Args:
        files: What to fetch; an archive is known by the suffix of its name.
        folder: Where to; it is made if need be.
        progress: Show progress bars on standard error.

    Returns:
        The folder.

    Raises:
        DataError: A file cannot be had, see `fetch`, or not be unpacked, see `unpack`.
        ConfigError: The folder cannot be written, or the disk is full.
    """
    for file in files:
        path = fetch(file, folder, progress=progress)
        if is_archive(path.name):
            for inner in unpack_once(path, Path(folder), progress=progress):
                unpack_once(inner, inner.parent, progress=progress)
    return Path(folder)
