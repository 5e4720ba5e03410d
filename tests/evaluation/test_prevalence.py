"""Predictive values of all classes at stated shares."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cellnet.errors import ConfigError, DataError, UnknownNameError
from cellnet.evaluation import PredictiveTable, Report, differential, read_prevalence
from cellnet.inference import Predictions
from cellnet.labels import PBC_LABELS, LabelSchema

SCHEMA = LabelSchema.from_names(["lymphocyte", "monocyte", "blast"])


def test_words_and_files_say_the_same(tmp_path: Path) -> None:
    expected = {"lymphocyte": 0.7, "blast": 0.05}
    assert read_prevalence("lymphocyte=0.7,blast=.05, other = 0.25", SCHEMA) == expected
    file = tmp_path / "shares.csv"
    file.write_text("class,share,note\nlymphocyte,0.7,\nblast,0.05,rare\nother,0.25,\n")
    assert read_prevalence(str(file), SCHEMA) == expected
    assert read_prevalence("MONO=1", PBC_LABELS) == {"monocyte": 1.0}  # a synonym
    thirds = "lymphocyte=0.333,monocyte=0.333,blast=0.333"
    assert sum(read_prevalence(thirds, SCHEMA).values()) == pytest.approx(0.999)
    assert read_prevalence("a=0.4,other=0.6", LabelSchema.from_names(["a", "other"])) == {"a": 0.4, "other": 0.6}


def test_a_differential_is_a_prevalence(tmp_path: Path) -> None:
    called = [0, 0, 0, 1]
    preds = Predictions([f"{i}.png" for i in range(4)], SCHEMA, np.eye(3)[called])
    file = differential(preds).to_csv(tmp_path / "differential.csv")
    assert read_prevalence(str(file), SCHEMA) == {"lymphocyte": 0.75, "monocyte": 0.25, "blast": 0.0}
    # Its shares are per white cell; a prevalence is of all cells.
    cells = {"neutrophil": 60, "lymphocyte": 40, "erythroblast": 20, "platelet": 80}
    labels = [PBC_LABELS.index(name) for name, n in cells.items() for _ in range(n)]
    file = differential(Predictions([str(i) for i in range(200)], PBC_LABELS, np.eye(8)[labels])).to_csv(file)
    found = read_prevalence(str(file), PBC_LABELS)
    assert {name: share for name, share in found.items() if share} == {name: n / 200 for name, n in cells.items()}


def test_a_file_may_be_named_like_words(tmp_path: Path) -> None:
    file = tmp_path / "lr=0.01" / "shares.csv"
    file.parent.mkdir()
    file.write_text("class,share\nblast,1\n")
    assert read_prevalence(str(file), SCHEMA) == {"blast": 1.0}
    names = [f"{'x' * 40}_{i}" for i in range(10)]  # words too long for a file's name
    shares = read_prevalence(",".join(f"{name}=0.1" for name in names), LabelSchema.from_names(names))
    assert shares == dict.fromkeys(names, 0.1)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ("lymphocyte=0.7,blast=0.1", ConfigError, "sum to 0.8, not 1; .*other=SHARE"),
        ("lymphocyte=0.7,other=0.4", ConfigError, "sum to 1.1, not 1"),
        ("lymphocite=0.7,other=0.3", UnknownNameError, "Did you mean 'lymphocyte'"),
        ("lymphocyte=70,other=30", ConfigError, "lymphocyte is '70', but it is a share"),
        ("lymphocyte=much,other=0.3", ConfigError, "'much', but it is a share"),
        ("lymphocyte=nan,other=0.3", ConfigError, "'nan', but it is a share"),
        ("lymphocyte=-0.1,other=1", ConfigError, "'-0.1', but it is a share"),
        ("lymphocyte=0.5,lymphocyte=0.5", ConfigError, "lymphocyte is given twice"),
        ("lymphocyte=0.5,0.5", ConfigError, "'0.5' is not CLASS=SHARE"),
        ("no_such.csv", DataError, "Cannot read no_such.csv"),
    ],
)
def test_bad_words(words: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_prevalence(words, SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        *("", "class,share\n", "name,share\nblast,1\n", "class,share\nblast\n", "share,class\n1\n", "\x00\xff"),
        *(f"class,share,cells\nblast,1,{cells}\n" for cells in ("", "many", -1, 0)),
    ],
)
def test_bad_files(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(text, encoding="latin-1")
    with pytest.raises((DataError, ConfigError, UnknownNameError)):
        read_prevalence(str(tmp_path / "bad.csv"), SCHEMA)


def test_the_table_is_bayes_theorem(tmp_path: Path) -> None:
    targets = np.array([0] * 50 + [1] * 40)
    called = targets.copy()
    called[:5], called[50:52] = 1, 0
    preds = Predictions([f"{i}.png" for i in range(90)], SCHEMA, np.eye(3)[called], targets=targets)
    shares = {"lymphocyte": 0.2, "blast": 0.1}
    table = PredictiveTable.of(Report.from_predictions(preds), shares)
    sensitivity, specificity = 45 / 50, 38 / 40
    ppv = sensitivity * 0.2 / (sensitivity * 0.2 + (1 - specificity) * 0.8)
    npv = specificity * 0.8 / (specificity * 0.8 + (1 - sensitivity) * 0.2)
    figures = table.to_dict()
    assert figures["lymphocyte"]["ppv"]["value"] == pytest.approx(ppv)
    assert figures["lymphocyte"]["npv"]["value"] == pytest.approx(npv)
    assert figures["lymphocyte"]["ppv"]["low"] < ppv < figures["lymphocyte"]["ppv"]["high"]
    assert figures["blast"]["ppv"] == {"value": None, "low": None, "high": None}  # no image shows its sensitivity
    json.dumps(figures, allow_nan=False)
    with table.to_csv(tmp_path / "new" / "prevalence.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["lymphocyte", "blast"]
    assert float(rows[0]["ppv"]) == pytest.approx(ppv)
    assert float(rows[0]["npv_high"]) == figures["lymphocyte"]["npv"]["high"]
    assert rows[1]["ppv"] == rows[1]["npv_low"] == ""
    text = str(table)
    assert f"{100 * ppv:.1f} % [" in text
    assert "n/a" in text
