"""Files written whole or not at all: text, and tables as CSV; settings read from TOML."""

from __future__ import annotations

import contextlib
import csv
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cellnet.errors import ConfigError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to it when the block ends well and removed when it does not.

    A link stays, and the file that it points to is written; a file that is there keeps its permissions.

    Raises:
        ConfigError: The folder cannot be written, the disk is full, or ``path`` is no file; the message names the path.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with atomic_path(Path(folder) / "a.txt") as temporary:
        ...         _ = temporary.write_text("whole")
        ...     (Path(folder) / "a.txt").read_text()
        'whole'
    """
    check_file(path)
    final = Path(path).resolve()
    # The suffix stays last: several writers choose their format by it.
    temporary = final.with_name(f".{final.stem}.{os.getpid()}.tmp{final.suffix}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if final.exists():
            temporary.chmod(final.stat().st_mode)
        temporary.replace(final)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"Cannot write {final}: {reason}; free some space or choose another folder.") from error
    finally:
        # Where nothing could be written, nothing can be removed; the error above already says why.
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuse to write a file where a folder, a pipe or a device is.

    Raises:
        ConfigError: There is one.
    """
    try:
        is_file = stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:  # mostly because there is nothing yet; what else stands in the way is told as it is written
        return
    if not is_file:
        raise ConfigError(f"Cannot write {path}: it is there and no file; choose another folder or name.")


def check_picture(path: str | os.PathLike[str]) -> None:
    """Refuse to draw into a file whose suffix names no format of pictures.

    Raises:
        ConfigError: It names none, or there is something that is no file.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    check_file(path)
    if Path(path).suffix[1:].lower() not in FigureCanvasBase.get_supported_filetypes():
        raise ConfigError(f"Cannot draw into {os.fspath(path)!r}; use a name that ends in .png, .pdf or .svg.")


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all, and return the path."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as CSV; a column that a row lacks stays empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The values of a TOML file.

    Raises:
        ConfigError: The file is missing or not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}; check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error
