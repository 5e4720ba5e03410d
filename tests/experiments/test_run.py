"""One experiment from data to card."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import cellnet
from cellnet.datasets import read_split
from cellnet.errors import DataError
from cellnet.experiments import RunResult, train_and_report
from cellnet.models import create_model


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    cells = cellnet.load_dataset("synthetic", per_class=8, image_size=32)
    return train_and_report(
        cells.split((0.5, 0.25, 0.25)),
        create_model("cnn", cells.labels, image_size=32),
        cellnet.TrainConfig(epochs=1, batch_size=8),
        tmp_path_factory.mktemp("runs") / "cnn",
        name="drawn",
        split="split seed 0",
        device="cpu",
        command="cellnet train",
    )


def test_the_card_is_written_from_the_run(result: RunResult) -> None:
    card = json.loads((result.checkpoint / "config.json").read_text())["card"]
    assert card["name"] == "drawn"
    assert card["num_test_images"] == 16
    assert card["metrics"]["accuracy"] == result.report.to_dict()["metrics"]["accuracy"]
    assert "split seed 0: 32 train, 16 val, 16 test" in card["split"]
    assert card["starting_weights"] == "none (random initialisation)"


def test_two_parts_are_not_enough(result: RunResult, tmp_path: Path) -> None:
    cells = cellnet.load_dataset("synthetic", per_class=2, image_size=32)
    with pytest.raises(DataError, match="needs the parts train, val and test"):
        train_and_report(cells.split((0.5, 0.5)), result.fit.model, cellnet.TrainConfig(), tmp_path)


def test_the_loaded_model_gives_the_same_report(result: RunResult) -> None:
    model = cellnet.load_pretrained(str(result.checkpoint))
    assert model.temperature == result.fit.model.temperature != 1.0
    assert model.thresholds == result.fit.model.thresholds
    test = cellnet.load_dataset("synthetic", per_class=8, image_size=32).split((0.5, 0.25, 0.25))[2]
    assert cellnet.evaluate(model, test).confusion.tolist() == result.report.confusion.tolist()


def test_full_precision_gives_the_same_logits_to_the_last_bit(result: RunResult, tmp_path: Path) -> None:
    cells = cellnet.load_dataset("synthetic", per_class=2, image_size=32, seed=5)
    folder = result.fit.model.save(tmp_path / "model", storage="float32")
    before, after = result.fit.model.predict(cells), cellnet.load_pretrained(folder).predict(cells)
    assert before.logits.tolist() == after.logits.tolist()


def test_the_split_file_holds_every_image_once(result: RunResult) -> None:
    with (result.checkpoint.parent / "split.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["sha256"] for row in rows}) == len(rows) == 64
    assert all(not Path(row["file"]).is_absolute() for row in rows)
    cells = cellnet.load_dataset("synthetic", per_class=8, image_size=32)
    parts = read_split(result.checkpoint.parent / "split.csv", cells)
    assert [part.files for part in parts] == [part.files for part in cells.split((0.5, 0.25, 0.25))]
