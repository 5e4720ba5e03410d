"""Training state in one safetensors file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cellnet.errors import ConfigError, WeightsError
from cellnet.training.checkpoint import load_state, save_state


def test_round_trip_is_exact(tmp_path: Path) -> None:
    shared = torch.randn(3)
    state = {
        "optimizer": {
            "state": {0: {"step": torch.tensor(3.0), "m": shared}, 1: {"m": shared}},
            "groups": [{"lr": 0.1}],
        },
        "rng": torch.get_rng_state(),
        "kernel": torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "history": [{"epoch": 1, "loss": 0.1 + 0.2}],
        "none": None,
    }
    save_state(tmp_path / "a.safetensors", state)
    loaded = load_state(tmp_path / "a.safetensors")
    assert loaded["history"] == state["history"]
    assert loaded["none"] is None
    assert set(loaded["optimizer"]["state"]) == {0, 1}
    assert loaded["optimizer"]["groups"] == [{"lr": 0.1}]
    assert torch.equal(loaded["optimizer"]["state"][1]["m"], shared)
    assert torch.equal(loaded["rng"], state["rng"])  # type: ignore[arg-type]
    assert torch.equal(loaded["kernel"], state["kernel"])  # type: ignore[arg-type]
    assert loaded["kernel"].stride() == state["kernel"].stride()  # type: ignore[attr-defined]
    assert loaded["half"].dtype == torch.bfloat16


@pytest.mark.parametrize("content", [b"", b"\x80\x04 pickle", b"<html></html>"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not an intact training checkpoint"):
        load_state(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_state(path, {"x": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(WeightsError, match="not an intact training checkpoint"):
        load_state(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no training checkpoint"):
        load_state(tmp_path / "none")


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save_state(path, {"x": 1})

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cellnet.training.checkpoint.save_file", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        save_state(path, {"x": 2})
    assert load_state(path) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]
