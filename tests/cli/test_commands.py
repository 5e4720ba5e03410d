"""The command line, run in this process on tiny data."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cellnet.cli import app as cli
from cellnet.cli.inputs import open_model
from cellnet.datasets import load_dataset, samples
from cellnet.datasets.packing import pack
from cellnet.errors import ConfigError
from cellnet.hub import load_pretrained
from cellnet.inference import Predictions
from cellnet.labels import LabelSchema
from cellnet.models import create_model
from cellnet.training import Interrupted, TrainConfig, Trainer

runner = CliRunner()


def run(*words: object) -> tuple[int, str, str]:
    """Exit code, standard output, standard error of ``cellnet WORDS`` through `main`, as a user gets them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cellnet", *map(str, words)])
        result = runner.invoke(cli.app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


def main_error(*words: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and message of a run that fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cellnet", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert isinstance(stop.value.code, int)
    return stop.value.code, " ".join(captured.err.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn cells as files, a folder a class."""
    root = tmp_path_factory.mktemp("cells")
    cells = load_dataset("synthetic", per_class=5, image_size=32)
    for i, target in enumerate(cells.targets):
        path = root / cells.labels.names[target] / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(cells.image(i).permute(1, 2, 0).numpy()).save(path)
    return root


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of ``cellnet train``: its folder and JSON."""
    out = tmp_path_factory.mktemp("runs") / "cnn"
    code, text, log = run(
        "train", "--dataset", "folder", "--root", folder, "--model", "cnn", "--image-size", 32, "--epochs", 2,
        "--batch-size", 8, "--split", "60/20/20", "--set", "ema=0.9", "--set", "schedule=linear", "--device", "cpu",
        "--out", out, "--json",
    )  # fmt: skip
    assert code == 0, log
    return out, json.loads(text)


def test_train_writes_a_run_a_report_and_a_model(trained: tuple[Path, dict[str, Any]]) -> None:
    out, result = trained
    assert 0 <= result["metrics"]["accuracy"]["low"] <= result["metrics"]["accuracy"]["high"] <= 1
    for name in (
        "config.toml", "run.json", "history.csv", "checkpoint.safetensors", "best.safetensors", "last.safetensors",
        "split.csv", "report/report.html", "report/metrics.json", "report/predictions.csv",
        "model/config.json", "model/model.safetensors", "model/golden.safetensors", "model/README.md",
    ):  # fmt: skip
        assert (out / name).stat().st_size > 0, name
    assert not list(out.rglob("*.tmp*"))
    assert "ema = 0.9" in (out / "config.toml").read_text()
    lines = (out / "split.csv").read_text().splitlines()
    assert lines[0] == "file,label,part,sha256,split"
    assert len(lines) == 41
    assert {line.split(",")[2] for line in lines[1:]} == {"train", "val", "test"}


def test_a_split_file_gives_the_same_test_part(folder: Path, trained: tuple[Path, dict[str, Any]]) -> None:
    out, result = trained
    words = ["evaluate", "--model", out / "model", "--dataset", "folder", "--root", folder, "--json", "--split"]
    by_file, by_seed = (json.loads(run(*words, split)[1]) for split in (out / "split.csv", "60/20/20"))
    assert by_file["confusion"] == by_seed["confusion"]
    assert by_file["metrics"]["accuracy"]["value"] == result["metrics"]["accuracy"]["value"]


def test_the_same_words_give_the_same_model(tmp_path: Path) -> None:
    words = ["train", "--dataset", "synthetic", "--model", "cnn", "--image-size", 32, "--epochs", 1, "--device", "cpu"]
    for name in "ab":
        code, _, log = run(*words, "--seed", 3, "--out", tmp_path / name)
        assert code == 0, log
    weights = [(tmp_path / name / "best.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_resume_of_a_finished_run_gives_the_same_figures(folder: Path, trained: tuple[Path, dict[str, Any]]) -> None:
    out, result = trained
    code, text, log = run(
        "train", "--dataset", "folder", "--root", folder, "--model", "cnn", "--image-size", 32, "--config",
        out / "config.toml", "--split", "60/20/20", "--device", "cpu", "--out", out, "--resume", "--json",
    )  # fmt: skip
    assert code == 0, log
    assert json.loads(text)["metrics"] == result["metrics"]


def test_evaluate_agrees_with_the_training_report(folder: Path, trained: tuple[Path, dict[str, Any]]) -> None:
    out, result = trained
    words = [
        "--model",
        out / "model",
        "--dataset",
        "folder",
        "--root",
        folder,
        "--split",
        "60/20/20",
        "--json",
    ]
    code, text, log = run("evaluate", *words, "--out", out.parent / "again")
    assert code == 0, log
    assert json.loads(text)["metrics"]["accuracy"] == result["metrics"]["accuracy"]
    judged, trained_on = (
        json.loads(text)["settings"],
        json.loads((out / "report" / "metrics.json").read_text())["settings"],
    )
    for name in ("split", "split hash", "data set hash"):
        assert judged[name] == trained_on[name]
    code, text, _ = run("evaluate", "--predictions", out.parent / "again" / "predictions.csv", "--json")
    assert code == 0
    assert json.loads(text)["metrics"]["macro_f1"] == result["metrics"]["macro_f1"]


def test_figures_go_into_the_card_of_an_own_folder(folder: Path, trained: tuple[Path, dict[str, Any]]) -> None:
    words = ["--dataset", "folder", "--root", folder, "--split", "60/20/20", "--record", "--json"]
    card = trained[0] / "model" / "README.md"
    before = card.read_text(encoding="utf-8").count(", part test")
    code, _, log = run("evaluate", "--model", trained[0] / "model", *words)
    assert code == 0, log
    assert card.read_text(encoding="utf-8").count(", part test") == before + 1


def test_the_card_of_shipped_weights_is_not_for_a_folder_of_their_name(
    trained: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(trained[0] / "model", tmp_path / "mobilenet_v2")
    monkeypatch.chdir(tmp_path)
    code, text = main_error("evaluate", "--model", "mobilenet_v2", "--record", capsys=capsys)
    assert code == 1
    assert "which --model mobilenet_v2 does not name" in text


def test_what_cannot_be_written_is_told_before_the_work(
    folder: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, link = next((folder / "ig").iterdir()), tmp_path / "link.csv"
    link.symlink_to(image)
    before = image.read_bytes()
    no_model = ("--model", tmp_path / "none")
    for words, message in (
        (("predict", folder, "--out", image, *no_model), "is one of the images"),
        (("predict", image, "--out", link, *no_model), "is one of the images"),
        (("predict", image, "--out", tmp_path, *no_model), "it is there and no file"),
        (("evaluate", "--risk", 0.1, "--save", trained[0] / "model", *no_model), "choose another folder"),
        (("evaluate", "--risk", 0.1, "--save", tmp_path, *no_model), "not a checkpoint"),
    ):
        code, text = main_error(*words, capsys=capsys)
        assert code == 1
        assert message in text
    assert main_error("evaluate", "--out", image, *no_model, capsys=capsys)[0] == 2
    assert image.read_bytes() == before


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Predictions files of two models in two folders, one of the same name each."""
    files = []
    for name, errors in (("old", 12), ("new", 4)):
        called, targets = np.arange(120) % 3, np.arange(120) % 3
        called[:errors] = (called[:errors] + 1) % 3
        table = np.eye(3)[called] * 0.7 + 0.1
        preds = Predictions([f"{i}.jpg" for i in range(120)], LabelSchema.from_names("xyz"), table, targets=targets)
        files.append(preds.to_csv(tmp_path_factory.mktemp("scored") / f"{name}.csv"))
    return files


def test_compare_predictions_files(scored: list[Path], tmp_path: Path) -> None:
    code, text, log = run("evaluate", "--compare", *scored, "--out", tmp_path / "out")
    assert code == 0, log
    assert "old − new: right alone 0 and 8 times, p = 0.0078" in text
    assert (tmp_path / "out" / "differences.png").stat().st_size > 0
    code, text, _ = run("evaluate", *scored, "--compare", "--json")
    result = json.loads(text)
    assert code == 0
    assert result == json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert result["differences"][0]["figures"]["accuracy"]["value"] == pytest.approx(-8 / 120)
    assert list(result["models"]) == ["old", "new"]


def test_files_of_one_name_are_called_by_their_paths(scored: list[Path], tmp_path: Path) -> None:
    same = tmp_path / "old.csv"
    same.write_bytes(scored[1].read_bytes())
    code, text, log = run("evaluate", "--compare", scored[0], same, scored[1], "--json")
    assert code == 0, log
    result = json.loads(text)
    assert list(result["models"]) == [str(scored[0]), str(same), str(scored[1])]
    assert len(result["differences"]) == 3


def test_compare_needs_files_that_can_be_compared(
    scored: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short.csv"
    short.write_text("".join(scored[0].read_text().splitlines(keepends=True)[:-1]))
    for words, message in (
        (("--compare", scored[0]), "--compare was given 1 file(s)"),
        (("--compare",), "--compare was given 0 file(s)"),
        (("--compare", scored[0], short), "are about other images (120 and 119 rows; 119.jpg is in one only)"),
        (("--compare", *scored, "--predictions", scored[0]), "leave out --predictions"),
        (("--compare", *scored, "--tta", "--device", "cpu"), "leave out --tta, --device."),
        (("--predictions", scored[0], "--part", "test", "--save", short), "leave out --part, --save."),
        ((scored[0],), f"type --predictions {scored[0]} to score it"),
    ):
        code, text = main_error("evaluate", *words, capsys=capsys)
        assert code == 1
        assert message in text


HEAD = "file,target,lymphocyte,monocyte\n"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (HEAD + "a,monocyte,0.5,0.4\n", "the probabilities sum to 0.9, not 1"),
        (HEAD + "a,monocyte,nan,1\n", "lymphocyte is nan; a probability lies between 0 and 1"),
        (HEAD + "a,monocite,0,1\n", "Did you mean 'monocyte'"),
        (HEAD + "a,monocyte,0,1\nb,,0,1\n", "fill it in every row"),
        (HEAD, "have no rows, so there is nothing to score"),
        ("file,lymphocyte,monocyte\na,0,1\n", "add a column 'target'"),
        ("file,target,label\na,monocyte,monocyte\n", "no class columns"),
        ("file,target,lymphocyte,LYM\na,lym,0,1\n", "rename one"),
    ],
)
def test_a_bad_predictions_file_gets_one_sentence(
    table: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "given.csv").write_text(table)
    code, text = main_error("evaluate", "--predictions", tmp_path / "given.csv", capsys=capsys)
    assert code == 1
    assert message in text


@pytest.mark.parametrize(
    ("table", "accuracy"),
    [
        (HEAD + "a,monocyte,0,1\n", 1.0),
        (HEAD + "a,monocyte,0,1\nb,monocyte,1,0\n", 0.5),
        ("file,target,cell\na,cell,1\nb,cell,1\n", 1.0),
    ],
    ids=["one row", "one class present", "one class"],
)
def test_small_predictions_files_are_scored(table: str, accuracy: float, tmp_path: Path) -> None:
    (tmp_path / "given.csv").write_text(table)
    code, text, log = run("evaluate", "--predictions", tmp_path / "given.csv", "--json")
    assert code == 0, log
    assert json.loads(text)["metrics"]["accuracy"]["value"] == accuracy


def test_adapted_or_asked_several_times(folder: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    model = trained[0] / "model"
    tables = set()
    for words in ((), ("--adapt",), ("--tta",)):
        code, _, log = run("predict", folder, "--model", model, *words, "--out", tmp_path / "p.csv")
        assert code == 0, log
        tables.add((tmp_path / "p.csv").read_bytes())
    assert len(tables) == 3
    words = ("--dataset", "folder", "--root", folder, "--part", "all", "--adapt", "--json")
    code, text, log = run("evaluate", "--model", model, *words, "--out", tmp_path / "report")
    assert code == 0, log
    assert json.loads(text)["n"] == 40


def test_only_some_classes_can_occur(folder: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    model = ("--model", trained[0] / "model", "--classes", "neutrophil, lymphocyte")
    code, _, log = run("predict", folder, *model, "--out", tmp_path / "few.csv")
    assert code == 0, log
    with (tmp_path / "few.csv").open() as file:
        assert {row["label"] for row in csv.DictReader(file)} <= {"neutrophil", "lymphocyte"}
    code, text, log = run("differential", folder, *model, "--json")
    assert code == 0, log
    assert json.loads(text)["classes"].keys() == {"neutrophil", "lymphocyte"}
    words = ("--dataset", "folder", "--root", folder, "--part", "all", "--harmonise", "--json")
    code, text, log = run("evaluate", *model, *words)
    assert code == 0, log
    assert json.loads(text)["n"] == 10  # images of other classes are left out


def test_evaluate_under_stress(folder: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    words = (
        "--model",
        trained[0] / "model",
        "--dataset",
        "folder",
        "--root",
        folder,
        "--split",
        "60/20/20",
        "--stress",
    )
    code, text, log = run("evaluate", *words, "--out", tmp_path / "r", "--json")
    assert code == 0, log
    result = json.loads(text)
    assert result["stress"]["images"] == result["n"]
    assert result["stress"]["clean"] == result["metrics"]["accuracy"]
    assert (tmp_path / "r" / "stress.csv").is_file()
    assert (tmp_path / "r" / "stress.png").is_file()


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Enough drawn cells, as one packed set, and a model that names most of them rightly."""
    cells = load_dataset("synthetic", per_class=40, image_size=32)
    root = pack(cells, tmp_path_factory.mktemp("packed") / "cells")
    model = create_model("cnn", cells.labels, image_size=32)
    config = TrainConfig(epochs=8, batch_size=16, lr=3e-3, seed=0, augmentation="none")
    Trainer(model, config).fit(*cells.split((0.4, 0.3, 0.3))[:2])
    return root, model.save(tmp_path_factory.mktemp("net") / "steady")


def test_a_promise_is_fitted_saved_and_asked_for(steady: tuple[Path, Path], tmp_path: Path) -> None:
    root, model = steady
    data = ("--dataset", "packed", "--root", root, "--split", "0.2,0.4,0.4")
    words = ("--model", model, *data, "--risk", 0.6, "--coverage", 0.5, "--save", tmp_path / "sure", "--json")
    code, text, log = run("evaluate", *words)
    assert code == 0, log
    result = json.loads(text)
    assert result["metrics"]["set_coverage"]["value"] > 0
    assert any("At most 60 % of the images accepted" in note for note in result["notes"])
    saved = load_pretrained(tmp_path / "sure")
    assert saved.risk_control is not None
    assert saved.risk_control.risk == 0.6
    assert saved.sets is not None

    image = tmp_path / "cell.png"
    Image.fromarray(load_dataset("synthetic", per_class=1).image(0).movedim(0, 2).numpy()).save(image)
    out = ("--out", tmp_path / "p.csv")
    code, text, log = run("predict", image, "--model", tmp_path / "sure", "--risk", 0.65, "--coverage", 0.5, *out)
    assert code == 0, log
    assert "At most 60 % of the images accepted" in text
    assert Predictions.read_csv(tmp_path / "p.csv").in_set is not None
    code, text, _ = run("predict", image, "--model", tmp_path / "sure", "--json", *out)
    assert len(json.loads(text)["guarantees"]) == 2
    code, text, _ = run("predict", image, "--model", tmp_path / "sure", "--tta", "--json", *out)
    assert json.loads(text)["guarantees"] == []


def test_promises_that_cannot_be_had(
    steady: tuple[Path, Path], scored: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, model = steady
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (32, 32)).save(images / "a.png")
    predict, evaluate = ("predict", images, "--model", model), ("evaluate", "--model", model)
    data = ("--dataset", "packed", "--root", root)
    for words, message in (
        ((*predict, "--risk", 0.01), "promises no risk, not 1 %. Fit it on labelled images: cellnet evaluate"),
        ((*predict, "--coverage", 0.9), "--coverage 0.9 --save FOLDER, then use --model FOLDER"),
        ((*predict, "--risk", 2), "risk is 2.0, but must be above 0 and below 1"),
        ((*evaluate, *data, "--risk", 0), "risk is 0.0, but must be above 0 and below 1"),
        ((*evaluate, *data, "--coverage", 1), "coverage is 1.0, but must be above 0 and below 1"),
        ((*evaluate, *data, "--risk", 0.001), "even without a mistake it takes 2,995"),
        ((*evaluate, *data, "--part", "all", "--risk", 0.1), "there is none here; split the data by three shares"),
        ((*evaluate, *data, "--part", "val", "--risk", 0.1), "are also among those to judge on"),
        ((*evaluate, *data, "--save", tmp_path / "s"), "give --risk or --coverage too"),
        ((*evaluate, *data, "--risk", 0.1, "--save", tmp_path / "s", "--tta"), "leave out --tta"),
        ((*evaluate, *data, "--risk", 0.1, "--record"), "leave out --risk, --coverage and --classes"),
        (("evaluate", "--predictions", scored[0], "--risk", 0.1), "neither model nor images; leave out --risk"),
        (("evaluate", "--compare", *scored, "--risk", 0.1), "neither model nor images; leave out --risk"),
        ((*evaluate, *data, "--prevalence", "basofil=1"), "Did you mean 'basophil'"),
        (("evaluate", "--predictions", scored[0], "--prevalence", "x=0.2"), "sum to 0.2, not 1"),
    ):
        code, text = main_error(*words, capsys=capsys)
        assert code == 1
        assert message in text, text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


def test_predictive_values_where_classes_are_rarer(scored: list[Path], tmp_path: Path) -> None:
    words = ("evaluate", "--predictions", scored[0], "--prevalence", "x=0.01,other=0.99", "--out", tmp_path / "r")
    code, text, log = run(*words)
    assert code == 0, log
    assert "Where the classes are as frequent as stated:" in text
    code, text, _ = run(*words, "--json")
    result = json.loads(text)
    [(name, values)] = result["prevalence"].items()
    assert (name, values["prevalence"]) == ("x", 0.01)
    assert values["ppv"]["value"] < result["per_class"]["x"]["precision"]["value"]
    assert (tmp_path / "r" / "prevalence.csv").read_text().startswith("class,prevalence,ppv,ppv_low,ppv_high,npv")


def test_a_differential_of_a_folder(folder: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    model = load_pretrained(trained[0] / "model")
    model.thresholds = {}  # so young a model would leave all of them to a person
    words = ("--model", model.save(tmp_path / "bold"), "--out", tmp_path / "d", "--json")
    code, text, log = run("differential", folder, *words)
    assert code == 0, log
    result = json.loads(text)
    counted = sum(row["count"] for row in result["classes"].values())
    assert counted + result["abstained"] + result["unreadable"] == 40
    for name in ("differential.csv", "differential.html", "predictions.csv"):
        assert (tmp_path / "d" / name).is_file()
    assert any(row["corrected"] for row in result["classes"].values())  # the training's own report says its mistakes


def test_predict_keeps_going_after_an_unreadable_image(
    folder: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"not an image")
    code, text, log = run(
        "predict", folder / "ig", tmp_path / "bad.jpg", "--model", trained[0] / "model", "--out", tmp_path / "p.csv",
        "--json",
    )  # fmt: skip
    assert code == 0, log
    result = json.loads(text)
    assert result["images"] == 6
    assert list(result["errors"]) == [str(tmp_path / "bad.jpg")]
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 7


def test_predict_fails_when_nothing_could_be_read(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    code, _, log = run("predict", tmp_path / "bad.jpg", "--model", trained[0] / "model", "--out", tmp_path / "p.csv")
    assert code == 1
    assert "bad.jpg" in log


def test_an_unreadable_file_given_twice_is_two_rows(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    words = ("predict", *[tmp_path / "bad.jpg"] * 2, "--model", trained[0] / "model", "--out", tmp_path / "p.csv")
    code, text, _ = run(*words)
    assert code == 1
    assert "2 images, 0 abstained, 2 unreadable" in text


def test_the_model_goes_to_the_best_device_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("cellnet.hub.load_pretrained", lambda name, device: chosen.append(str(device)) or Net())

    class Net:
        tta = False

    open_model("best", None, tta=False, device=None)
    open_model("best", None, tta=False, device="cpu")
    monkeypatch.setenv("LOCAL_RANK", "3")
    open_model("best", None, tta=False, device="cuda")
    assert chosen == ["cuda:0", "cpu", "cuda:1"]


def test_names_in_brackets_stay_as_they_are(folder: Path, tmp_path: Path) -> None:
    named = tmp_path / "cells"
    for name, given in (("[red]alpha", "ig"), ("beta", "platelet")):
        shutil.copytree(folder / given, named / name)
    words = ("--dataset", "folder", "--root", named, "--model", "cnn", "--image-size", 16, "--epochs", 1)
    code, _, log = run("train", *words, "--split", "60/20/20", "--out", tmp_path / "rr[/b]x")
    assert code == 0, log
    assert "[red]alpha" in log


def test_list_names_everything() -> None:
    code, text, _ = run("list", "--json")
    result = json.loads(text)
    assert code == 0
    assert {"pbc", "folder", "synthetic"} <= {row["name"] for row in result["datasets"]}
    assert {"cnn", "mobilenet_v2", "hybrid"} <= {row["name"] for row in result["models"]}
    assert "mobilenet_v2" in {row["name"] for row in result["pretrained"]}
    code, text, _ = run("list", "--datasets")
    assert code == 0
    assert "pbc" in text


def test_info_of_weights_and_of_a_data_set(trained: tuple[Path, dict[str, Any]]) -> None:
    code, text, _ = run("info", "pbc")
    assert code == 0
    assert "10.17632/snkd93bnjr.1" in text
    code, text, _ = run("info", trained[0] / "model", "--json")
    assert code == 0
    assert json.loads(text)["num_test_images"] == 8
    code, text, _ = run("info", "mobilenet_v2")
    assert code == 0
    for words in ("For research use only", "accuracy", "basophil", "Every scoring", "Compute spent", "10.17632"):
        assert words in text
    assert "{'" not in text  # nothing as Python prints it


def test_doctor_finds_this_installation_healthy() -> None:
    code, text, _ = run("doctor", "--json")
    assert json.loads(text)["problems"] == {}
    assert code == 0


def test_demo_classifies_the_samples(tmp_path: Path) -> None:
    code, text, log = run("demo", "--out", tmp_path / "demo", "--json")
    assert code == 0, log
    result = json.loads(text)
    assert result["n"] == len(samples()) == 40
    assert result["metrics"]["accuracy"]["value"] >= 0.9
    assert "<html" in (tmp_path / "demo" / "report.html").read_text()


@pytest.mark.slow
def test_demo_shows_the_training_path(tmp_path: Path) -> None:
    code, text, log = run("demo", "--train", "--out", tmp_path / "demo", "--device", "cpu")
    assert code == 0, log
    assert "macro" in text.lower()
    assert (tmp_path / "demo" / "curves.png").stat().st_size > 0


def test_help_shows_an_example_of_every_command() -> None:
    commands = [command.name or command.callback.__name__.replace("_", "-") for command in cli.app.registered_commands]
    assert len(commands) >= 13
    for command in commands:
        code, text, _ = run(command, "--help")
        assert code == 0
        assert f"cellnet {command}" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--dataset", "pbcc", "--root", ".", "--out", "o"], "Did you mean 'pbc'"),
        (["train", "--dataset", "pbc", "--root", "no/such", "--out", "o"], "no/such"),
        (["train", "--dataset", "synthetic", "--model", "resnet5", "--out", "o"], "Did you mean 'resnet50'"),
        (
            ["train", "--dataset", "synthetic", "--model", "cnn", "--head", "studi", "--out", "o"],
            "Did you mean 'study'",
        ),
        (["train", "--dataset", "synthetic", "--optimizer", "adm", "--out", "o"], "Did you mean 'adam'"),
        (["train", "--dataset", "synthetic", "--set", "emma=1", "--out", "o"], "Did you mean 'ema'"),
        (["train", "--dataset", "synthetic", "--set", "ema", "--out", "o"], "is not KEY=VALUE"),
        (["train", "--dataset", "synthetic", "--split", "a,b", "--out", "o"], "is not a list of shares"),
        (["train", "--dataset", "synthetic", "--split", "official", "--out", "o"], "has no official split"),
        (["train", "--dataset", "synthetic", "--split", "gone.csv", "--out", "o"], "Cannot read the split gone.csv"),
        (
            ["train", "--dataset", "synthetic", "--config", "none.toml", "--out", "o"],
            "Cannot read ",
        ),
        (["evaluate", "--model", "mobilenet_v3", "--dataset", "synthetic"], "mobilenet_v2"),
        (["evaluate", "--dataset", "pbc"], "--root FOLDER"),
        (["evaluate", "--dataset", "synthetic", "--part", "tests"], "Did you mean 'test'"),
        (["evaluate", "--predictions", "none.csv"], "none.csv"),
        (["evaluate", "--predictions", "none.csv", "--stress"], "leave out --stress"),
        (["evaluate", "--dataset", "synthetic", "--record"], "--record writes into a checkpoint folder of yours"),
        (["find-lr", "--dataset", "synthetic", "--plot", "rates.xyz"], "ends in .png, .pdf or .svg"),
        (["predict", "no_such_folder_or_file"], "no_such_folder_or_file"),
        (["info", "mobilenet"], "Did you mean 'mobilenet_v2'"),
    ],
)
def test_bad_words_get_one_sentence(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = main_error(*words, capsys=capsys)
    assert code == 1
    assert message in text
    assert not list(tmp_path.iterdir())


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = main_error("train", "--epoch", "3", capsys=capsys)
    assert code == 2
    assert "--epochs" in text


def test_interrupts_full_disks_and_flaws_have_their_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, expected, words in (
        (KeyboardInterrupt(), 130, "Interrupted"),
        (Interrupted("Stopped by SIGTERM; all is saved.", signal.SIGTERM), 143, "all is saved"),
        (OSError(28, "No space left on device"), 1, "the disk is full"),
        (RuntimeError("boom"), 70, "flaw in cellnet: RuntimeError: boom"),
    ):

        def fail(error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(cli, "app", fail)
        code, text = main_error("demo", capsys=capsys)
        assert code == expected
        assert words in text


def test_another_process_tells_only_what_the_first_may_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "SPEAKS", False)
    monkeypatch.setattr(cli, "FIRST_TELLS_SECONDS", 0)
    monkeypatch.setenv("RANK", "3")
    for error, expected, words in (
        (ConfigError("Its disk is full."), 1, "Error in process 3: Its disk is full."),
        (KeyboardInterrupt(), 130, ""),
    ):

        def fail(error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(cli, "app", fail)
        assert main_error("demo", capsys=capsys) == (expected, words)


def test_a_whole_run_from_a_backbone_file(folder: Path, tmp_path: Path) -> None:
    """``--weights`` starts from a local file and the card says so."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    backbone = create_model("cnn", image_size=32).backbone
    save_file({k: v.contiguous() for k, v in backbone.state_dict().items()}, tmp_path / "start.safetensors")
    code, text, log = run(
        "train", "--dataset", "folder", "--root", folder, "--split", "60/20/20", "--model", "cnn",
        "--weights", tmp_path / "start.safetensors", "--image-size", 32, "--epochs", 1, "--device", "cpu",
        "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    assert code == 0, log
    card = json.loads((Path(json.loads(text)["checkpoint"]) / "config.json").read_text())["card"]
    assert card["starting_weights"] == "start.safetensors"
