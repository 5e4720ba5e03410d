"""The study of few labelled cells, on drawn cells and tiny networks."""

from __future__ import annotations

import csv
import importlib
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

import cellnet
from cellnet.errors import WeightsError
from cellnet.labels import LabelSchema

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "accuracy"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("fine_tune")


def test_a_row_for_each_start(
    script: ModuleType, pbc_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pbc_root / "PBC_dataset_normal_DIB"
    for file in sorted((root / "platelet").iterdir())[3:]:
        file.unlink()
    networks = [partial(cellnet.create_model, "cnn", image_size=32, dropout=dropout) for dropout in (0.1, 0.2)]
    monkeypatch.setattr(
        script, "starts", lambda labels, _: {str(i): partial(net, labels) for i, net in enumerate(networks)}
    )
    monkeypatch.setattr(script, "FOLDS", 2)
    monkeypatch.setattr(script, "CONFIG", cellnet.TrainConfig(epochs=1, batch_size=32))
    monkeypatch.setattr(script, "RESULTS", tmp_path / "accuracy.csv")
    monkeypatch.setattr(sys, "argv", ["fine_tune.py", str(root), "start.safetensors", str(tmp_path / "runs")])
    script.main()
    with (tmp_path / "fine_tune.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["start"] for row in rows] == ["0", "1"]
    for row in rows:
        assert (row["classes"], row["images"], row["trained_on"]) == ("7", "140", "63")


def test_the_shipped_model_keeps_what_it_knows(script: ModuleType) -> None:
    labels = LabelSchema.from_names(["neutrophil", "blast"])
    made = {words.partition(",")[0]: make for words, make in script.starts(labels, Path("gone.safetensors")).items()}
    shipped = cellnet.load_pretrained(script.NAME)
    model = made[script.NAME]()
    assert model.labels == labels
    row = shipped.labels.index("neutrophil")
    assert (model.head.classify[1].weight[0] == shipped.head.classify[1].weight[row]).all()
    with pytest.raises(WeightsError, match="gone"):
        made["ImageNet"]()
