"""Two processes on one machine train as one does, and agree."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState

from cellnet.training import TrainConfig
from cellnet.training.processes import create_accelerator, on_main_process

SCRIPT = Path(__file__).with_name("together.py")

FAILS = """
import json, os, sys
from pathlib import Path
from cellnet.training.processes import on_main_process

def fail():
    raise OSError("no room")

try:
    on_main_process(fail, "cpu")
except Exception as error:
    saw = [type(error).__name__, str(error), on_main_process(lambda: 42)]
    Path(sys.argv[1], os.environ["RANK"]).write_text(json.dumps(saw))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """The same functions, for this one process."""
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def saw(folder: Path) -> list[dict[str, Any]]:
    """What each of two processes saw."""
    launch(SCRIPT, folder)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def launch(script: Path, folder: Path) -> None:
    """Run a script in two processes."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, folder]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment)
    assert result.returncode == 0, result.stderr


def test_the_loss_curve_is_that_of_one_process(saw: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    expected = alone["curve"](alone["train"](batch_size=16))
    for row, whole in zip(saw[0]["curve"], expected, strict=True):
        assert row == pytest.approx(whole, abs=1e-5)
    assert expected[0][0] != pytest.approx(expected[-1][0], abs=1e-3)  # it learned


def test_accumulated_batches_give_the_curve_of_the_same_global_batch(saw: list[dict[str, Any]]) -> None:
    for row, whole in zip(saw[0]["accumulated"], saw[0]["curve"], strict=True):
        assert row == pytest.approx(whole, abs=1e-5)


def test_balanced_and_contrastive_training_do_not_notice_processes(
    saw: list[dict[str, Any]], alone: dict[str, Any]
) -> None:
    whole = {
        "balanced": alone["train"](batch_size=16, balance="RandomOverSampler", sampling="class_balanced"),
        "contrast": alone["contrast"](batch_size=16),
    }
    for name, fit in whole.items():
        for row, expected in zip(saw[0][name], alone["curve"](fit), strict=True):
            assert row == pytest.approx(expected, abs=1e-5), name


def test_each_image_is_scored_exactly_once(saw: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    one = alone["score"](1)
    assert one["computed"] == 21
    assert [process["scores"]["computed"] for process in saw] == [11, 10]
    for process in saw:
        for row, whole in zip(process["scores"]["logits"], one["logits"], strict=True):
            assert row == pytest.approx(whole, abs=1e-6)


def test_processes_end_with_the_same_model_and_history(saw: list[dict[str, Any]]) -> None:
    for key in ("curve", "fingerprint", "early", "refusal", "stop"):
        assert saw[0][key] == saw[1][key], key
    assert saw[0]["early"] < 20


def test_only_the_first_process_writes_and_calls_back(saw: list[dict[str, Any]], folder: Path) -> None:
    assert [process["steps"] for process in saw] == [9, 0]
    run = json.loads((folder / "run" / "run.json").read_text())
    assert run["identity"]["processes"] == 2
    assert len(run["sessions"]) == 1


def test_a_refusal_reaches_all(saw: list[dict[str, Any]]) -> None:
    assert "already holds a run" in saw[1]["refusal"]


def test_a_signal_to_one_process_stops_all_and_the_run_continues(saw: list[dict[str, Any]]) -> None:
    message, code = saw[0]["stop"]
    assert "SIGTERM after step" in message
    assert code == 143
    assert saw[0]["resumed"] == saw[0]["curve"]


def test_processes_part_before_python_ends(saw: list[dict[str, Any]], folder: Path) -> None:
    assert [(folder / f"{rank}.end").read_text() for rank in (0, 1)] == ["joined: False"] * 2


def test_no_process_waits_for_a_first_one_that_failed(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text(FAILS)
    launch(script, tmp_path)
    saw = [json.loads((tmp_path / rank).read_text()) for rank in "01"]
    assert saw == [
        ["OSError", "no room", 42],
        ["CellnetError", "The first process failed: OSError: no room", 42],
    ]


def test_a_run_on_the_cpu_is_on_the_cpu_whatever_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device without memory stands for a GPU."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(PartialState, "default_device", torch.device("meta"))
    PartialState._reset_state()
    devices = [create_accelerator(TrainConfig(), device).device.type for device in (None, "cpu", None)]
    assert devices == ["meta", "cpu", "meta"]
    PartialState._reset_state()
    on_main_process(lambda: None, "cpu")
    assert PartialState().device.type == "cpu"
    PartialState._reset_state()
