"""The scripts that fill single tables, in little: each runs to its end and writes the columns that the pages show."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import timm
from typer.testing import CliRunner

import cellnet
from cellnet.cli.app import app
from cellnet.datasets import load_dataset, pack
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS
from cellnet.tensors import write_tensors

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Script = Callable[..., ModuleType]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Loads a script by its place, with other values for some of its names."""

    def load(place: str, **values: Any) -> ModuleType:
        path = BENCHMARKS / f"{place}.py"
        monkeypatch.syspath_prepend(path.parent)
        spec = importlib.util.spec_from_file_location(f"small_{path.stem}", path)  # its own name may be a package's
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)
        return module

    return load


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(module: ModuleType, *words: object) -> None:
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
        module.main()

    return run


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table, which has the columns of the committed one."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (BENCHMARKS / "results" / path.name).open(newline="", encoding="utf-8") as file:
        assert list(rows[0]) == next(csv.reader(file))
    return rows


def train(*words: object) -> None:
    done = CliRunner().invoke(app, [*map(str, words), "--device", "cpu"])
    assert done.exit_code == 0, done.output


TINY = ("--dataset", "synthetic", "--model", "cnn", "--image-size", 16, "--epochs", 1)


def test_intervals_of_simulated_test_sets(script: Script, call: Callable[..., None], tmp_path: Path) -> None:
    module = script("robustness/coverage", MANY=2000)
    module.WORLDS = tuple((world, sizes[:1]) for world, sizes in module.WORLDS)
    call(module, "--trials", 3, "--out", tmp_path / "coverage.csv")
    rows = read(tmp_path / "coverage.csv")
    assert {row["world"] for row in rows} == {"confusion", "ranking", "donors", "pairs"}
    for row in rows:
        shares = [float(row[key]) for key in ("coverage", "too_low", "too_high")]
        assert sum(shares) == pytest.approx(1, abs=2e-3)
        assert row["trials"] == "3"


def test_guarantees_on_predictions(script: Script, call: Callable[..., None], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = []
    for part in ("val", "test"):
        targets = rng.integers(8, size=400)
        probabilities = rng.dirichlet(np.full(8, 0.2), 400) + 3 * np.eye(8)[targets]
        files.append(tmp_path / f"{part}.csv")
        with files[-1].open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "target", *PBC_LABELS.names])
            for i, row in enumerate(probabilities / probabilities.sum(1, keepdims=True)):
                writer.writerow([f"{part}{i}.png", PBC_LABELS.names[targets[i]], *row])
    call(script("robustness/conformal"), *files, "--splits", 2, "--out", tmp_path / "conformal.csv")
    rows = read(tmp_path / "conformal.csv")
    assert {row["promise"] for row in rows} == {"split sets", "Mondrian sets", "risk of the accepted"}
    assert rows[0]["images"] == "266 fit, 266 judge"


def test_the_exactness_of_the_contrastive_loss(script: Script, call: Callable[..., None], tmp_path: Path) -> None:
    call(script("robustness/supcon", SHAPES=4, RESULTS=tmp_path / "supcon_exact.csv"))
    rows = {row["type"]: float(row["worst_value"]) for row in read(tmp_path / "supcon_exact.csv")}
    assert rows["float64"] < 1e-12
    assert rows["float32"] < 1e-4


@pytest.mark.slow
def test_a_training_that_is_killed(tmp_path: Path) -> None:
    words = ["robustness/kill_and_resume.py", "--runs", "1", "--kills", "1", "--out", tmp_path / "kill_and_resume.csv"]
    subprocess.run([sys.executable, *words], cwd=BENCHMARKS, check=True)
    (row,) = read(tmp_path / "kill_and_resume.csv")
    assert row["bit_identical"] == "yes"


def test_planted_copies(script: Script, pbc_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("speed/audit", COPIES=1)
    monkeypatch.setattr(sys.modules["harness"], "RESULTS", tmp_path)
    module.planted(pbc_root / "PBC_dataset_normal_DIB")
    rows = read(tmp_path / "audit_planted.csv")
    assert [row["copies"] for row in rows] == list(module.KINDS)
    assert {row["planted"] for row in rows} == {"1"}


@pytest.mark.slow
def test_ways_of_balancing(script: Script, call: Callable[..., None], tmp_path: Path) -> None:
    methods = {"none": {}, "balance=RandomOverSampler": {"balance": "RandomOverSampler"}}
    config = cellnet.TrainConfig(batch_size=8)
    module = script(
        "accuracy/imbalance",
        MOST=4,
        LEAST=2,
        STEPS=4,
        BATCH_SIZE=8,
        CONFIG=config,
        METHODS=methods,
        RESULTS=tmp_path / "accuracy.csv",
    )
    pack(load_dataset("synthetic", per_class=40, image_size=64), tmp_path / "packed", Preprocess(64))
    write_tensors(tmp_path / "start.safetensors", timm.create_model("mobilenetv2_100").state_dict())
    call(module, tmp_path / "packed", tmp_path / "start.safetensors", tmp_path / "runs", "0,1")
    rows = read(tmp_path / "imbalance.csv")
    assert [row["method"] for row in rows] == list(methods)
    assert [row["seeds"] for row in rows] == ["2", "2"]


@pytest.mark.slow
def test_the_tables_of_studies(script: Script, tmp_path: Path) -> None:
    module = script("accuracy/studies", RESULTS=tmp_path / "accuracy.csv")
    singly, repeated, folds = (tmp_path / name for name in ("singly", "repeated", "folds"))
    train("compare", *TINY, "--singly", "--vary", "ema=0.9", "--vary", "seed=0,1", "--out", singly)
    train("compare", *TINY, "--vary", "split-seed=0,1", "--out", repeated)
    train("cross-validate", *TINY, "--folds", 2, "--out", folds)
    module.main([f"ablation={singly}", f"splits={repeated}", f"optimizers={repeated}", f"cross_validation={folds}"])
    assert [row["change"] for row in read(tmp_path / "ablation.csv")] == ["none", "ema=0.9"]
    assert [row["split_seed"] for row in read(tmp_path / "splits.csv")] == ["0", "1", "mean"]
    assert [row["runs"] for row in read(tmp_path / "optimizers.csv")] == ["2"]
    assert [row["fold"] for row in read(tmp_path / "cross_validation.csv")] == ["1", "2", "mean", "pooled"]


def test_a_finished_run_becomes_a_row(script: Script, tmp_path: Path) -> None:
    module = script("accuracy/collect")
    train("train", *TINY, "--out", tmp_path / "run")
    module.replace_rows(tmp_path / "accuracy.csv", ("model",), [module.row_of(tmp_path / "run")])
    (row,) = read(tmp_path / "accuracy.csv")
    assert (row["model"], row["image_size"], row["epochs"], row["start"]) == (
        "cnn",
        "16",
        "1",
        "none (random initialisation)",
    )
    assert row["machine"].endswith("no GPU")


def test_another_laboratory(script: Script, call: Callable[..., None], pbc_root: Path, tmp_path: Path) -> None:
    model = cellnet.create_model("cnn", image_size=16)
    model.save(tmp_path / "net", storage="float32")
    module = script("accuracy/external", RESULTS=tmp_path / "accuracy.csv")
    call(module, pbc_root / "PBC_dataset_normal_DIB", f"net={tmp_path / 'net'}")
    rows = read(tmp_path / "external.csv")
    assert [row["step"] for row in rows] == list(dict.fromkeys(row["step"] for row in rows))
    assert {row["images"] for row in rows} == {"160"}


def test_what_maps_are_worth(script: Script, call: Callable[..., None], tmp_path: Path) -> None:
    cellnet.create_model("cnn", image_size=16).save(tmp_path / "net", storage="float32")
    module = script("robustness/maps", RESULTS=tmp_path)
    call(module, tmp_path / "net")
    rows = read(tmp_path / "maps.csv")
    assert [row["method"] for row in rows] == ["grad-cam", "occlusion"]
    assert all(-1 <= float(row[column]) <= 1 for row in rows for column in ("untrained", "other_class"))
