from __future__ import annotations

import csv
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.inference import Predictions, softmax, table
from cellnet.inference.predictor import predict
from cellnet.labels import PBC_LABELS, LabelSchema
from cellnet.models import CellClassifier

THREE = LabelSchema.from_names(["lymphocyte", "monocyte", "blast"])
ODD_NAMES = [
    "a,b.jpg",
    "line\nbreak.jpg",
    "return\r.jpg",
    'quote".jpg',
    "Zählung/細胞 🔬.jpg",
    " spaces .jpg",
]


def make(n: int = 6, targets: bool = True, unreadable: tuple[int, ...] = (2,), sets: bool = False) -> Predictions:
    rng = np.random.default_rng(n)
    logits = rng.normal(scale=4, size=(n, 3)).astype(np.float32)
    ood = rng.normal(size=n).astype(np.float32)
    errors: list[str | None] = [None] * n
    for i in unreadable:
        logits[i], ood[i], errors[i] = np.nan, np.nan, "damaged, see log"
    return Predictions(
        ODD_NAMES[:n],
        THREE,
        softmax(logits),
        errors=errors,
        ood=ood,
        abstain=[e is not None or i == 0 for i, e in enumerate(errors)],
        targets=rng.integers(0, 3, n) if targets else None,
        logits=logits,
        in_set=softmax(logits) >= 0.1 if sets else None,
    )


def same(a: Predictions, b: Predictions) -> None:
    assert a.files == b.files
    assert a.schema.names == b.schema.names
    assert a.errors == b.errors
    assert a.probabilities.tobytes() == b.probabilities.tobytes()
    assert a.ood.tobytes() == b.ood.tobytes()
    assert a.abstain.tolist() == b.abstain.tolist()
    assert (a.targets is None) == (b.targets is None)
    if a.targets is not None:
        assert a.targets.tolist() == b.targets.tolist()
    assert a.sets == b.sets


def test_a_row() -> None:
    preds = Predictions(["a"], THREE, [[0.2, 0.5, 0.3]], ood=[-1.5], targets=[2])
    row = preds[0]
    assert (row.file, row.label, row.second, row.abstain, row.error, row.target) == (
        "a",
        "monocyte",
        "blast",
        False,
        None,
        2,
    )
    assert row.probability == pytest.approx(0.5)
    assert row.margin == pytest.approx(0.2)
    assert row.ood == -1.5
    assert row.top(2) == [("monocyte", pytest.approx(0.5)), ("blast", pytest.approx(0.3))]
    assert len(row.top(10)) == 3


def test_an_unreadable_row() -> None:
    row = make()[2]
    assert (row.label, row.second, row.top(3), row.error) == (None, None, [], "damaged, see log")
    assert np.isnan([row.probability, row.margin, row.ood]).all()


def test_sequence() -> None:
    preds = make()
    assert len(preds) == 6
    assert [row.file for row in preds] == preds.files
    assert preds[-1].file == preds.files[-1]
    assert preds[np.int64(1)].file == preds.files[1]
    assert preds.labels[2] is None
    assert preds.readable.tolist() == [True, True, False, True, True, True]
    with pytest.raises(IndexError):
        preds[6]
    assert repr(preds) == "Predictions(6 images, 1 unreadable, 1 more abstained, schema 'custom')"


def test_equal_probabilities_give_the_first_class() -> None:
    row = Predictions(["a"], THREE, [[0.4, 0.4, 0.2]])[0]
    assert (row.label, row.second, row.margin) == ("lymphocyte", "monocyte", 0.0)


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [([np.nan] * 3, None, "no error and NaN"), ([1.0, 0.0, 0.0], "gone", "an error, but not NaN")],
)
def test_unreadable_means_both_nan_and_an_error(row: list[float], error: str | None, words: str) -> None:
    with pytest.raises(DataError, match=f"Row 1 has {words}"):
        Predictions(["a", "b"], THREE, [[1.0, 0.0, 0.0], row], errors=[None, error])


def test_one_class_has_no_second() -> None:
    row = Predictions(["a"], LabelSchema.from_names(["cell"]), [[1.0]])[0]
    assert (row.label, row.second, row.margin) == ("cell", None, 1.0)


def test_defaults() -> None:
    preds = Predictions(["a", "b"], THREE, [[0.5, 0.5, 0.0], [np.nan] * 3], errors=[None, "gone"])
    assert preds.abstain.tolist() == [False, True]
    assert np.isnan(preds.ood).all()
    np.testing.assert_allclose(softmax(preds.logits[:1]), preds.probabilities[:1], atol=1e-7)


def test_sets_are_names_of_classes() -> None:
    table, errors = [[0.5, 0.4, 0.1], [np.nan] * 3], [None, "gone"]
    inside = [[True, True, False], [False] * 3]
    preds = Predictions(["a", "b"], THREE, table, errors=errors, in_set=inside)
    assert preds.sets == [("lymphocyte", "monocyte"), ()]
    assert [row.set for row in preds] == preds.sets
    assert preds.to_dict()["predictions"][0]["set"] == ("lymphocyte", "monocyte")
    plain = Predictions(["a", "b"], THREE, table, errors=errors)
    assert plain.sets is plain[0].set is None
    assert "set" not in plain.to_dict()["predictions"][0]


def test_sets_stand_in_the_csv_where_there_are_some(tmp_path: Path) -> None:
    preds = Predictions(["a"], THREE, [[0.5, 0.4, 0.1]], in_set=[[True, True, False]])
    with preds.to_csv(tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
        [row] = csv.DictReader(stream)
    assert row["set"] == "lymphocyte|monocyte"
    odd = LabelSchema.from_names(["a|b", "c"])
    Predictions(["a"], odd, [[1.0, 0.0]]).to_csv(tmp_path / "odd.csv")
    with pytest.raises(LabelError, match=r"'a\|b' has a '\|' in its name"):
        Predictions(["a"], odd, [[1.0, 0.0]], in_set=[[True, False]]).to_csv(tmp_path / "odd.csv")


def test_a_set_of_unknown_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Row 2 .*column 'set'.*'monocite'.*Did you mean 'monocyte'"):
        read(tmp_path, "file,set,lymphocyte,monocyte\na,lymphocyte|monocite,0.4,0.6\n")


def test_no_rows() -> None:
    preds = Predictions([], THREE, [])
    assert len(preds) == 0
    assert preds.probabilities.shape == preds.logits.shape == (0, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"probabilities": [[0.5, 0.5]]},
        {"probabilities": [[1.0, 0.0, 0.0]] * 2},
        {"errors": []},
        {"ood": [0.0, 0.0]},
        {"abstain": []},
        {"targets": [0, 1]},
        {"features": np.zeros((2, 4))},
        {"logits": [[0.0]]},
        {"in_set": [[True]]},
    ],
)
def test_lengths_must_agree(wrong: dict[str, object]) -> None:
    arguments: dict[str, object] = {"files": ["a"], "schema": THREE, "probabilities": [[1.0, 0.0, 0.0]]}
    with pytest.raises(DataError, match=next(iter(wrong))):
        Predictions(**(arguments | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [-1, 3])
def test_targets_are_labels(target: int) -> None:
    with pytest.raises(DataError, match=f"A target is {target}, but the labels of 3 classes are 0 to 2"):
        Predictions(["a"], THREE, [[1.0, 0.0, 0.0]], targets=[target])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([0.9, 0.9, 0.0], "Row 1: the probabilities sum to 1.8, not 1"),
        ([1.5, -0.5, 0.0], "Row 1: lymphocyte is 1.5; a probability lies between 0 and 1"),
        ([0.0, 0.0, np.inf], "Row 1: blast is inf"),
    ],
)
def test_rows_must_be_probabilities(row: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Predictions(["a", "b"], THREE, [[1.0, 0.0, 0.0], row])


def test_groups_are_kept_as_text_and_come_back(tmp_path: Path) -> None:
    rows = [[1.0, 0.0, 0.0]] * 3
    preds = Predictions(list("abc"), THREE, rows, targets=[0, 0, 0], groups=[7, None, "donor, 2"])
    assert preds.groups == ["7", None, "donor, 2"]
    assert (preds[0].group, preds[1].group) == ("7", None)
    path = preds.to_csv(tmp_path / "out.csv")
    assert path.read_text(encoding="utf-8").splitlines()[0].split(",")[:3] == ["file", "target", "group"]
    again = Predictions.read_csv(path)
    assert again.groups == preds.groups
    assert json.loads(preds.to_json(tmp_path / "out.json").read_text())["predictions"][2]["group"] == "donor, 2"
    assert read(tmp_path, "file,group,a,b\nx,,1,0\n").groups is None
    unknown = [math.nan, np.float32("nan"), pytest.importorskip("pandas").NA]
    assert Predictions(list("abc"), THREE, rows, groups=unknown).groups == [None] * 3
    with pytest.raises(DataError, match="groups has 1 entries for 3 files"):
        Predictions(list("abc"), THREE, rows, groups=["a"])


def test_a_data_sets_groups_come_with_its_predictions(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    groups = [None if i % 5 == 0 else i // 4 for i in range(48)]
    preds = predict(tiny_model, synthetic.with_groups(np.array(groups, object)))
    assert preds.groups == [None if group is None else str(group) for group in groups]
    assert predict(tiny_model, synthetic).groups is None


def test_a_file_is_read_in_blocks_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "ROWS_AT_ONCE", 2)
    preds = make()
    same(preds, Predictions.read_csv(preds.to_csv(tmp_path / "out.csv")))
    with pytest.raises(DataError, match=r"Row 5 .* sum to 0\.9"):
        read(tmp_path, HEAD + "a,monocyte,1,0\n\nb,monocyte,1,0\nx,monocyte,0.5,0.4\n")
    with pytest.raises(DataError, match=r"Row 4 .*empty"):
        read(tmp_path, HEAD + "a,monocyte,1,0\nb,monocyte,1,0\nc,,1,0\nd,,1,0\n")


@pytest.mark.parametrize("targets", [True, False])
@pytest.mark.parametrize("sets", [True, False])
@pytest.mark.parametrize("schema", [None, THREE])
def test_csv_round_trip_to_the_last_bit(tmp_path: Path, targets: bool, sets: bool, schema: LabelSchema | None) -> None:
    preds = make(targets=targets, sets=sets)
    path = preds.to_csv(tmp_path / "new" / "out.csv")
    same(preds, Predictions.read_csv(path, schema))


def test_csv_columns(tmp_path: Path) -> None:
    with make().to_csv(tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    before = ["file", "target", "label", "probability", "second", "margin", "abstain", "ood"]
    assert list(rows[0]) == [*before, "lymphocyte", "monocyte", "blast", "error"]
    assert [row["file"] for row in rows] == ODD_NAMES
    assert rows[0]["abstain"] == "true"
    assert rows[2]["error"] == "damaged, see log"
    assert {rows[2][name] for name in ("label", "probability", "margin", "ood", "blast")} == {""}
    bare = make(targets=False).to_csv(tmp_path / "bare.csv")
    assert "target" not in bare.read_text(encoding="utf-8").splitlines()[0].split(",")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_file_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    path = Predictions([name], THREE, [[1.0, 0.0, 0.0]]).to_csv(tmp_path / "out.csv")
    assert Predictions.read_csv(path).files == [name]


def test_a_class_must_not_take_the_name_of_a_column(tmp_path: Path) -> None:
    preds = Predictions(["a"], LabelSchema.from_names(["cell", "error"]), [[1.0, 0.0]])
    with pytest.raises(LabelError, match="'error'"):
        preds.to_csv(tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())


def read(tmp_path: Path, text: str, schema: LabelSchema | None = None) -> Predictions:
    path = tmp_path / "given.csv"
    path.write_text(text, encoding="utf-8")
    return Predictions.read_csv(path, schema)


def test_a_bare_table_in_any_order_with_synonyms(tmp_path: Path) -> None:
    preds = read(
        tmp_path,
        "blast,target,file,Mono,lym\n0.1,monocytes,a.jpg,0.7,0.2\n0.0005,LYM,b.jpg,0,1\n\n",
        THREE,
    )
    assert preds.schema is THREE
    assert preds.files == ["a.jpg", "b.jpg"]
    assert preds.targets is not None
    assert preds.targets.tolist() == [1, 0]
    np.testing.assert_allclose(preds.probabilities, [[0.2, 0.7, 0.1], [1, 0, 0.0005]], atol=1e-7)
    assert preds.abstain.tolist() == [False, False]
    assert np.isnan(preds.ood).all()


def test_classes_are_inferred_from_the_columns(tmp_path: Path) -> None:
    preds = read(tmp_path, "\ufefffile,target,neutrophil,basophil\na,basophil,0.4,0.6\n")
    assert preds.schema.names == ("neutrophil", "basophil")
    assert preds.targets is not None
    assert preds.targets.tolist() == [1]


def test_an_empty_target_column_is_no_target(tmp_path: Path) -> None:
    assert read(tmp_path, "file,target,a,b\nx,,1,0\ny,,0,1\n").targets is None


def test_only_a_header(tmp_path: Path) -> None:
    preds = read(tmp_path, "file,lymphocyte,monocyte\n")
    assert len(preds) == 0
    assert len(preds.schema) == 2


HEAD = "file,target,lymphocyte,monocyte\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'file'"),
        ("a;b;c\n1;2;3\n", "no column 'file'"),
        ("file,target\na,b\n", "no class columns"),
        ("file,a,b,a\nx,1,0,0\n", "'a' twice"),
        (HEAD + "x,monocyte,0.5,0.5\ny,monocyte,0.5\n", "Row 3 .* has 3 cells"),
        (HEAD + "x,monocyte,0.5,0.4\n", "Row 2 .* sum to 0.9"),
        (HEAD + "x,monocyte,1.5,-0.5\n", "Row 2 .*lymphocyte is 1.5"),
        (HEAD + "x,monocyte,nan,1\n", "lymphocyte is nan"),
        (HEAD + "x,monocyte,inf,0\n", "lymphocyte is inf"),
        (HEAD + "x,monocyte,much,0\n", "'much' is not a number"),
        (HEAD + "x,monocyte,,1\n", "'' is not a number"),
        (HEAD + "x,monocyte,,\n", "no probabilities"),
        (HEAD + "x,monocite,1,0\n", "Row 2 .*Did you mean 'monocyte'"),
        (HEAD + "x,monocyte,1,0\ny,,1,0\n", "Row 3 .*empty"),
        ("file,a,b,abstain\nx,1,0,maybe\n", "neither true nor false"),
        ("file,a,b,error\nx,1,0,damaged\n", "both probabilities and an error"),
        ("file,label,a,b\nx,b,0.9,0.1\n", "column 'target'"),
        ("file,a,b,ood\nx,1,0,high\n", "column 'ood'"),
        ('file,a,b\n"x,1,0\n', "not a CSV"),
    ],
)
def test_a_bad_table_is_refused_with_its_row(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("file,lymphocyte,monocyte,blst", "Did you mean 'blast'"),
        ("file,lymphocyte,monocyte", "no column for blast"),
        ("file,lymphocyte,lym,monocyte,blast", "two columns for one class"),
    ],
)
def test_columns_must_be_those_of_the_schema(tmp_path: Path, header: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(tmp_path, header + "\n", THREE)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv.*check the path"):
        Predictions.read_csv(tmp_path / "no.csv")
    with pytest.raises(DataError, match="directory"):
        Predictions.read_csv(tmp_path)


def test_a_picture_is_not_a_table(tmp_path: Path) -> None:
    path = tmp_path / "cell.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\n\r" * 20)
    with pytest.raises(DataError):
        Predictions.read_csv(path)


def test_json(tmp_path: Path) -> None:
    preds = make()
    data = json.loads(preds.to_json(tmp_path / "out.json").read_text())
    assert LabelSchema.from_dict(data["schema"]) == THREE
    assert [row["file"] for row in data["predictions"]] == ODD_NAMES
    first, damaged = data["predictions"][0], data["predictions"][2]
    assert np.float32(first["probabilities"]["blast"]) == preds.probabilities[0, 2]
    assert first["label"] == preds.labels[0]
    assert first["abstain"] is True
    assert damaged["error"] == "damaged, see log"
    assert damaged["probability"] is None
    assert set(damaged["probabilities"].values()) == {None}


def test_pandas() -> None:
    pytest.importorskip("pandas")
    preds = make()
    frame = preds.to_pandas()
    assert frame["file"].tolist() == ODD_NAMES
    assert frame["label"].isna().tolist() == (~preds.readable).tolist()


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="pip install pandas"):
        make().to_pandas()


def test_probabilities_of_the_default_schema_round_trip(tmp_path: Path) -> None:
    rows = softmax(np.random.default_rng(1).normal(scale=9, size=(20, 8)))
    preds = Predictions([f"{i}.jpg" for i in range(20)], PBC_LABELS, rows)
    same(preds, Predictions.read_csv(preds.to_csv(tmp_path / "out.csv"), PBC_LABELS))


def test_a_prediction_says_what_matters_in_a_line() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [np.nan] * 3])
    found = Predictions(["a.png", "b.png"], THREE, probabilities, errors=[None, "is no image"], abstain=[True, True])
    first, second = THREE.names[:2]
    assert str(found[0]) == f"a.png: {first} 70.0 %, {second} 20.0 %, abstained"
    assert str(found[1]) == "b.png: is no image"
    assert len(repr(found[0])) < 200
