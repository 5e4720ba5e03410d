"""Who may use a run folder, and what it keeps when something goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cellnet.errors import ConfigError, WeightsError
from cellnet.training import TrainConfig, run_folder
from cellnet.training.run_folder import RunFolder

IDENTITY = {"train": "1f", "val": "2e"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "LOCK_SECONDS", 0.0)


def claim(path: Path, resume: bool = False, config: TrainConfig | None = None, **identity: str) -> Any:
    """The state in a folder, which is left to others."""
    folder = RunFolder(path)
    try:
        return folder.claim(config or TrainConfig(), IDENTITY | identity, {"started": "now"}, resume)
    finally:
        folder.release()


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((3,), value)}


def saved(path: Path, *bests: float | None) -> RunFolder:
    """A folder with as many saves as ``bests``; None where the best weights are those of before."""
    folder = RunFolder(path)
    folder.claim(TrainConfig(), IDENTITY, {}, resume=False)
    for step, best in enumerate(bests):
        folder.save({"step": step}, None if best is None else weights(best))
    folder.release()
    return folder


def test_a_new_folder_holds_options_identity_and_session(tmp_path: Path) -> None:
    assert claim(tmp_path / "run", resume=True) is None
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run == {"identity": IDENTITY, "sessions": [{"started": "now"}]}
    assert TrainConfig.from_toml(tmp_path / "run" / "config.toml") == TrainConfig()


def test_another_run_is_refused_with_the_difference(tmp_path: Path) -> None:
    claim(tmp_path)
    with pytest.raises(ConfigError, match="already holds a run; continue it with resume"):
        claim(tmp_path)
    with pytest.raises(ConfigError, match="cannot be continued: epochs was 30, is 2"):
        claim(tmp_path, resume=True, config=TrainConfig(epochs=2))
    with pytest.raises(ConfigError, match="cannot be continued: train was '1f', is '3d'"):
        claim(tmp_path, resume=True, train="3d")
    assert claim(tmp_path, resume=True, config=TrainConfig(workers=3, checkpoint_minutes=1.0)) is None


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="not empty and holds no run"):
        claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigError, match="is a file"):
        claim(tmp_path / "thesis.txt")


def test_a_run_killed_as_it_began_can_begin_again(tmp_path: Path) -> None:
    claim(tmp_path)
    (tmp_path / "run.json").unlink()
    assert claim(tmp_path, resume=True) is None


@pytest.mark.parametrize("text", ["", "[]", '{"train": "1f"}'])
def test_a_damaged_or_old_run_file(tmp_path: Path, text: str) -> None:
    claim(tmp_path)
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ConfigError, match=r"run\.json is damaged, or of an earlier version"):
        claim(tmp_path, resume=True)


def test_two_runs_in_one_folder_at_once(tmp_path: Path) -> None:
    first = RunFolder(tmp_path)
    first.claim(TrainConfig(), IDENTITY, {}, resume=False)
    with pytest.raises(ConfigError, match="Another process is training in"):
        claim(tmp_path, resume=True)
    first.release()
    claim(tmp_path, resume=True)


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; from cellnet.training import TrainConfig; from cellnet.training.run_folder import RunFolder;"
        f"RunFolder(sys.argv[1]).claim(TrainConfig(), {IDENTITY!r}, {{}}, False); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    assert claim(tmp_path, resume=True) is None


def test_the_best_weights_are_written_only_when_they_are_new(tmp_path: Path) -> None:
    folder = saved(tmp_path, 1.0)
    time = folder.best.stat().st_mtime_ns
    folder.save({"step": 1}, None)
    assert folder.best.stat().st_mtime_ns == time
    state = claim(tmp_path, resume=True)
    assert state["step"] == 1
    assert torch.equal(state["best_weights"]["w"], weights(1.0)["w"])


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [damage, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", ["checkpoint.safetensors", "best.safetensors"])
def test_a_damaged_file_falls_back_to_the_save_before(tmp_path: Path, name: str, harm: Callable[[Path], Any]) -> None:
    saved(tmp_path, 1.0, 2.0, 3.0)
    harm(tmp_path / name)
    with pytest.warns(UserWarning, match=rf"{name} is .* continues from the checkpoint before"):
        state = claim(tmp_path, resume=True)
    assert (state["step"], state["best_weights"]["w"][0]) == (1, 2.0)
    # The folder is sound again, and goes on as if the lost save had never been.
    assert claim(tmp_path, resume=True)["step"] == 1


def test_best_weights_newer_than_the_checkpoint_are_not_taken(tmp_path: Path) -> None:
    folder = saved(tmp_path, 1.0, 2.0)
    (tmp_path / "checkpoint.safetensors").rename(tmp_path / "kept")
    folder.save({"step": 2}, weights(3.0))
    (tmp_path / "kept").rename(tmp_path / "checkpoint.safetensors")  # as if killed before the third save ended
    state = claim(tmp_path, resume=True)
    assert (state["step"], state["best_weights"]["w"][0]) == (1, 2.0)


def test_nothing_whole_is_an_error_that_names_the_files(tmp_path: Path) -> None:
    saved(tmp_path, 1.0, 2.0)
    damage(tmp_path / "checkpoint.safetensors")
    damage(tmp_path / "checkpoint-previous.safetensors")
    with pytest.raises(WeightsError, match=r"No checkpoint in .* can be used: .*previous.* Train anew"):
        claim(tmp_path, resume=True)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Cannot write into"):
        claim(tmp_path / "file" / "run")
