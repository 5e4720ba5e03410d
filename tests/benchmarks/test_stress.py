"""The measurement of perturbed images, on drawn cells and an untrained model."""

from __future__ import annotations

import csv
import importlib
import sys
from pathlib import Path

import pytest

from cellnet.datasets import load_dataset
from cellnet.evaluation import stress
from cellnet.evaluation.stress import PERTURBATIONS
from cellnet.models import create_model

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "robustness"


def test_a_row_for_each_perturbation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = load_dataset("synthetic")
    model = create_model("cnn", cells.labels, image_size=32)
    model.save(tmp_path / "net", storage="float32")
    monkeypatch.syspath_prepend(SCRIPTS)
    script = importlib.import_module("stress")
    words = ["--weights", tmp_path / "net", "--dataset", "synthetic", "--images", 6, "--out", tmp_path / "stress.csv"]
    monkeypatch.setattr(sys, "argv", ["stress.py", *map(str, words)])
    script.main()
    with (tmp_path / "stress.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    report = stress(model.eval(), cells.split((0.7, 0.1, 0.2), seed=0)[2], images=6)
    assert [row["perturbation"] for row in rows] == list(PERTURBATIONS)
    for row in rows:
        assert (row["clean"], row["mean_of_all"]) == (str(report.clean), str(report.mean))
        accuracy = report.accuracy[row["perturbation"]]
        assert [row[f"strength_{strength}"] for strength in range(1, 6)] == [str(e) for e in accuracy]
        assert row["wrong_unflagged_at_5"] == str(report.confident_errors[row["perturbation"]][-1])
