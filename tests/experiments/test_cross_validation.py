"""Each image is judged once by a model that never saw it, and no fold is trained twice."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError, UnknownNameError
from cellnet.experiments import CrossValidation, cross_validate, run
from cellnet.experiments.cross_validation import ONE_REPETITION
from cellnet.inference import Predictions
from cellnet.models import CellClassifier, create_model
from cellnet.training import TrainConfig, Trainer

MakeModel = Callable[[], CellClassifier]
VAL_SHARE = 0.25  # a tenth of four images a class is none


@pytest.fixture(scope="module")
def grouped(cells: CellDataset) -> CellDataset:
    """Of each class two cells are of one donor; of the other four no donor is known."""
    return cells.with_groups([f"donor {i // 6}" if i % 6 < 2 else None for i in range(len(cells))])


@pytest.fixture(scope="module")
def finished(
    grouped: CellDataset, make_model: MakeModel, config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CrossValidation, Path, list[tuple[set[str], set[str]]]]:
    """Three folds, their folder, and what each training was given: hashes of its training and validation images."""
    seen = []

    class Spy(Trainer):
        def fit(self, train: CellDataset, val: CellDataset, **options: Any) -> Any:
            seen.append((set(train.content_hashes()), set(val.content_hashes())))
            return super().fit(train, val, **options)

    out = tmp_path_factory.mktemp("studies") / "cv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Trainer", Spy)
        result = cross_validate(grouped, make_model, config, out, k=3, val_share=VAL_SHARE, device="cpu")
    return result, out, seen


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_held_out_images_are_never_seen(
    grouped: CellDataset, finished: tuple[CrossValidation, Path, list[tuple[set[str], set[str]]]]
) -> None:
    _, out, seen = finished
    everything = grouped.content_hashes()
    judged: list[str] = []
    for number, (train, val) in enumerate(seen, start=1):
        rows = rows_of(out / f"fold-{number:02}" / "split.csv")
        held_out = {row["sha256"] for row in rows if row["part"] == "test"}
        assert not held_out & (train | val)
        assert not train & val
        assert len(train | val | held_out) == len(everything)
        judged += held_out
    assert sorted(judged) == sorted(everything)


def test_groups_stay_together(
    grouped: CellDataset, finished: tuple[CrossValidation, Path, list[tuple[set[str], set[str]]]]
) -> None:
    donor_of = dict(zip(grouped.content_hashes(), grouped.groups, strict=True))
    for train, val in finished[2]:
        donors = [{donor_of[h] for h in part} - {None} for part in (train, val, donor_of.keys() - train - val)]
        assert len(set.union(*donors)) == sum(map(len, donors)) == 8


def test_out_of_fold_predictions(
    grouped: CellDataset, finished: tuple[CrossValidation, Path, list[tuple[set[str], set[str]]]]
) -> None:
    result, out, _ = finished
    rows = rows_of(out / "out_of_fold.csv")
    assert list(rows[0])[:3] == ["file", "target", "fold"]
    assert sorted(row["file"] for row in rows) == sorted(grouped.files)
    target_of = {file: grouped.labels.names[t] for file, t in zip(grouped.files, grouped.targets, strict=True)}
    assert all(row["target"] == target_of[row["file"]] for row in rows)
    for number in (1, 2, 3):
        mine = Predictions.read_csv(out / f"fold-{number:02}" / "report" / "predictions.csv", grouped.labels)
        assert [row["file"] for row in rows if row["fold"] == str(number)] == mine.files
    right = sum(row["label"] == row["target"] for row in rows)
    assert result.report.accuracy.value == right / len(rows)
    assert result.report.scored.units.grouped  # the interval knows that images of one group stand together
    group_of = {file: "" if g is None else str(g) for file, g in zip(grouped.files, grouped.groups, strict=True)}
    assert all(row["group"] == group_of[row["file"]] for row in rows)
    assert result.report.metrics.keys() >= {"macro_f1", "ece", "brier"}
    assert result.report.images is not None
    image = result.report.images(5)
    assert image is not None
    assert image.tolist() == grouped.image(grouped.files.index(rows[5]["file"])).tolist()


def test_rows_and_means(
    grouped: CellDataset, finished: tuple[CrossValidation, Path, list[tuple[set[str], set[str]]]]
) -> None:
    result, out, _ = finished
    rows = rows_of(out / "folds.csv")
    assert [(row["fold"], row["repetition"], row["n_train"], row["n_test"]) for row in rows] == [
        (str(i), "1", "32", "16") for i in (1, 2, 3)
    ]
    for row, fold in zip(rows, result.folds, strict=True):
        targets, called = fold.predictions.targets, fold.predictions.probabilities.argmax(1)
        assert float(row["accuracy"]) == np.mean(targets == called)
        assert float(row["macro_f1"]) == pytest.approx(f1_score(targets, called, average="macro", zero_division=0))
        assert float(row["balanced_accuracy"]) == pytest.approx(balanced_accuracy_score(targets, called))
        assert float(row["accuracy_low"]) <= float(row["accuracy"]) <= float(row["accuracy_high"])
        assert float(row["seconds"]) > 0
    values = np.array([float(row["macro_f1"]) for row in rows])
    error = math.sqrt((1 / 3 + 16 / 32) * values.var(ddof=1))
    low, high = stats.t.interval(0.95, 2, values.mean(), error)
    mean = result.means["macro_f1"]
    assert mean.value == pytest.approx(values.mean())
    assert (mean.low, mean.high) == pytest.approx((max(low, 0), min(high, 1)))


def test_it_is_shown_and_saved(finished: tuple[CrossValidation, Path, list[tuple[set[str], set[str]]]]) -> None:
    result, out, _ = finished
    lines = str(result).splitlines()
    assert lines[0] == "3-fold cross-validation on Synthetic cells"
    assert max(map(len, lines)) <= 100
    assert f"mean              {result.means['accuracy']:.1%}" in str(result)
    saved = json.loads((out / "cross_validation.json").read_text())
    assert saved == json.loads(json.dumps(result.to_dict()))
    assert saved["pooled"]["n"] == 48
    assert (out / "report" / "metrics.json").is_file()
    card = json.loads((out / "fold-02" / "model" / "config.json").read_text())["card"]
    assert card["split"].startswith("fold 2 of 3, seed 0: 24 train, 8 val, 16 test")


def test_an_interrupted_fold_goes_on_and_done_ones_are_not_repeated(
    grouped: CellDataset,
    make_model: MakeModel,
    config: TrainConfig,
    finished: tuple[CrossValidation, Path, list[tuple[set[str], set[str]]]],
    tmp_path: Path,
    witness: Any,
) -> None:
    options: dict[str, Any] = {"k": 3, "val_share": VAL_SHARE, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):  # in the second epoch of the second fold
        cross_validate(grouped, make_model, config, tmp_path, **options, callbacks=[witness(stop=(2, 1))])
    assert (tmp_path / "fold-01" / "done.json").is_file()
    assert not (tmp_path / "fold-02" / "done.json").exists()
    watch, said = witness(), []
    again = cross_validate(
        grouped, make_model, config, tmp_path, **options, resume=True, callbacks=[watch], announce=said.append
    )
    assert len(watch.begun) == 2
    assert watch.begun[0] > 0
    assert watch.begun[1] == 0
    assert said == ["fold-01: done before", *(f"fold-0{i}: 24 images to train on, 16 to judge on" for i in (2, 3))]
    uncut, out, _ = finished
    assert (tmp_path / "out_of_fold.csv").read_bytes() == (out / "out_of_fold.csv").read_bytes()
    assert again.means == uncut.means


def test_more_repetitions_may_follow(grouped: CellDataset, make_model: MakeModel, tmp_path: Path, witness: Any) -> None:
    config = TrainConfig(epochs=1, batch_size=8)
    options: dict[str, Any] = {"k": 2, "seed": 4, "val_share": VAL_SHARE, "device": "cpu", "resume": True}
    once = cross_validate(grouped, make_model, config, tmp_path, **options)
    watch = witness()
    twice = cross_validate(grouped, make_model, config, tmp_path, **options, repeats=2, callbacks=[watch])
    assert watch.begun == [0, 0]
    assert [row["repetition"] for row in twice.rows] == [1, 1, 2, 2]
    assert twice.rows[:2] == once.rows
    assert twice.report.n == 48
    assert twice.report.notes[-1] == ONE_REPETITION
    assert len(rows_of(tmp_path / "out_of_fold.csv")) == 96
    held_out = [{row["file"] for row in rows_of(tmp_path / f"fold-0{i}" / "split.csv") if row["part"] == "test"}
                for i in (1, 3)]  # fmt: skip
    assert held_out[0] != held_out[1]
    watch = witness()
    cross_validate(grouped, make_model, config, tmp_path, **options, repeats=2, callbacks=[watch])
    assert watch.begun == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resume": False}, "already holds a study; continue it with resume"),
        ({"k": 4}, "k was 3, is 4"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"config": TrainConfig(epochs=2, batch_size=8, lr=0.1)}, r"fold-01 cannot be continued: lr was 0.003, is 0.1"),
        ({"make_model": lambda: create_model("cnn", image_size=48)}, "'image_size': 48"),
        ({"starting_weights": "other.safetensors"}, "starting_weights was '', is 'other.safetensors'"),
    ],
)
def test_another_cross_validation_in_the_folder(
    changes: dict[str, Any],
    message: str,
    grouped: CellDataset,
    make_model: MakeModel,
    config: TrainConfig,
    finished: tuple[CrossValidation, Path, list[tuple[set[str], set[str]]]],
) -> None:
    arguments = {"make_model": make_model, "config": config, "k": 3, "val_share": VAL_SHARE, "resume": True, **changes}
    with pytest.raises(ConfigError, match=message):
        cross_validate(grouped, out=finished[1], **arguments)


def test_other_images_or_another_kind_of_folder(
    grouped: CellDataset,
    make_model: MakeModel,
    config: TrainConfig,
    finished: tuple[CrossValidation, Path, list[tuple[set[str], set[str]]]],
    tmp_path: Path,
) -> None:
    out = finished[1]
    with pytest.raises(ConfigError, match="images was"):
        cross_validate(grouped.subset(range(1, 48)), make_model, config, out, k=3, val_share=VAL_SHARE, resume=True)
    with pytest.raises(ConfigError, match="holds no study"):
        cross_validate(grouped, make_model, config, out / "fold-01", k=3, resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        cross_validate(grouped, make_model, config, tmp_path / "file", k=3)
    (tmp_path / "study.json").write_text('{"study": "comparison"}')
    with pytest.raises(ConfigError, match="study was 'comparison', is 'cross-validation'"):
        cross_validate(grouped, make_model, config, tmp_path, k=3, resume=True)


def test_what_cannot_be_done_leaves_no_folder(
    grouped: CellDataset, make_model: MakeModel, config: TrainConfig, tmp_path: Path
) -> None:
    out = tmp_path / "cv"
    with pytest.raises(DataError, match=r"'basophil' has 5 independent image\(s\), too few for 6 parts"):
        cross_validate(grouped, make_model, config, out, k=6)
    with pytest.raises(ConfigError, match="at least 2 folds"):
        cross_validate(grouped, make_model, config, out, k=1)
    with pytest.raises(ConfigError, match="repeats=0"):
        cross_validate(grouped, make_model, config, out, k=3, repeats=0)
    with pytest.raises(ConfigError, match="val_share=1"):
        cross_validate(grouped, make_model, config, out, k=3, val_share=1)
    with pytest.raises(UnknownNameError, match="resnet50"):
        cross_validate(grouped, lambda: create_model("resnet5"), config, out, k=3)
    assert not out.exists()
