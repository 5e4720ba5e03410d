"""`cellnet.files`: a file is there whole, or as it was before."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from cellnet.errors import ConfigError
from cellnet.files import atomic_path, write_text


def test_writes_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a" / "b" / "größe.txt", "µm\n")
    assert path.read_bytes() == "µm\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["größe.txt"]


def test_a_string_is_a_path_too(tmp_path: Path) -> None:
    assert write_text(str(tmp_path / "a.txt"), "x") == tmp_path / "a.txt"


def test_replaces_only_when_whole(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")
    with atomic_path(final) as temporary:
        temporary.write_text("new")
        assert final.read_text() == "old"
    assert final.read_text() == "new"


def test_the_temporary_file_is_a_hidden_neighbour_with_the_same_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "model.v1.safetensors") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".safetensors"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"")


def test_a_link_stays_a_link_and_permissions_stay(tmp_path: Path) -> None:
    final, link = tmp_path / "there" / "a.txt", tmp_path / "link.txt"
    write_text(final, "old")
    final.chmod(0o600)
    link.symlink_to(final)
    write_text(link, "new")
    assert link.is_symlink()
    assert final.read_text() == "new"
    assert stat.S_IMODE(final.stat().st_mode) == 0o600


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="no file"):
        write_text(tmp_path / "pipe", "x")
    assert (tmp_path / "pipe").is_fifo()


def write_half(path: Path, error: BaseException) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")
    with pytest.raises(type(error)):
        write_half(final, error)
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Cannot write .*a\.txt: No space left on device"):
        write_half(tmp_path / "a.txt", OSError(errno.ENOSPC, "No space left on device"))
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_wrote_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot write"), atomic_path(tmp_path / "a.txt"):
        pass


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "file" / "a.txt", tmp_path / "folder", tmp_path / ("n" * 300)):
        with pytest.raises(ConfigError, match="choose another folder"):
            write_text(target, "x")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "kept"
