"""Weights that ship, judged as rows of the study's table: a small network stands for them."""

from __future__ import annotations

import csv
import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from cellnet.cli.app import app
from cellnet.datasets import write_list
from cellnet.evaluation import Estimate
from cellnet.hub import load

ROOT = Path(__file__).parents[2]

CONFIG = """
split = [0.7, 0.1, 0.2]
split_seed = {seed}
[options]
dataset = "pbc"
model = "cnn"
objective = "supcon"
[model]
image_size = 32
[train]
epochs = 1
batch_size = 16
augmentation = "strong"
"""


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, ModuleType]:
    for folder in (ROOT / "benchmarks" / "robustness", ROOT / "benchmarks" / "accuracy", ROOT):
        monkeypatch.syspath_prepend(folder)
    named = {"release": "release", "command": "benchmarks.accuracy.__main__", "shipped": "benchmarks.accuracy.shipped"}
    found = {name: importlib.import_module(module) for name, module in named.items()}
    monkeypatch.setattr(found["release"], "RESULTS", tmp_path / "results" / "accuracy.csv")
    monkeypatch.setattr(found["release"], "fit_probes", lambda *_: None)
    monkeypatch.setattr(found["shipped"], "FOLDER", tmp_path / "weights")
    (tmp_path / "results").mkdir()
    return found


def ship(scripts: dict[str, ModuleType], name: str, seed: int, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train a small network on a split of ``seed``, and release it under a name."""
    run, into = root.parent / name, root.parent / "weights"
    config = root.parent / f"{name}.toml"
    config.write_text(CONFIG.format(seed=seed))
    words = ["train", "--config", str(config), "--root", str(root), "--out", str(run)]
    trained = CliRunner().invoke(app, words)
    assert trained.exit_code == 0, trained.output
    words = [str(run), name, "--root", str(root), "--config", str(config), "--into", str(into)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["release", *words])
        scripts["release"].main()


def test_weights_that_ship_are_rows_of_the_table(
    scripts: dict[str, ModuleType],
    pbc_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ship(scripts, "net", 0, pbc_root, monkeypatch)
    ship(scripts, "other", 1, pbc_root, monkeypatch)
    results = tmp_path / "table"
    words = ["judge", "--data", str(pbc_root), "--results", str(results)]
    # One that learned from test images of this split is refused, and the others are in the table all the same.
    assert scripts["command"].main(words) == 1
    told = capsys.readouterr().err
    assert "Failed: other: other learned from images of 'pbc' that are not the train part of this split" in told
    with (results / "cpu.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    card = load(tmp_path / "weights" / "net").weights_card
    assert card is not None
    assert (row["model"], row["protocol"], row["shuffled"], row["image_size"]) == ("shipped_net", "honest", "", "32")
    assert row["accuracy"] == str(Estimate(**card.metrics["accuracy"]))
    assert row["test_images"] == str(card.num_test_images)
    assert row["split_hash"] in card.split
    assert row["epochs"] == "1+5"  # the encoder, then its classifier
    assert row["start"] == "supervised contrastive training from random initialisation; version 1"
    assert row["precision"] == "fp32"
    assert row["device"].endswith("cores")
    assert row["command"] == "python -m benchmarks.accuracy judge --weights net --data data"
    # Judged on other images, they would be rows of another table.
    some = tmp_path / "some.txt"
    write_list(some, scripts["shipped"].cellnet.load_dataset("pbc", pbc_root).subset(range(0, 160, 2)))
    assert scripts["command"].main([*words, "--only", str(some), "--weights", "net"]) == 1
    assert "cpu.csv holds rows of pbc, 160 images" in capsys.readouterr().err


def test_unknown_weights_are_named(scripts: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    assert scripts["command"].main(["judge", "--weights", "bset"]) == 1
    assert "Unknown weights 'bset'" in capsys.readouterr().err


def test_every_model_of_the_package_can_be_judged() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        shipped = importlib.import_module("benchmarks.accuracy.shipped")
    assert shipped.shipped_names() == ["best", "hybrid", "inception_v3", "mobilenet_v2", "supcon", "xception"]
    assert shipped.epochs_in(shipped.FOLDER / "supcon")[1:] == [5]
