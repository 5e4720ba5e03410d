"""`cellnet.download.unpack`: all of an archive or nothing, and nothing outside its folder."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import random
import shutil
import struct
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet.download import Limits, unpack
from cellnet.download.archives import members
from cellnet.errors import ConfigError, DataError

CELLS = {"cells/ig/1.jpg": b"one", "cells/ig/2.jpg": b"", "cells/größe.csv": b"x" * 5_000, "README": b"read"}

needs_rarfile = pytest.mark.skipif(importlib.util.find_spec("rarfile") is None, reason="needs rarfile")
FORMATS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", pytest.param("rar", marks=needs_rarfile)]


def make_zip(path: Path, files: dict[str, bytes], **fields: int) -> Path:
    """A ZIP archive; ``fields`` are set on the entry of every file."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in files.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name  # a constructor would tidy it up
            info.compress_type = zipfile.ZIP_DEFLATED
            for field, value in fields.items():
                setattr(info, field, value)
            archive.writestr(info, body)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w", **fields: object) -> Path:
    """A tar archive; ``fields`` are set on the entry of every file."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(body))
    return path


def make_rar(path: Path, files: dict[str, bytes], method: int = 0, extra: bytes = b"", flags: int = 0) -> Path:
    """A RAR 5 archive whose files are stored, whatever the header's ``method`` says."""

    def number(value: int) -> bytes:
        low, high = value & 127, value >> 7
        return bytes([low | 128]) + number(high) if high else bytes([low])

    def block(*fields: bytes) -> bytes:
        header = b"".join(fields)
        header = number(len(header)) + header
        return struct.pack("<I", zlib.crc32(header)) + header

    blocks = [b"Rar!\x1a\x07\x01\x00", block(number(1), number(0), number(0))]
    for name, body in files.items():
        kind = [number(2), number(2 | bool(extra))] + ([number(len(extra))] if extra else []) + [number(len(body))]
        sizes = [number(4 | flags), number(len(body)), number(0o644), struct.pack("<I", zlib.crc32(body))]
        encoded = name.encode()
        names = [number(method << 7), number(1), number(len(encoded)), encoded]
        blocks += [block(*kind, *sizes, *names, extra), body]
    path.write_bytes(b"".join([*blocks, block(number(5), number(0), number(0))]))
    return path


def make(path: Path, files: dict[str, bytes]) -> Path:
    """An archive of the format that its name says."""
    if path.suffix in (".zip", ".rar"):
        return (make_zip if path.suffix == ".zip" else make_rar)(path, files)
    return make_tar(path, files, f"w:{path.suffix[1:]}" if path.suffix != ".tar" else "w")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, except for the lock and the marker of the archive."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith((".lock", ".unpacked"))
    }


def refuse(archive: Path, folder: Path, match: str, limits: Limits | None = None) -> None:
    """Unpacking raises, and leaves the folder, and what is around it, as they were."""
    folder.mkdir(exist_ok=True)
    (folder / "mine.txt").write_text("mine")
    around = sorted(folder.parent.iterdir())
    with pytest.raises(DataError, match=match):
        unpack(archive, folder, limits=limits or Limits())
    assert contents(folder) == {"mine.txt": b"mine"}
    assert not list(folder.glob(".*.unpack*"))
    assert sorted(folder.parent.iterdir()) == around


@pytest.mark.parametrize("suffix", FORMATS)
def test_all_formats(tmp_path: Path, suffix: str) -> None:
    archive = make(tmp_path / f"cells.{suffix}", CELLS)
    folder = tmp_path / "a" / "b"
    assert unpack(archive, folder) == folder
    assert contents(folder) == CELLS
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == ["README", "cells"]


def test_the_format_is_known_by_the_first_bytes(tmp_path: Path) -> None:
    make_tar(tmp_path / "cells.zip", CELLS, "w:gz")
    assert contents(unpack(tmp_path / "cells.zip", tmp_path / "out")) == CELLS
    make_zip(tmp_path / "cells.rar", CELLS)
    assert contents(unpack(tmp_path / "cells.rar", tmp_path / "other")) == CELLS


def test_folders_and_what_macs_add(tmp_path: Path) -> None:
    files = {
        "cells/": b"",
        "cells/empty/": b"",
        "cells/1.jpg": b"1",
        "__MACOSX/cells/._1.jpg": b"?",
        "cells/.DS_Store": b"?",
    }
    unpack(make_zip(tmp_path / "a.zip", files), tmp_path / "out")
    assert contents(tmp_path / "out") == {"cells/1.jpg": b"1"}
    assert (tmp_path / "out" / "cells" / "empty").is_dir()


def test_a_second_call_does_nothing(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", CELLS)
    unpack(archive, tmp_path / "out")
    before = (tmp_path / "out" / "README").stat()
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "README").stat() == before
    (tmp_path / "out" / "README").unlink()
    unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == CELLS


def test_what_was_taken_away_within_a_folder_comes_back(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", CELLS)
    unpack(archive, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "cells" / "ig")
    unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == CELLS


def test_a_marker_of_the_first_level_alone_still_counts(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", CELLS)
    marker = unpack(archive, tmp_path / "out") / ".a.zip.unpacked"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "entries": ["README", "cells"]}))
    before = (tmp_path / "out" / "README").stat()
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "README").stat() == before


def test_many_threads_unpack_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "a.zip", CELLS)
    module = sys.modules["cellnet.download.unpack"]
    calls: list[Path] = []

    def count(archive: Path, limit: int) -> Any:
        calls.append(archive)
        time.sleep(0.05)
        return members(archive, limit)

    monkeypatch.setattr(module, "members", count)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: unpack(archive, tmp_path / "out"), range(4)))
    assert contents(tmp_path / "out") == CELLS
    assert calls == [archive]


def test_another_archive_of_that_name_is_unpacked(tmp_path: Path) -> None:
    unpack(make_zip(tmp_path / "a.zip", CELLS), tmp_path / "out")
    unpack(make_zip(tmp_path / "a.zip", {"README": b"new", "cells/3.jpg": b"3"}), tmp_path / "out")
    assert contents(tmp_path / "out") == {**CELLS, "README": b"new", "cells/3.jpg": b"3"}


@pytest.mark.parametrize(
    "marker", ["", "[]", "{}", "null", '{"size": 1, "mtime_ns": 1, "entries": [], "archives": []}']
)
def test_a_marker_that_says_nothing(tmp_path: Path, marker: str) -> None:
    (tmp_path / ".a.zip.unpacked").write_text(marker)
    unpack(make_zip(tmp_path / "a.zip", CELLS), tmp_path)
    assert (tmp_path / "cells" / "ig" / "1.jpg").read_bytes() == b"one"


def test_archives_share_folders_and_replace_what_is_half_there(tmp_path: Path) -> None:
    (tmp_path / "out" / "cells").mkdir(parents=True)
    (tmp_path / "out" / "cells" / "mine.jpg").write_bytes(b"mine")
    (tmp_path / "out" / "cells" / "größe.csv").write_bytes(b"half")
    unpack(make_zip(tmp_path / "a.zip", CELLS), tmp_path / "out")
    unpack(make_zip(tmp_path / "b.zip", {"cells/ig/9.jpg": b"9"}), tmp_path / "out")
    assert contents(tmp_path / "out") == {**CELLS, "cells/mine.jpg": b"mine", "cells/ig/9.jpg": b"9"}


def test_an_interruption_leaves_whole_entries_and_the_next_call_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_zip(tmp_path / "a.zip", CELLS)
    (tmp_path / "out" / ".a.zip.unpacking" / "cells").mkdir(parents=True)  # of a process that was killed
    (tmp_path / "out" / ".a.zip.unpacking" / "cells" / "half.jpg").write_bytes(b"ha")
    moves: list[Path] = []

    def interrupt(source: Path, target: Path) -> Path:
        if moves:
            raise KeyboardInterrupt
        moves.append(target)
        return source.rename(target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, tmp_path / "out")
    there = contents(tmp_path / "out")
    assert there.items() < CELLS.items()
    unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == CELLS
    assert not list((tmp_path / "out").glob("*.unpacking"))


@pytest.mark.parametrize("make", [make_zip, make_tar, pytest.param(make_rar, marks=needs_rarfile)])
@pytest.mark.parametrize(
    "name",
    [
        "../evil", "cells/../../evil", "/evil", "//host/evil", "C:/evil", "c:evil", "cells/C:/evil", "..\\evil",
        "\\evil", "cells\\..\\..\\evil", ".. /evil", "cells/.../evil", "evil\n", "__MACOSX/../../evil",
    ],
)  # fmt: skip
def test_names_that_lead_away(tmp_path: Path, make: Callable[..., Path], name: str) -> None:
    archive = make(tmp_path / "a.bin", {"cells/1.jpg": b"1", name: b"evil"})
    refuse(archive, tmp_path / "out", r"a\.bin holds the name '.*', which leads out of its folder")


@settings(deadline=None, max_examples=60)
@given(
    names=st.lists(
        st.lists(
            st.sampled_from(["..", ".", "", "a", "A", "b.jpg", "C:", "~", " ..", "é", "e\u0301", "/"]), max_size=4
        ),
        min_size=1,
        max_size=3,
    ),
    separator=st.sampled_from(["/", "\\", "//"]),
    tar=st.booleans(),
)
def test_no_name_leaves_the_folder(
    names: list[list[str]], separator: str, tar: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("names")
    files = {separator.join(parts) or "x": b"body" for parts in names}
    archive = (make_tar if tar else make_zip)(base / "a.bin", files)
    try:
        unpack(archive, base / "out")
    except DataError:
        assert not (base / "out").exists() or contents(base / "out") == {}
    else:
        assert set(contents(base / "out").values()) <= {b"body"}
    assert {path.name for path in base.iterdir()} <= {"a.bin", "out"}


@pytest.mark.parametrize(
    "files",
    [
        {"a.jpg": b"1", "./a.jpg": b"2"},
        {"a.jpg": b"1", "A.JPG": b"2"},
        {"cells/a.jpg": b"1", "Cells/a.jpg": b"2"},
        {"é.jpg": b"1", "e\u0301.jpg": b"2"},
        {"cells": b"1", "cells/a.jpg": b"2"},
        {"cells/a.jpg": b"1", "cells": b"2"},
        {"cells/": b"", "CELLS": b"2"},
        {"a.jpg": b"1", "a.jpg.": b"2"},
        {"cells /a.jpg": b"1", "cells/a.jpg": b"2"},
    ],
)
def test_names_that_are_alike(tmp_path: Path, files: dict[str, bytes]) -> None:
    refuse(make_zip(tmp_path / "a.zip", files), tmp_path / "out", "two things whose names are alike")


def test_a_name_twice_in_a_tar(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", {"a.jpg": b"1"})
    with tarfile.open(archive, "a") as again:
        again.addfile(tarfile.TarInfo("a.jpg"))
    refuse(archive, tmp_path / "out", "two things whose names are alike")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    archive = make_tar(tmp_path / "a.tar", {"a.jpg": b""}, type=kind, linkname="/etc/passwd")
    refuse(archive, tmp_path / "out", "'a.jpg', a link or device")


@pytest.mark.parametrize("mode", [0o120777, 0o020644, 0o010644])
def test_links_and_devices_in_a_zip(tmp_path: Path, mode: int) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.jpg": b"/etc/passwd"}, external_attr=mode << 16)
    refuse(archive, tmp_path / "out", "'a.jpg', a link or device")


def redirection(kind: int, target: bytes = b"1.jpg") -> bytes:
    """The record of a RAR entry that is a link."""
    record = bytes([5, kind, 0, len(target)]) + target
    return bytes([len(record)]) + record


@needs_rarfile
@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_links_in_a_rar(tmp_path: Path, kind: int) -> None:
    refuse(make_rar(tmp_path / "a.rar", {"2.jpg": b""}, extra=redirection(kind)), tmp_path / "out", "a link or device")


def flag_as_encrypted(data: bytes) -> bytes:
    """A ZIP archive of one file with the mark of encryption in both its headers."""
    central = data.rindex(b"PK\x01\x02")
    both = bytearray(data)
    both[6] |= 1
    both[central + 8] |= 1
    return bytes(both)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.jpg": b"1"})
    archive.write_bytes(flag_as_encrypted(archive.read_bytes()))
    refuse(archive, tmp_path / "out", r"a\.zip is encrypted; unpack it by hand")


@needs_rarfile
def test_an_encrypted_rar(tmp_path: Path) -> None:
    record = bytes([1, 0, 0, 15]) + bytes(32)
    archive = make_rar(tmp_path / "a.rar", {"a.jpg": b"1"}, extra=bytes([len(record)]) + record)
    refuse(archive, tmp_path / "out", r"a\.rar is encrypted")


@pytest.mark.parametrize("suffix", ["zip", "gz", "bz2", "xz"])
def test_a_bomb(tmp_path: Path, suffix: str) -> None:
    files = {"a.jpg": bytes(5_000_000)}
    archive = make_zip(tmp_path / "a", files) if suffix == "zip" else make_tar(tmp_path / "a", files, f"w:{suffix}")
    refuse(archive, tmp_path / "out", r"unpacks to more than [\d,]+ bytes, which looks like a bomb")


def test_a_bomb_in_what_is_left_out(tmp_path: Path) -> None:
    """A tar has to be unpacked up to the next member; in a ZIP such a thing costs nothing."""
    files = {"__MACOSX/a.jpg": bytes(5_000_000), "b.jpg": b"1"}
    refuse(make_tar(tmp_path / "a.tar.gz", files, "w:gz"), tmp_path / "out", "looks like a bomb")
    unpack(make_zip(tmp_path / "a.zip", files), tmp_path / "out")
    assert (tmp_path / "out" / "b.jpg").read_bytes() == b"1"


def test_a_bomb_in_the_header_of_a_tar(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", {"a": b""}, "w:gz", pax_headers={"comment": "x" * 17_000_000})
    refuse(archive, tmp_path / "out", "bytes of header", Limits(max_ratio=1e9))


def test_limits(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {f"{i}.jpg": os.urandom(100) for i in range(10)})
    refuse(archive, tmp_path / "out", "more than 9 files", Limits(max_files=9))
    refuse(archive, tmp_path / "out", "more than 999 bytes", Limits(max_bytes=999))
    refuse(archive, tmp_path / "out", "more than .* bytes", Limits(max_ratio=0.1))
    unpack(archive, tmp_path / "out", limits=Limits(max_files=10, max_bytes=1_000, max_ratio=1))
    assert len(contents(tmp_path / "out")) == 11


@pytest.mark.parametrize("field", ["max_files", "max_bytes", "max_ratio"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_that_make_no_sense(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field}=.* must be above 0"):
        Limits(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [10, 50_000])
def test_a_zip_whose_header_lies_about_the_size(tmp_path: Path, size: int) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.jpg": os.urandom(20_000)})
    data = bytearray(archive.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[22:26] = data[central + 24 : central + 28] = struct.pack("<I", size)
    archive.write_bytes(data)
    refuse(archive, tmp_path / "out", "is damaged or only half there")


@pytest.mark.parametrize("suffix", FORMATS)
def test_archives_that_are_cut(tmp_path: Path, suffix: str) -> None:
    """Anywhere: in a header, in a file, between two files, in the last bytes."""
    archive = make(tmp_path / f"a.{suffix}", {f"cells/{i}.jpg": os.urandom(3_000) for i in range(4)})
    data = archive.read_bytes()
    end = 4 * (512 + 3_072) if suffix == "tar" else len(data) - 1  # a bare tar ends in padding
    for size in {10, 512, 2_000, 512 + 3_072, 512 + 3_072 + 100, 9_000, end - 1, end}:
        archive.write_bytes(data[:size])
        refuse(archive, tmp_path / "out", "is damaged|is not an archive")


@pytest.mark.parametrize("suffix", FORMATS)
def test_archives_with_an_altered_byte(tmp_path: Path, suffix: str) -> None:
    archive = make(tmp_path / f"a.{suffix}", {f"cells/{i}.jpg": os.urandom(3_000) for i in range(4)})
    data = bytearray(archive.read_bytes())
    data[150 if suffix == "tar" else 6_000] ^= 255  # a bare tar has checksums of its headers alone
    archive.write_bytes(data)
    refuse(archive, tmp_path / "out", "is damaged")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"not an archive" * 99, b"PK\x03\x04", b"\x1f\x8b", b"Rar!\x1a\x07\x01\x00"]
)
def test_no_archive(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(body)
    refuse(tmp_path / "a.zip", tmp_path / "out", "is not an archive|is damaged|is a RAR")


def test_an_archive_without_files(tmp_path: Path) -> None:
    unpack(make_zip(tmp_path / "a.zip", {}), tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_no_such_archive(tmp_path: Path) -> None:
    refuse(tmp_path / "none.zip", tmp_path / "out", r"Cannot read .*none\.zip: No such file")
    refuse(tmp_path, tmp_path / "out", "Cannot read .*: Is a directory")


def test_a_method_that_python_does_not_know(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.jpg": b"1"})
    data = bytearray(archive.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[8] = data[central + 10] = 9  # Deflate64
    archive.write_bytes(data)
    refuse(archive, tmp_path / "out", "packed in a way that Python cannot read .*; unpack it by hand")


def test_something_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cells").write_text("a file")
    with pytest.raises(DataError, match="cells is in the way of what is to be unpacked there; move it away"):
        unpack(make_zip(tmp_path / "a.zip", CELLS), tmp_path / "out")
    assert contents(tmp_path / "out") == {"cells": b"a file"}
    (tmp_path / "out" / "cells").unlink()
    (tmp_path / "out" / "README").mkdir()
    with pytest.raises(DataError, match="README is in the way"):
        unpack(make_zip(tmp_path / "a.zip", CELLS), tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_an_archive_that_would_take_its_own_place(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"cells/1.jpg": b"1", "a.zip": b"2"})
    body = archive.read_bytes()
    with pytest.raises(DataError, match=r"a\.zip holds a file that would take its own place"):
        unpack(archive, tmp_path)
    assert contents(tmp_path) == {"a.zip": body}
    assert contents(unpack(archive, tmp_path / "out")) == {"cells/1.jpg": b"1", "a.zip": b"2"}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="Cannot write into"):
        unpack(make_zip(tmp_path / "a.zip", CELLS), tmp_path / "file")


def test_folders_without_end(tmp_path: Path) -> None:
    refuse(make_zip(tmp_path / "a.zip", {"a/" * 500 + "b": b""}), tmp_path / "out", "more than 64 folders")


@needs_rarfile
def test_a_rar_without_a_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rarfile

    def no_tool() -> None:
        raise rarfile.RarCannotExec("Cannot find working tool")

    monkeypatch.setattr(rarfile, "tool_setup", no_tool)
    archive = make_rar(tmp_path / "a.rar", {"a.jpg": b"1"}, method=3)
    refuse(archive, tmp_path / "out", r'pip install "cellnet\[rar\]" and the program unrar or unar')
    unpack(make_rar(tmp_path / "b.rar", {"a.jpg": b"1"}), tmp_path / "out")  # only stored: none is needed


def test_a_rar_without_rarfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rarfile", None)
    refuse(make_rar(tmp_path / "a.rar", {"a.jpg": b"1"}), tmp_path / "out", r'pip install "cellnet\[rar\]"')


def test_the_progress_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unpack(make_zip(tmp_path / "a.zip", CELLS), tmp_path / "out", progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Unpacking a.zip" in captured.err


@pytest.mark.parametrize("suffix", FORMATS)
def test_damage_of_any_kind_is_one_error(tmp_path: Path, suffix: str) -> None:
    """Or, where it is in padding or a bare tar's images, none; never another exception, nor anything left behind."""
    rng = random.Random(0)
    archive = make(tmp_path / f"a.{suffix}", {f"cells/{i}.jpg": rng.randbytes(700) for i in range(4)})
    whole = archive.read_bytes()
    outcomes = set()
    for number in range(24):
        data = bytearray(whole)
        place = rng.randrange(len(data))
        if number % 3 == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif number % 3 == 1:
            del data[place : place + rng.randint(1, 40)]
        else:
            data[place:place] = rng.randbytes(rng.randint(1, 20))
        archive.write_bytes(data)
        folder = tmp_path / str(number)
        try:
            unpack(archive, folder)
        except DataError:
            assert not folder.exists() or contents(folder) == {}
            outcomes.add("error")
    assert outcomes == {"error"}
