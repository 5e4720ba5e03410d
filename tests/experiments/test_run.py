"""One experiment from data to card."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

import cellnet
from cellnet.datasets import CellDataset, read_split
from cellnet.errors import DataError
from cellnet.experiments import RunResult, train_and_report
from cellnet.images import nucleus_share
from cellnet.models import CellClassifier, create_model


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
    settings = result.report.settings
    assert settings["split"] == "split seed 0"
    assert card["split"].endswith(f"split {settings['split hash']}")
    training, (scoring,) = card["training"], card["scorings"]
    assert (training["epochs"], training["best_epoch"], training["seed"]) == (1, 1, 0)
    assert training["hardware"]["device"] == "cpu"
    assert (scoring["images"], scoring["part"], scoring["metrics"]) == (16, "test", card["metrics"])


def test_the_model_knows_how_large_cells_looked(result: RunResult) -> None:
    train = cellnet.load_dataset("synthetic", per_class=8, image_size=32).split((0.5, 0.25, 0.25))[0]
    expected = nucleus_share(train.image(i) for i in range(len(train)))
    assert cellnet.load_pretrained(str(result.checkpoint)).nucleus_share == expected


def test_where_no_threshold_fits_the_report_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellnet.inference.ood.ACCURACY_GOAL", 1.1)  # however well the few images are called
    cells = cellnet.load_dataset("synthetic", per_class=4, image_size=16)
    model = create_model("cnn", cells.labels, image_size=16)
    config = cellnet.TrainConfig(epochs=1, batch_size=8)
    report = train_and_report(cells.split((0.5, 0.25, 0.25)), model, config, tmp_path, device="cpu").report
    assert report.notes[0].startswith("The 8 validation images fit no threshold")
    assert "the model abstains from all" in " ".join(str(report).split())
    saved = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert saved["notes"][0] == report.notes[0]


def test_two_parts_are_not_enough(result: RunResult, tmp_path: Path) -> None:
    cells = cellnet.load_dataset("synthetic", per_class=2, image_size=32)
    with pytest.raises(DataError, match="needs the parts train, val and test"):
        train_and_report(cells.split((0.5, 0.5)), result.fit.model, cellnet.TrainConfig(), tmp_path)


def test_images_that_were_learned_are_no_test(result: RunResult, tmp_path: Path) -> None:
    train, val, _ = cellnet.load_dataset("synthetic", per_class=8, image_size=32).split((0.5, 0.25, 0.25))
    learned = train.subset(range(3), "test")
    with pytest.raises(DataError, match="3 images stand in both the train and the test part"):
        train_and_report((train, val, learned), result.fit.model, cellnet.TrainConfig(), tmp_path)


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


def test_run_json_names_split_and_command(result: RunResult) -> None:
    session = json.loads((result.checkpoint.parent / "run.json").read_text())["sessions"][0]
    with (result.checkpoint.parent / "split.csv").open(newline="") as file:
        assert {row["split"] for row in csv.DictReader(file)} == {session["split_hash"]}
    assert (session["split"], session["command"]) == ("split seed 0", "cellnet train")


def test_a_start_must_not_have_seen_test_images(result: RunResult, tmp_path: Path) -> None:
    cells = cellnet.load_dataset("synthetic", per_class=8, image_size=32)
    parts, others = (cells.split((0.5, 0.25, 0.25), seed) for seed in (0, 1))
    start, config = cellnet.load_pretrained(str(result.checkpoint)), cellnet.TrainConfig(epochs=1, batch_size=8)

    def train(parts: tuple[CellDataset, ...], folder: str) -> CellClassifier:
        trained = train_and_report(parts, start.transfer(), config, tmp_path / folder, name="next", device="cpu")
        return cellnet.load_pretrained(trained.checkpoint)

    assert train(parts, "same").weights_card.seen == {}  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"drawn, which this training starts from, was trained on other images"):
        train(others, "other")
    with pytest.raises(DataError, match=r"drawn, which this training starts from, was trained on other images"):
        train_and_report(others, start, config, tmp_path / "as it is", device="cpu")
    start.weights_card = replace(start.weights_card, training_data="another set")  # type: ignore[type-var]
    start = train(others, "elsewhere")
    assert start.weights_card is not None
    assert start.weights_card.learned_from.keys() == {"another set", "synthetic"}
    # What a model learned before its last training counts as well.
    start.weights_card = replace(
        start.weights_card, training_data="third set", seen={"synthetic": start.weights_card.training_data_hash}
    )
    assert train(others, "back").weights_card.seen["third set"] == start.weights_card.training_data_hash  # type: ignore[union-attr]
    with pytest.raises(DataError, match="trained on other images"):
        train(parts, "not back")


def test_a_teacher_must_not_have_seen_test_images(result: RunResult, tmp_path: Path) -> None:
    cells = cellnet.load_dataset("synthetic", per_class=8, image_size=32)
    parts, others = (cells.split((0.5, 0.25, 0.25), seed) for seed in (0, 1))
    teacher = cellnet.load_pretrained(str(result.checkpoint))
    config = cellnet.TrainConfig(epochs=1, batch_size=8)

    def train(parts: tuple[CellDataset, ...], teacher: CellClassifier, folder: str) -> RunResult:
        student = create_model("cnn", cells.labels, image_size=32)
        return train_and_report(parts, student, config, tmp_path / folder, distill=teacher, device="cpu")

    assert train(parts, teacher, "same").fit.best_epoch == 1
    with pytest.raises(DataError, match=r"trained on other images of 'synthetic' than this training part.*same split"):
        train(others, teacher, "other")
    teacher.weights_card = replace(teacher.weights_card, training_data="another set")  # type: ignore[type-var]
    assert train(others, teacher, "elsewhere").fit.best_epoch == 1
    teacher.weights_card = None
    with pytest.raises(DataError, match="trained on unknown images: it has no card"):
        train(parts, teacher, "unknown")
