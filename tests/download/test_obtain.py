"""`cellnet.download.obtain`: from addresses to files that can be read."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cellnet.cards import RemoteFile
from cellnet.download import obtain
from cellnet.errors import DataError

if TYPE_CHECKING:
    from tests.download.conftest import Server


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return data.getvalue()


def remote(server: Server, name: str, body: bytes) -> RemoteFile:
    return RemoteFile(name, (server.serve(f"/{name}", body),), sha256=hashlib.sha256(body).hexdigest())


def test_an_archive_within_an_archive(server: Server, tmp_path: Path) -> None:
    """As PBC comes; what lies one level deeper stays packed."""
    deepest = zipped({"evil/../../x": b"never looked at"})
    images = zipped({"PBC/ig/1.jpg": b"1", "PBC/deep.zip": deepest, "__MACOSX/PBC/ig/._1.jpg": b"?"})
    files = [remote(server, "pbc.zip", zipped({"set/images.zip": images, "set/README": b"read"}))]
    assert obtain(files, tmp_path / "pbc") == tmp_path / "pbc"
    folder = tmp_path / "pbc" / "set"
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == ["PBC", "README", "images.zip"]
    assert (folder / "PBC" / "ig" / "1.jpg").read_bytes() == b"1"
    assert sorted(path.name for path in (folder / "PBC").iterdir()) == ["deep.zip", "ig"]


def test_a_second_call_neither_fetches_nor_unpacks(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [remote(server, "a.zip", zipped({"b.zip": zipped({"1.jpg": b"1"})})), remote(server, "c.csv", b"c")]
    obtain(files, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    monkeypatch.setenv("CELLNET_OFFLINE", "1")
    obtain(files, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")} == before != {}
    assert len(server.requests) == 2


def test_what_was_taken_away_is_unpacked_again(server: Server, tmp_path: Path) -> None:
    files = [remote(server, "a.zip", zipped({"b.zip": zipped({"1.jpg": b"1"})}))]
    for name in ("1.jpg", "b.zip"):
        obtain(files, tmp_path)
        (tmp_path / name).unlink()
    obtain(files, tmp_path)
    assert (tmp_path / "1.jpg").read_bytes() == b"1"
    assert len(server.requests) == 1


def test_an_npz_is_no_archive(server: Server, tmp_path: Path) -> None:
    obtain([remote(server, "cells.npz", zipped({"train_images.npy": b"1"}))], tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == ["cells.npz"]


def test_a_file_that_is_missing_does_not_undo_the_others(server: Server, tmp_path: Path) -> None:
    files = [remote(server, "a.zip", zipped({"1.jpg": b"1"})), RemoteFile("b.zip", instructions="Ask for it.")]
    with pytest.raises(DataError, match=r"b\.zip has to be fetched by hand\. Put the file b\.zip into .* Ask for it"):
        obtain(files, tmp_path)
    assert (tmp_path / "1.jpg").read_bytes() == b"1"
    (tmp_path / "b.zip").write_bytes(zipped({"2.jpg": b"2"}))
    obtain(files, tmp_path)
    assert (tmp_path / "2.jpg").read_bytes() == b"2"


def test_a_damaged_archive_whose_hash_nobody_knows(server: Server, tmp_path: Path) -> None:
    url = server.serve("/a.zip", zipped({"1.jpg": b"1"})[:-30])
    with pytest.raises(DataError, match=r"a\.zip cannot be unpacked .* delete it and download it again"):
        obtain([RemoteFile("a.zip", (url,))], tmp_path)
    assert not (tmp_path / "1.jpg").exists()
