"""Names in archives: each must stay in its folder, and be the only one of its kind on every system."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from cellnet.errors import DataError

MAX_DEPTH = 64
"""Folders within folders: deeper trees cannot be removed again everywhere."""


def safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    r"""Folders and file of a member's name, without those that change nothing.

    Raises:
        DataError: It leads out of the folder, on this system or another.

    Example:
        >>> safe_parts(Path("a.zip"), r"./cells\\ig/1.jpg")
        ('cells', 'ig', '1.jpg')
        >>> safe_parts(Path("a.zip"), "../1.jpg")
        Traceback (most recent call last):
        cellnet.errors.DataError: a.zip holds the name '../1.jpg', which leads out of its folder; get it elsewhere.
    """
    path = name.replace("\\", "/")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if path.startswith("/") or any(map(_is_unsafe, parts)):
        raise DataError(f"{archive} holds the name {name!r}, which leads out of its folder; get it elsewhere.")
    if len(parts) > MAX_DEPTH:
        raise DataError(f"{archive} holds more than {MAX_DEPTH} folders within folders; get it elsewhere.")
    return parts


def _is_unsafe(part: str) -> bool:
    # Windows takes a colon for a drive or a hidden stream, and drops dots and spaces at the end: ".. " is "..".
    return ":" in part or not part.strip(". ") or any(ord(character) < 32 for character in part)


class Claims:
    """The names that an archive has used, as systems compare them.

    Some ignore case, ways to write accents, and dots and spaces at the end.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._kinds: dict[str, str] = {}

    def add(self, parts: tuple[str, ...], kind: str) -> None:
        """Use a name for a ``"file"`` or ``"folder"``.

        Raises:
            DataError: It is used for a file already, or a file of this name would stand where a folder is.
        """
        bare = [unicodedata.normalize("NFC", part.rstrip(". ")).casefold() for part in parts]
        keys = ["/".join(bare[: n + 1]) for n in range(len(bare))]
        *folders, own = keys
        blocked = any(self._kinds.setdefault(key, "folder") == "file" for key in folders)
        if blocked or (own in self._kinds and "file" in (kind, self._kinds[own])):
            raise DataError(
                f"{self._archive} holds two things whose names are alike on some systems, one of them "
                f"{'/'.join(parts)!r}; unpack it by hand."
            )
        self._kinds[own] = kind
