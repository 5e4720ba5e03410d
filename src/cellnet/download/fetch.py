"""One file from the net, or from the folder where it already is."""

from __future__ import annotations

import os
from pathlib import Path

from cellnet.cards import RemoteFile
from cellnet.download import mirrors
from cellnet.download.hashes import TITLES, is_there, known_hash
from cellnet.download.locks import locked
from cellnet.download.part import Part
from cellnet.download.progress import progress_bar
from cellnet.download.transfer import TransferError
from cellnet.errors import DataError

OFFLINE = "CELLNET_OFFLINE"
"""Environment variable that forbids every request."""


def is_offline() -> bool:
    """Whether ``CELLNET_OFFLINE`` forbids requests: it is set, and not to ``0``, ``false``, ``no`` or ``off``."""
    return os.environ.get(OFFLINE, "").strip().lower() not in ("", "0", "false", "no", "off")


def fetch(file: RemoteFile, folder: str | os.PathLike[str], *, progress: bool = False) -> Path:
    """Download a file, unless it is there; go on where an earlier try ended.

    The bytes get the file's name only when all have come and their hash is right, so whatever bears that name is
    whole. Where no hash is known, the length that the server states, or else the card, tells whether all have come;
    where neither does, a warning says so. A file that is there is accepted if its hash is right, or if none is known.
    Proxies and certificates are taken from the environment: ``HTTPS_PROXY``, ``NO_PROXY``, ``REQUESTS_CA_BUNDLE``. Of
    several processes one downloads, and the others wait for it.

    Args:
        file: What to download.
        folder: Where to; it is made if need be.
        progress: Show a progress bar on standard error.

    Returns:
        The path of the file.

    Raises:
        DataError: No address gives the right file, it can only be got by hand, or ``CELLNET_OFFLINE`` is set; the
            message says what happened at each address, and what to do.
        ConfigError: The folder cannot be written, or the disk is full.

    Example:
        >>> fetch(RemoteFile("cells.zip", instructions="Ask for it."), "data")
        Traceback (most recent call last):
        cellnet.errors.DataError: cells.zip has to be fetched by hand. Put the file cells.zip into data. Ask for it.
    """
    folder = Path(folder)
    path = folder / file.name
    if is_there(path, file):
        return path
    if not file.urls:
        raise _problem(file, folder, "has to be fetched by hand")
    if is_offline():
        raise _problem(file, folder, f"is not downloaded, since {OFFLINE} is set; it is at {' or '.join(file.urls)}")
    with progress_bar(file.name, progress) as show, locked(folder, file.name):
        if is_there(path, file):  # another process had the lock, and has fetched it
            return path
        with Part(folder, file) as part:
            if not part.is_proven:
                try:
                    mirrors.download(file, part, show)
                except TransferError as error:
                    raise _problem(file, folder, f"cannot be downloaded: {error}") from error
            part.finish(path)
    return path


def _problem(file: RemoteFile, folder: Path, problem: str) -> DataError:
    """The error for a file that is not to be had; its message ends in what to do."""
    algorithm, expected = known_hash(file)
    if (folder / file.name).is_file():
        problem += f"; the one in {folder} is another or damaged"
    facts = [f"{file.size:,} bytes"] if file.size is not None else []
    facts += [f"{TITLES[algorithm]} {expected}"] if expected else []
    sentences = [
        f"{file.name} {problem}.",
        f"Expected: {', '.join(facts)}." if facts else "",
        f"Put the file {file.name} into {folder}.",
        file.instructions,
    ]
    return DataError(" ".join(filter(None, sentences)))
