"""Unpacking an archive: all of it or nothing, and nothing outside its folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cellnet.download.archives import chunks, explained, is_archive, members
from cellnet.download.limits import Limits, too_much
from cellnet.download.locks import locked
from cellnet.download.names import Claims, safe_parts
from cellnet.download.progress import Show, progress_bar
from cellnet.errors import DataError
from cellnet.files import write_text

LIMITS = Limits()


def unpack(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    limits: Limits = LIMITS,
    progress: bool = False,
) -> Path:
    """Unpack a zip, tar (also gz, bz2, xz) or rar archive into a folder.

    Everything is unpacked beside its place first, and moved there when the whole archive was sound. What bears
    the same name is replaced. A hidden file remembers the archive, so that a second call has nothing to do.
    ``__MACOSX`` and ``.DS_Store`` are left out.

    Args:
        archive: The archive; its first bytes say of which format.
        folder: Where to; it is made if need be.
        limits: How much it may hold.
        progress: Show a progress bar on standard error.

    Returns:
        The folder.

    Raises:
        DataError: It is not there, of another format, damaged, encrypted or beyond the limits; or it holds a name
            that leads out of the folder, two names that are alike, a link or a device; or a file stands where a folder
            is to be, or the other way round, or the archive itself where a file is. The folder is as before.
        ConfigError: The folder cannot be written, or the disk is full.
    """
    unpack_once(Path(archive), Path(folder), limits, progress)
    return Path(folder)


def unpack_once(archive: Path, folder: Path, limits: Limits = LIMITS, progress: bool = False) -> list[Path]:
    """Unpack as `unpack` does, and return the archives that were within."""
    with explained(archive):
        state = archive.stat()
    version = {"size": state.st_size, "mtime_ns": state.st_mtime_ns}
    marker = folder / f".{archive.name}.unpacked"
    if (inner := _unpacked(marker, version)) is not None:
        return inner
    with progress_bar(f"Unpacking {archive.name}", progress) as show, locked(folder, archive.name):
        if (inner := _unpacked(marker, version)) is not None:  # by another process, which had the lock
            return inner
        temporary = folder / f".{archive.name}.unpacking"
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
        try:
            temporary.mkdir()
            names = _extract(archive, temporary, limits, show)
            entries = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*"))
            for source, target in list(_moves(temporary, folder, archive)):
                source.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        write_text(marker, json.dumps({**version, "entries": entries, "archives": names}))
    return [folder / name for name in names]


def _extract(archive: Path, folder: Path, limits: Limits, show: Show) -> list[str]:
    """Write all members; return the names of those that are archives."""
    limit = limits.bytes_of(archive)
    claims = Claims(archive)
    inner = []
    written = 0
    with contextlib.closing(members(archive, limit)) as found:
        for number, member in enumerate(found):
            if number >= limits.max_files:
                raise too_much(archive, f"{limits.max_files:,} files")
            parts = safe_parts(archive, member.name)
            if member.kind == "other":
                raise DataError(f"{archive} holds {member.name!r}, a link or device; unpack it by hand.")
            if not parts or parts[0] == "__MACOSX" or parts[-1] == ".DS_Store":
                continue
            claims.add(parts, member.kind)
            target = folder.joinpath(*parts)
            if member.kind == "folder":
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as stream:
                for chunk in chunks(archive, member):
                    written += len(chunk)
                    if written > limit:
                        raise too_much(archive, f"{limit:,} bytes")
                    stream.write(chunk)
            show(written, None)
            if is_archive(target.name):
                inner.append("/".join(parts))
    return inner


def _moves(source: Path, target: Path, archive: Path) -> Iterator[tuple[Path, Path]]:
    """What goes where for a tree to come over another: folders become one, and a file takes the place of a file.

    Raises:
        DataError: Something is in the way.
    """
    if source.is_dir() and target.is_dir():
        for child in source.iterdir():
            yield from _moves(child, target / child.name, archive)
    elif target.exists() and (source.is_dir() or target.is_dir()):
        raise DataError(f"{target} is in the way of what is to be unpacked there; move it away.")
    elif target.exists() and target.samefile(archive):
        raise DataError(f"{archive} holds a file that would take its own place; unpack it into another folder.")
    else:
        yield source, target


def _unpacked(marker: Path, version: dict[str, int]) -> list[Path] | None:
    """The archives within, if this version was unpacked and nothing of it was taken away since; else None."""
    try:
        done = json.loads(marker.read_text(encoding="utf-8"))
        if version.items() <= done.items() and all((marker.parent / name).exists() for name in done["entries"]):
            return [marker.parent / name for name in done["archives"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return None
