"""A download that is not finished: its bytes, and where they came from."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import TracebackType
from typing import Self

from cellnet.cards import RemoteFile
from cellnet.download.hashes import digest_of, known_hash
from cellnet.files import write_text


class Part:
    """What has come of a file so far, in ``.NAME.part``, and its origin, in ``.NAME.part.json``.

    A context manager; whoever enters must hold the lock of the file. The bytes are hashed as they come. They
    stay for the next try when the block is left, by whatever way.

    Args:
        folder: Folder of both.
        file: What is being downloaded.
    """

    size: int
    """Bytes that are there."""

    def __init__(self, folder: Path, file: RemoteFile) -> None:
        self.path = folder / f".{file.name}.part"
        self._origin_path = folder / f".{file.name}.part.json"
        self.algorithm, self.expected = known_hash(file)

    def __enter__(self) -> Self:
        self._stream = self.path.open("a+b")
        self._stream.seek(0)
        self._digest = digest_of(self._stream, self.algorithm)
        self.size = self._stream.tell()
        self._origin = _read_origin(self._origin_path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if not self.size:
            self._remove()

    @property
    def hexdigest(self) -> str:
        """Hash of the bytes that are there."""
        return self._digest.hexdigest()

    @property
    def is_proven(self) -> bool:
        """Whether these are the bytes of the whole file for certain: the hash is known, and is right."""
        return bool(self.expected) and self.hexdigest == self.expected

    def validator(self, url: str) -> str:
        """What the server at ``url`` called the version that these bytes are of; empty where it did not."""
        return self._origin.get("validator", "") if self._origin.get("url") == url else ""

    def headers(self, url: str) -> dict[str, str]:
        """What asks the server at ``url`` for the bytes that are missing; empty where all must come anew."""
        validator = self.validator(url)
        if not self.size or not (validator or self.expected):
            return {}
        # Without a validator, also from another mirror, the hash will tell whether the pieces fit.
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": validator} if validator else {})

    def restart(self, url: str = "", validator: str = "") -> None:
        """Drop all bytes; the next ones come from ``url``."""
        self._stream.truncate(0)
        self._stream.seek(0)
        self._digest = digest_of(self._stream, self.algorithm)
        self.size = 0
        self._origin = {"url": url, "validator": validator}
        write_text(self._origin_path, json.dumps(self._origin))

    def append(self, chunk: bytes) -> None:
        """Add the next bytes."""
        self._stream.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def finish(self, path: Path) -> None:
        """Make these bytes the file at ``path``."""
        self._stream.close()
        self.path.replace(path)
        self._remove()

    def _remove(self) -> None:
        for path in (self.path, self._origin_path):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _read_origin(path: Path) -> dict[str, str]:
    """Origin of the bytes; empty where it is not known."""
    try:
        origin = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return origin if isinstance(origin, dict) else {}
