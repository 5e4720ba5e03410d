"""Reports in the card of a checkpoint folder."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from cellnet.cards import Scoring, WeightsCard
from cellnet.datasets import CellDataset
from cellnet.errors import DataError, LabelError
from cellnet.evaluation import Estimate, Report, evaluate
from cellnet.hub import load, record, save
from cellnet.hub.card import render_card
from cellnet.inference import Predictions
from cellnet.models import CellClassifier

HOME = Scoring(
    "Home",
    "test",
    1000,
    metrics={"accuracy": {"value": 0.99, "low": 0.98, "high": 0.995}},
    per_class={"ig": {"n": 7, "recall": {"value": 0.5, "low": 0.25, "high": 0.75}}},
    date="2026-01-31",
)
CARD = WeightsCard(
    "tiny",
    training_data="home",
    training_set={"title": "Home", "licence": "CC BY 4.0", "stain": "May-Grünwald-Giemsa"},
    training={
        "seed": 3,
        "epochs": 8,
        "best_epoch": 7,
        "precision": "bf16",
        "hours": 1.5,
        "hardware": {"processor": "P"},
    },
    metrics=HOME.metrics,
    num_test_images=1000,
    scorings=(HOME,),
)


@pytest.fixture
def report(tiny_model: CellClassifier, synthetic: CellDataset) -> Report:
    return evaluate(tiny_model, synthetic)


@pytest.fixture
def folder(tiny_model: CellClassifier, tmp_path: Path) -> Path:
    return save(tiny_model, tmp_path / "tiny", card=CARD)


def test_each_report_is_one_scoring_more(folder: Path, report: Report) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    card = record(folder, report, note="as it is")
    assert load(folder).weights_card == card
    assert (folder / "model.safetensors").read_bytes() == weights
    home, other = card.scorings
    assert home == HOME
    assert (other.images, other.note, other.version) == (report.n, "as it is", "1")
    assert other.metrics["accuracy"]["low"] == report.accuracy.low
    assert other.per_class["ig"]["n"] == report.per_class["ig"]["n"]
    assert other.date == datetime.now(UTC).date().isoformat()
    assert len(record(folder, report).scorings) == 3


def test_a_reader_finds_it_in_the_card(folder: Path, report: Report) -> None:
    before = (folder / "README.md").read_text(encoding="utf-8")
    assert "Not judged on images of another laboratory" in before
    assert "| ig | 7 | 50.00 % [25.00–75.00] | – |" in before
    assert "1.5 hours on P" in before
    assert "May-Grünwald-Giemsa" in before
    assert "| 2026-01-31 | 1 | Home, part test | 1000 | 99.00 % [98.00–99.50] |" in before
    record(folder, report, note="normalisation measured")
    after = (folder / "README.md").read_text(encoding="utf-8")
    assert "Not judged on images of another laboratory" not in after
    row = next(line for line in after.splitlines() if "(normalisation measured)" in line)
    assert str(report.metrics["balanced_accuracy"].value * 100)[:4] in row
    assert "| External validation | 1 other data set, above |" in after


def test_the_same_done_again_takes_the_place_of_what_was(folder: Path, report: Report) -> None:
    for accuracy in (0.25, 0.5):
        record(folder, replace(report, metrics={"accuracy": Estimate(accuracy, 0.0, 1.0)}), note="again")
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "| accuracy | 50.00 % [0.00–100.00] |" in text
    assert text.count("(again)") == 2  # both stay in the list of all scorings


def test_the_test_part_judged_anew_becomes_the_headline(folder: Path, report: Report) -> None:
    card = record(folder, replace(report, dataset="Home", part="test"), headline=True)
    assert card.num_test_images == report.n
    assert card.metrics["accuracy"]["value"] == report.accuracy.value
    assert card.headline == card.scorings[-1]
    assert card.scorings[0] == HOME
    assert load(folder).weights_card == card


def test_older_versions_are_listed_but_not_among_the_figures(tiny_model: CellClassifier) -> None:
    card = replace(CARD, version="2", scorings=(*CARD.scorings, replace(HOME, data="Elsewhere")))
    text = render_card(card, tiny_model, source="./tiny", storage="int8")
    assert "Elsewhere, part test" in text
    assert "Not judged on images of another laboratory" in text


def test_a_bare_card_says_what_is_missing(tiny_model: CellClassifier) -> None:
    text = render_card(WeightsCard("bare"), tiny_model, source="./bare", storage="float32")
    for words in ("treat these weights as untested", "were not kept", "is not recorded", "- Compute spent: not stated"):
        assert words in text
    assert "None" not in text.replace("| None |", "").replace("None were measured", "")


def test_what_is_refused(folder: Path, report: Report) -> None:
    card = (folder / "README.md").read_bytes()
    with pytest.raises(DataError, match="judges the training part"):
        record(folder, replace(report, part="train"))
    with pytest.raises(DataError, match="Only a test part gives the headline"):
        record(folder, replace(report, part="val"), headline=True)
    schema = report.schema
    fewer = type(schema).from_names(schema.names[:2])
    table = np.eye(2, dtype=np.float32)
    other = Report.from_predictions(Predictions(["a", "b"], fewer, table, targets=[0, 1]))
    with pytest.raises(LabelError, match="other classes than the model's"):
        record(folder, other)
    assert (folder / "README.md").read_bytes() == card
