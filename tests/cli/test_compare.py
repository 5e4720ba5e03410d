"""``cellnet compare``, run in this process on drawn cells."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import cellnet
from cellnet.cards import WeightsCard
from cellnet.cli.compare import compare, parse_choices
from cellnet.errors import CellnetError, ConfigError
from cellnet.evaluation import Report
from cellnet.files import write_text

app = typer.Typer()
app.command()(compare)
WORDS = ["--dataset", "synthetic", "--model", "cnn", "--image-size", "32", "--epochs", "1", "--device", "cpu"]


def run(*words: object) -> tuple[str, str]:
    """Standard output and standard error; an error of cellnet is raised."""
    result = CliRunner().invoke(app, [*WORDS, *map(str, words)])
    if isinstance(result.exception, CellnetError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


@pytest.fixture(scope="module", autouse=True)
def bare_reports() -> Iterator[None]:
    """Reports without figures and page, which take most of the time of so short a training."""

    def save(report: Report, folder: Path) -> None:
        report.predictions.to_csv(folder / "predictions.csv")
        write_text(folder / "metrics.json", json.dumps(report.to_dict()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Report, "save", save)
        yield


def test_optimizers_on_one_split(tmp_path: Path) -> None:
    words = ["--vary", "optimizer=adam,sgd", "--lr", "0.003", "--split", "0.1,0.1,0.8", "--out", tmp_path]
    text, _ = run(*words)
    assert "optimizer=adam − optimizer=sgd" in text
    with (tmp_path / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["optimizer"], row["n_test"]) for row in rows] == [("adam", "320"), ("sgd", "320")]
    result = json.loads(run(*words, "--resume", "--json")[0])
    assert [float(row["accuracy"]) for row in rows] == [run["accuracy"] for run in result["runs"]]
    assert result["pairs"][0]["p_holm"] == result["pairs"][0]["p"]


def test_a_trained_model_is_trained_on(tmp_path: Path) -> None:
    cells = cellnet.load_dataset("synthetic", per_class=50)
    parts = cells.split((0.1, 0.1, 0.8), seed=0)
    model = cellnet.create_model("cnn", cells.labels, image_size=32)
    card = WeightsCard("old", training_data="synthetic", training_data_hash=parts[0].fingerprint())
    model.save(tmp_path / "old", card=card)
    words = ["--dataset", "synthetic", "--epochs", 1, "--split", "0.1,0.1,0.8", "--device", "cpu"]
    words += ["--start", tmp_path / "old", "--vary", "lr=0.001,0.002", "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == 0, (result.output, result.exception)
    trained = cellnet.load_pretrained(tmp_path / "out" / "lr=0.001" / "model")
    assert trained.weights_card is not None
    assert trained.weights_card.starting_weights == "old, version 1"


def test_models_and_split_seeds(tmp_path: Path) -> None:
    protocol = tmp_path / "mine.toml"
    protocol.write_text("split = [0.1, 0.1, 0.8]\nsplit_seed = 3\n[models.cnn.train]\nlr = 0.02\n")
    run("--vary", "model=cnn", "--vary", "split-seed=1,2", "--protocol", protocol, "--out", tmp_path / "out")
    for seed in (1, 2):
        folder = tmp_path / "out" / f"model=cnn,split_seed={seed}"
        assert "lr = 0.02" in (folder / "config.toml").read_text()
        card = json.loads((folder / "model" / "config.json").read_text())["card"]
        assert card["split"].startswith(f"stratified by class, identical images together, split seed {seed}: 40 train")


def test_words_to_values() -> None:
    assert parse_choices(["lr=0.001,1e-4", "split-seed=0,1", "optimizer=adam", "channels_last=true"]) == {
        "lr": [0.001, 1e-4],
        "split_seed": [0, 1],
        "optimizer": ["adam"],
        "channels_last": [True],
    }
    with pytest.raises(ConfigError, match="'seed' is not KEY=VALUE"):
        parse_choices(["seed"])
    with pytest.raises(ConfigError, match="--vary seed was given twice"):
        parse_choices(["seed=1", "seed=2"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vary", "optimiser=adam,sgd"], r"key to vary 'optimiser'. Did you mean 'optimizer'"),
        (["--vary", "split_sed=1"], "Did you mean 'split_seed'"),
        (["--vary", "optimizer=adam,rmspro"], "Did you mean 'rmsprop'"),
        (["--vary", "model=cnn,resnet5"], "Did you mean 'resnet50'"),
        (["--vary", "seed=0,0"], "give each value once"),
        (["--vary", "split-seed=0,1", "--split", "split.csv"], "has no seed to vary"),
        (["--vary", "model=cnn,resnet50", "--vary", "ema=0.9", "--singly"], "--vary model gives several; compare one"),
        (["--vary", "seed=0,1", "--protocol", "study", "--preset", "fast"], "exclude each other"),
    ],
)
def test_bad_words_get_one_sentence_and_leave_no_folder(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(CellnetError, match=message):
        run(*words, "--out", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_ablation_changes_one_option_at_a_time(tmp_path: Path) -> None:
    words = ["--singly", "--set", "ema=0.9", "--vary", "ema=0", "--vary", "label_smoothing=0.1", "--vary", "seed=3"]
    run(*words, "--split", "0.1,0.1,0.8", "--out", tmp_path)
    with (tmp_path / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["ema"], row["label_smoothing"]) for row in rows] == [
        ("3", "", ""),
        ("3", "0", ""),
        ("3", "", "0.1"),
    ]
    with pytest.raises(ConfigError, match=r"ema=0.9 is what all other runs have"):
        run("--singly", "--set", "ema=0.9", "--vary", "ema=0.9", "--out", tmp_path / "no")
