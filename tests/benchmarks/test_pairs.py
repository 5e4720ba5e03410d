"""Two ways to train one network, on drawn cells: what the table says of them."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

import cellnet
from cellnet.cli.app import app
from cellnet.errors import DataError
from cellnet.inference import Predictions

ACCURACY = Path(__file__).parents[2] / "benchmarks" / "accuracy"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ACCURACY)
    return importlib.import_module("pairs")


def train(out: Path, *words: str) -> Path:
    common = ["--dataset", "synthetic", "--model", "cnn", "--image-size", "32", "--batch-size", "16", "--out", str(out)]
    done = CliRunner().invoke(app, ["train", *common, "--split", "0.5,0.2,0.3", *words])
    assert done.exit_code == 0, done.output
    return out


def test_each_way_has_its_figures_and_its_difference_from_the_first(script: ModuleType, tmp_path: Path) -> None:
    plain = train(tmp_path / "plain", "--epochs", "2")
    contrast = train(tmp_path / "contrast", "--epochs", "1", "--objective", "supcon", "--set", "augmentation=strong")
    first, second = script.rows_of({"cross-entropy": plain, "contrast": contrast})
    assert (first["way"], first["epochs"], first["difference"]) == ("cross-entropy", "2", "")
    assert (second["way"], second["epochs"]) == ("contrast", "1, then 5")
    tables = [Predictions.read_csv(run / "report" / "predictions.csv") for run in (plain, contrast / "classifier")]
    right = [(table.probabilities.argmax(1) == table.targets).mean() for table in tables]
    shown = float(second["difference"].split(" ")[0].replace("−", "-"))
    assert shown == pytest.approx(100 * (right[1] - right[0]), abs=0.006)
    assert second["accuracy"].startswith(f"{100 * right[1]:.2f} %")
    assert int(second["test_images"]) == len(tables[0].files)
    for row in (first, second):
        assert str(tmp_path) not in row["command"]


def test_a_model_that_was_never_judged_is_refused(script: ModuleType, tmp_path: Path) -> None:
    cellnet.create_model("cnn", image_size=32).save(tmp_path / "run" / "model")
    with pytest.raises(DataError, match="was judged on no test part; train it with `cellnet train`"):
        script.row_of(tmp_path / "run")
