"""The hash that a file must have, and the one that it has."""

from __future__ import annotations

import hashlib
from io import BufferedRandom, BufferedReader
from pathlib import Path

from cellnet.cards import RemoteFile
from cellnet.errors import DataError

TITLES = {"sha256": "SHA-256", "md5": "MD5"}


def known_hash(file: RemoteFile) -> tuple[str, str]:
    """Algorithm and hexadecimal value; the value is empty where no hash is known."""
    if file.md5 and not file.sha256:
        return "md5", file.md5.strip().lower()
    return "sha256", file.sha256.strip().lower()


def digest_of(stream: BufferedReader | BufferedRandom, algorithm: str) -> hashlib._Hash:
    """Hash of what is left of a stream; it can be fed with more."""
    return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False))


def is_there(path: Path, file: RemoteFile) -> bool:
    """Whether ``path`` is the file: it exists, and has the right hash where one is known.

    Raises:
        DataError: It cannot be read.
    """
    algorithm, expected = known_hash(file)
    try:
        if not path.is_file():
            return False
        if not expected:
            return True
        with path.open("rb") as stream:
            return digest_of(stream, algorithm).hexdigest() == expected
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}; check its permissions.") from error
