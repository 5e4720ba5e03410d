"""What archives of several formats hold, told in one way."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

from cellnet.download.limits import too_much
from cellnet.errors import CellnetError, DataError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".rar")

CHUNK = 2**20
"""Bytes unpacked at once."""

_MAX_READ = 2**24  # of a tar header; the longest honest ones, with a file's attributes, are far below


@dataclass(frozen=True)
class Member:
    """One entry of an archive; ``open`` gives its bytes."""

    name: str
    kind: Literal["file", "folder", "other"]
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(name: str) -> bool:
    """Whether a file is to be unpacked, by its name: an ``.npz`` is a ZIP too, and is not."""
    return name.lower().endswith(SUFFIXES)


def members(archive: Path, limit: int) -> Generator[Member, None, None]:
    """The entries of an archive in their order; each is to be read before the next is asked for.

    Args:
        archive: A file of any of the formats; its first bytes say which.
        limit: Bytes that it may hold.

    Raises:
        DataError: It is of another format, damaged, encrypted, or needs a tool that is not there.
    """
    with explained(archive):
        yield from _reader(archive)(archive, limit)


def chunks(archive: Path, member: Member) -> Iterator[bytes]:
    """The bytes of a file in an archive, piece by piece.

    Raises:
        DataError: They are damaged, or need a tool that is not there.
    """
    with explained(archive), member.open() as stream:
        missing = member.size
        while chunk := stream.read(CHUNK):
            missing -= len(chunk)
            yield chunk
        if missing:
            raise EOFError(f"{member.name!r} has not the size that is stated")


@contextlib.contextmanager
def explained(archive: Path) -> Iterator[None]:
    """Turn whatever the readers of archives raise into one error."""
    try:
        yield
    except CellnetError:
        raise
    except NotImplementedError as error:
        raise DataError(
            f"{archive} is packed in a way that Python cannot read ({error}); unpack it by hand."
        ) from error
    except OSError as error:
        if error.strerror:
            raise DataError(f"Cannot read {archive}: {error.strerror}; check the path and its permissions.") from error
        raise _damaged(archive, error) from error
    except Exception as error:  # a damaged header leads them to errors of every kind
        raise _damaged(archive, error) from error


def _reader(archive: Path) -> Callable[[Path, int], Iterator[Member]]:
    with archive.open("rb") as stream:
        start = stream.read(512)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip
    if start.startswith(b"Rar!\x1a\x07"):
        return _rar
    if start.startswith(tuple(_COMPRESSIONS)) or start[257:262] == b"ustar" or archive.suffix.lower() == ".tar":
        return _tar
    raise DataError(f"{archive} is not an archive; cellnet unpacks zip, tar (also gz, bz2 and xz) and rar.")


def _zip(path: Path, limit: int) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.flag_bits & 1:
                raise _encrypted(path)
            mode = stat.S_IFMT(info.external_attr >> 16)  # 0 where it was packed on Windows
            kind = _kind(mode in (0, stat.S_IFREG), info.filename.endswith(("/", "\\")))
            yield Member(info.filename, kind, info.file_size, partial(archive.open, info))


def _tar(path: Path, limit: int) -> Iterator[Member]:
    with path.open("rb") as stream:
        start = stream.read(6)
    opener = next((opener for magic, opener in _COMPRESSIONS.items() if start.startswith(magic)), open)
    with opener(path, "rb") as plain:
        bounded = _Bounded(plain, path, limit)
        with tarfile.open(fileobj=bounded, mode="r:") as archive:  # type: ignore[call-overload]
            for info in archive:
                kind = _kind(info.isreg(), info.isdir())
                yield Member(info.name, kind, info.size, partial(archive.extractfile, info))
            # tarfile takes a cut for the end: there must be an empty block, and sound compression up to the last byte.
            bounded.seek(archive.offset)
            if bounded.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise EOFError("it ends too early")
            while bounded.read(CHUNK):
                pass


def _rar(path: Path, limit: int) -> Iterator[Member]:
    try:
        import rarfile
    except ImportError as error:
        raise _needs_tool(path) from error
    with rarfile.RarFile(path, errors="strict") as archive:
        infos = archive.infolist()
        if archive.needs_password():
            raise _encrypted(path)
        if any(info.compress_type != rarfile.RAR_M0 for info in infos):
            try:
                rarfile.tool_setup()
            except rarfile.RarCannotExec as error:
                raise _needs_tool(path) from error
        for info in infos:
            # A copy is how RAR stores a file that is there twice; it is read from the first.
            is_plain = info.file_redir is None or info.file_redir[0] == rarfile.RAR5_XREDIR_FILE_COPY
            kind = _kind(info.is_file() and is_plain, info.is_dir())
            yield Member(info.filename, kind, info.file_size, partial(archive.open, info))


class _Bounded:
    """A stream that ends in an error after ``limit`` bytes, also in those that are skipped or belong to headers."""

    def __init__(self, stream: IO[bytes], archive: Path, limit: int) -> None:
        self._stream, self._archive, self._limit = stream, archive, limit
        self.tell = stream.tell

    def seek(self, position: int) -> int:
        self._check(position)
        return self._stream.seek(position)

    def read(self, size: int) -> bytes:
        if size > _MAX_READ:
            raise too_much(self._archive, f"{_MAX_READ:,} bytes of header")
        data = self._stream.read(size)
        self._check(self._stream.tell())
        return data

    def _check(self, position: int) -> None:
        if position > self._limit:
            raise too_much(self._archive, f"{self._limit:,} bytes")


_COMPRESSIONS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


def _kind(is_file: bool, is_folder: bool) -> Literal["file", "folder", "other"]:
    return "folder" if is_folder else "file" if is_file else "other"


def _damaged(archive: Path, error: Exception) -> DataError:
    reason = str(error) or type(error).__name__
    if type(error).__module__ == "rarfile":
        return DataError(
            f"{archive} cannot be unpacked ({reason}): it is damaged, or the program that does it here, such as 7z "
            "without its RAR module, cannot; install unrar or unar, or download it again."
        )
    return DataError(
        f"{archive} cannot be unpacked ({reason}): it is damaged or only half there; delete it and download it again."
    )


def _encrypted(archive: Path) -> DataError:
    return DataError(f"{archive} is encrypted; unpack it by hand, with its password.")


def _needs_tool(archive: Path) -> DataError:
    return DataError(
        f'{archive} is a RAR archive, which takes pip install "cellnet[rar]" and the program unrar or unar (7z and '
        "bsdtar can unpack some); install them, or unpack it by hand."
    )
