"""The commands that train, started by a launcher in two processes: one answer, one set of files."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cellnet

pytestmark = pytest.mark.slow

WORDS = ["--dataset", "synthetic", "--model", "cnn", "--image-size", "32", "--epochs", "1", "--device", "cpu"]

TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = ["accelerate.commands.accelerate_cli", "launch", "--multi_gpu", "--num_processes", "2"]


def launch(launcher: list[str], *words: object) -> subprocess.CompletedProcess[str]:
    """``LAUNCHER -m cellnet ...``"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *launcher, "-m", "cellnet", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)


def test_two_processes_train_one_model_and_write_one_report(tmp_path: Path) -> None:
    words = ["train", *WORDS, "--batch-size", 8, "--out", tmp_path / "run", "--json"]
    result = launch(TORCHRUN, *words)
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)  # from the first process alone
    assert answer["out"] == str(tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())
    assert metrics["metrics"] == answer["metrics"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["identity"]["processes"] == 2

    model = cellnet.load_pretrained(str(tmp_path / "run" / "model"))
    test = cellnet.load_dataset("synthetic").split((0.7, 0.1, 0.2), seed=0)[2]
    assert cellnet.evaluate(model, test).accuracy.value == answer["metrics"]["accuracy"]["value"]

    again = launch(TORCHRUN, *words)
    assert again.returncode != 0
    assert again.stderr.count("already holds a run") == 1


def test_two_processes_compare_and_go_on(tmp_path: Path) -> None:
    words = ["compare", *WORDS, "--batch-size", 8, "--split", "0.2,0.1,0.7", "--out", tmp_path / "study"]
    first = launch(ACCELERATE, *words, "--vary", "seed=0")
    assert first.returncode == 0, first.stderr
    second = launch(ACCELERATE, *words, "--vary", "seed=0,1", "--resume", "--json")
    assert second.returncode == 0, second.stderr
    assert second.stderr.count("seed=0: done before") == 1
    assert [row["seed"] for row in json.loads(second.stdout)["runs"]] == [0, 1]
    with (tmp_path / "study" / "compare.csv").open(newline="") as file:
        assert [row["seed"] for row in csv.DictReader(file)] == ["0", "1"]
