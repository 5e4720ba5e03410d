"""What run.json tells of a run."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from cellnet import __version__
from cellnet.datasets import CellDataset
from cellnet.models import CellClassifier
from cellnet.training import TrainConfig
from cellnet.training.processes import create_accelerator
from cellnet.training.provenance import git_commit, run_identity, run_session


def test_a_session_names_data_versions_and_hardware(synthetic: CellDataset) -> None:
    train, val = synthetic.folds(3)[0]
    session = json.loads(json.dumps(run_session(train, val, 5, torch.device("cpu"))))
    assert session["data"]["train"]["hash"] == train.fingerprint()
    assert session["data"]["train"]["images"] == 32
    assert session["data"]["val"]["images"] == 16
    assert session["versions"]["cellnet"] == __version__
    assert session["versions"]["torch"] == version("torch")
    assert session["hardware"]["device"] == "cpu"
    assert session["seed"] == 5
    assert abs((datetime.now(UTC) - datetime.fromisoformat(session["started"])).total_seconds()) < 60


def test_the_identity_changes_with_what_changes_the_result(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    train, val = synthetic.folds(2)[0]
    accelerator = create_accelerator(TrainConfig(), "cpu")
    identity = run_identity(tiny_model, train, val, accelerator)
    assert identity == json.loads(json.dumps(identity))
    assert (identity["precision"], identity["processes"]) == ("fp32", 1)
    assert run_identity(tiny_model, val, train, accelerator) != identity
    turned = run_identity(tiny_model, train.subset(range(len(train))[::-1]), val, accelerator)
    assert {key for key in identity if identity[key] != turned[key]} == {"train_order"}
    tiny_model.freeze_backbone()
    assert run_identity(tiny_model, train, val, accelerator) == identity | {"frozen": ["backbone"]}
    tiny_model.unfreeze_backbone()
    accelerator = create_accelerator(TrainConfig(precision="bf16"), "cpu")
    assert run_identity(tiny_model, train, val, accelerator) == identity | {"precision": "bf16"}


def test_the_commit_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_commit() is None

    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        return subprocess.run(["git", *identity, *words], capture_output=True, text=True, check=True).stdout.strip()

    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "first")
    assert git_commit() == git("rev-parse", "HEAD")
    (tmp_path / "a").write_text("2")
    assert git_commit() == git("rev-parse", "HEAD") + "-dirty"
    monkeypatch.setenv("PATH", "")
    assert git_commit() is None
