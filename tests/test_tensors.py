"""Files of tensors."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cellnet.errors import ConfigError, WeightsError
from cellnet.tensors import read_metadata, read_tensors, write_tensors


def test_round_trip_of_shared_and_permuted_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    shared = torch.arange(6.0).view(2, 3)
    kernel = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    write_tensors(path, {"a": shared, "b": shared, "t": shared.T, "k": kernel}, {"word": "ü"})
    back = read_tensors(path)
    assert torch.equal(back["a"], shared)
    assert torch.equal(back["b"], shared)
    assert torch.equal(back["t"], shared.T)
    assert torch.equal(back["k"], kernel)
    assert read_metadata(path) == {"format": "pt", "word": "ü"}


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"w": torch.zeros(1)})

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        write_tensors(path, {"w": torch.ones(1)})
    assert torch.equal(read_tensors(path)["w"], torch.zeros(1))
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is a folder"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("content", [b"\x01", b"\x02" + bytes(7) + b"[]", b"\x09" + bytes(7) + b"{not json"])
def test_a_header_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="no safetensors"):
        read_metadata(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"abc", "no safetensors"),
        (b"\x00" * 100, "no safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (pickle.dumps({"w": 1}), "never opens"),
        (b"PK\x03\x04" + b"\x00" * 50, "never opens"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "Keras"),
    ],
)
def test_other_files_in_its_place(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        read_tensors(path)


def test_missing_truncated_and_exchanged_files(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(WeightsError, match="does not exist"):
        read_tensors(path)
    digest = write_tensors(path, {"w": torch.ones(4)})
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(WeightsError, match="SHA-256"):
        read_tensors(path, digest)
    with pytest.raises(WeightsError, match="no safetensors"):
        read_tensors(path)


def test_a_header_whose_size_looks_like_another_file_is_read(tmp_path: Path) -> None:
    """The first byte of a safetensors file is part of a number and may be anything, even that of a pickle."""
    for length in range(0, 200, 4):
        path = tmp_path / f"{length}.safetensors"
        save_file({"w" * (length + 1): torch.ones(2)}, path)
        assert read_tensors(path)
        if path.read_bytes()[:1] == b"\x80":
            return
    pytest.fail("no such header was made")
