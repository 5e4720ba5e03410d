"""From a finished run to shipped weights, on drawn cells: what they carry, and what fitting it anew changes."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from typer.testing import CliRunner

from cellnet.cli.app import app
from cellnet.hub import load

SCRIPTS = Path(__file__).parents[2] / "benchmarks"

CONFIG = """
split = [0.7, 0.1, 0.2]
[options]
dataset = "pbc"
model = "cnn"
[model]
image_size = 32
[train]
epochs = 1
batch_size = 16
"""


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, ModuleType]:
    for folder in ("robustness", "accuracy"):
        monkeypatch.syspath_prepend(SCRIPTS / folder)
    release, refit = importlib.import_module("release"), importlib.import_module("refit")
    monkeypatch.setattr(release, "RESULTS", tmp_path / "results" / "accuracy.csv")
    (tmp_path / "results").mkdir()
    return {"release": release, "refit": refit}


def call(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", [script.__name__, *map(str, words)])
    script.main()


def test_shipped_weights_carry_all_that_was_fitted(
    scripts: dict[str, ModuleType], pbc_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run, into = tmp_path / "train.toml", tmp_path / "run", tmp_path / "weights"
    config.write_text(CONFIG)
    trained = CliRunner().invoke(app, ["train", "--config", str(config), "--root", str(pbc_root), "--out", str(run)])
    assert trained.exit_code == 0, trained.output
    words = [run, "net", "--storage", "int8", "--root", pbc_root, "--config", config, "--into", into]
    call(scripts["release"], monkeypatch, *words)
    shipped = load(into / "net")
    assert set(shipped.probes) == {"familiarity", "attributes"}
    assert shipped.familiarity is not None
    assert shipped.familiarity.weight is not None
    assert set(shipped.thresholds) == {"probability", "distance"}
    assert {file.name for file in (into / "net").iterdir()} >= {"train.toml", "history.csv", "README.md"}
    with (tmp_path / "results" / "shipped.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["weights"] for row in rows] == ["int8", "float32"]

    card, file = shipped.weights_card, into / "net" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"thresholds": {}}))
    assert load(into / "net").thresholds == {}
    call(scripts["refit"], monkeypatch, "net", "--root", pbc_root, "--within", into)
    again = load(into / "net")
    assert set(again.thresholds) == {"probability", "distance"}
    assert again.familiarity is not None
    assert again.familiarity.weight is not None
    assert again.familiarity.weight.any()
    assert (into / "net" / "train.toml").read_text() == CONFIG
    assert (into / "net" / "history.csv").exists()
    assert again.weights_card is not None
    *before, last = again.weights_card.scorings
    assert tuple(before) == card.scorings
    assert (last.part, last.note) == ("test", "thresholds fitted anew")
    assert again.weights_card.metrics == last.metrics
    assert last.metrics["accuracy"] == card.metrics["accuracy"]
    assert (into / "net" / "probes.safetensors").exists()
    call(scripts["refit"], monkeypatch, "net", "--root", pbc_root, "--within", into, "--keep-words", "--whole")
    assert not (into / "net" / "probes.safetensors").exists()
    whole = load(into / "net")
    assert len(whole.weights_card.scorings) == len(card.scorings) + 2
    assert whole.attributes is not None
    assert torch.equal(whole.attributes.weight, again.attributes.weight)
    for name, value in again.backbone.state_dict().items():
        torch.testing.assert_close(value, shipped.backbone.state_dict()[name])


def test_of_a_run_in_stages_the_last_is_released_with_the_history_of_all(
    scripts: dict[str, ModuleType], pbc_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run, into = tmp_path / "train.toml", tmp_path / "run", tmp_path / "weights"
    config.write_text(CONFIG.replace('model = "cnn"', 'model = "cnn"\nobjective = "supcon"'))
    words = ["train", "--config", str(config), "--root", str(pbc_root), "--out", str(run)]
    trained = CliRunner().invoke(app, [*words, "--set", "augmentation=strong"])
    assert trained.exit_code == 0, trained.output
    release = scripts["release"]
    monkeypatch.setattr(release, "fit_probes", lambda *_: None)
    call(release, monkeypatch, run, "net", "--root", pbc_root, "--config", config, "--into", into)
    for name, stage in (("history.csv", "classifier"), ("history_encoder.csv", "encoder")):
        assert (into / "net" / name).read_text() == (run / stage / "history.csv").read_text()
    card = load(into / "net").weights_card
    assert card is not None
    assert card.starting_weights == "supervised contrastive training from random initialisation"
    seconds = [release.seconds_of(run / stage) for stage in ("encoder", "classifier")]
    assert release.training_of(run / "classifier", [run / "encoder"])["hours"] == round(sum(seconds) / 3600, 2)
