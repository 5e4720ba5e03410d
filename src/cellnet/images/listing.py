"""Image files in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cellnet.errors import DataError

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""File suffixes, in lower case, that `list_images` takes for images."""


def list_images(folder: str | Path) -> list[Path]:
    """All image files in a folder and its subfolders, sorted; hidden files and folders are skipped, links followed.

    Raises:
        DataError: No such folder, or no image in it.
    """
    root = Path(folder)
    if not root.is_dir():
        reason = "It is a file, not a folder" if root.exists() else "No such folder"
        raise DataError(f"{reason}: {root}; give a folder that holds images.")
    files = sorted(path for path in _shown(root) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not files:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"No image in {root} or its subfolders; looked for files ending in {suffixes}.")
    return files


def _shown(root: Path) -> Iterator[Path]:
    """What is in a folder and its subfolders and not hidden; a folder that two links lead to is entered once."""
    entered = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        real = os.path.realpath(folder)
        if real in entered:
            subfolders.clear()
            continue
        entered.add(real)
        yield from (Path(folder, name) for name in names if not name.startswith("."))
