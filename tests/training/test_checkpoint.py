"""Training state in one safetensors file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cellnet.errors import WeightsError
from cellnet.tensors import write_tensors
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


def test_other_tensors_are_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": torch.zeros(1)})
    with pytest.raises(WeightsError, match="not a training checkpoint"):
        load_state(path)
