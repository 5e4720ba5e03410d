"""``cellnet train`` by a protocol and in two stages, and ``cellnet find-lr``, in this process on drawn cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from cellnet.cli.find_lr import find_lr
from cellnet.cli.recipe import Recipe
from cellnet.cli.train import train
from cellnet.errors import CellnetError, ConfigError, UnknownNameError
from cellnet.evaluation import Report
from cellnet.files import write_text
from cellnet.hub import load_pretrained
from cellnet.labels import PBC_LABELS
from cellnet.training import TrainConfig

SMALL = ["--dataset", "synthetic", "--model", "cnn", "--image-size", "32", "--device", "cpu"]
QUICK = [*SMALL, "--split", "0.1,0.1,0.8"]


def run(command: Callable[..., None], *words: object) -> tuple[str, str]:
    """Standard output and standard error; an error of cellnet is raised."""
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(word) for word in words])
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


def test_two_stages(tmp_path: Path) -> None:
    words = [*QUICK, "--model", "cnn+cnn", "--stages", "two", "--epochs", 1, "--out", tmp_path, "--json"]
    result = json.loads(run(train, *words)[0])
    assert result["checkpoint"] == str(tmp_path / "hybrid" / "model")
    for name in ("branch-1", "branch-2", "hybrid"):
        assert "epochs = 1\n" in (tmp_path / name / "config.toml").read_text()
        assert (tmp_path / name / "report" / "metrics.json").is_file()


def test_trained_branches_are_fused(tmp_path: Path) -> None:
    branches = []
    for name in ("one", "two"):
        words = [*QUICK, "--model", "cnn", "--head", "study", "--epochs", 1, "--out", tmp_path / name]
        run(train, *words)
        branches += ["--branch", tmp_path / name / "model"]
    words = [*QUICK, "--model", "cnn+cnn", *branches, "--epochs", 1, "--crop", 0.8, "--out", tmp_path / "fused"]
    result = json.loads(run(train, *words, "--fine-tune", "--json")[0])
    assert result["checkpoint"] == str(tmp_path / "fused" / "model")
    model = load_pretrained(tmp_path / "fused" / "model")
    assert model.preprocess.crop == 0.8
    assert str(branches[1]) in model.weights_card.starting_weights
    with pytest.raises(ConfigError, match="--branch gives cnn, cnn; give one trained inception_v3 and one xception"):
        run(train, *words[:-2], "--model", "hybrid", "--out", tmp_path / "no")
    with pytest.raises(ConfigError, match="--stages two and --branch exclude each other"):
        run(train, *words, "--stages", "two")


RUN_FILE = """
split = [0.1, 0.1, 0.8]

[options]
dataset = "synthetic"
model = "cnn+cnn"
stages = "two"
fine-tune = true
epochs = 1

[model]
image_size = 32

[train]
lr = 0.01

[models."cnn+cnn".model]
image_size = 48

[models."cnn+cnn".train]
epochs = 2
"""


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    return write_text(tmp_path / "train.toml", RUN_FILE)


def test_one_file_makes_a_training_again(run_file: Path, tmp_path: Path) -> None:
    run_file.write_text(RUN_FILE.replace("epochs = 1\n", ""))
    words = ["--config", run_file, "--set", "seed=3", "--device", "cpu", "--json", "--epochs", 1]
    result = json.loads(run(train, *words, "--out", tmp_path / "out")[0])
    folders = [tmp_path / "out" / name for name in ("branch-1", "hybrid")]
    texts = [(folder / "config.toml").read_text() for folder in folders]
    assert all(f"{line}\n" in text for text in texts for line in ("lr = 0.01", "seed = 3", "epochs = 1"))
    configs = [json.loads((folder / "model" / "config.json").read_text()) for folder in folders]
    assert [config["architecture"]["preprocess"]["image_size"] for config in configs] == [32, 48]
    assert result["n"] == 320
    alone, fused = (load_file(folder / "best.safetensors") for folder in folders)
    name = "blocks.0.0.weight"
    assert not torch.equal(alone[f"backbone.{name}"], fused[f"backbone._branches.0.{name}"])  # fine-tuned


def test_words_go_before_the_options_of_the_file(run_file: Path, tmp_path: Path) -> None:
    words = ["--config", run_file, "--model", "cnn", "--stages", "one", "--device", "cpu"]
    with pytest.raises(ConfigError, match="--fine-tune belongs to"):
        run(train, *words, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("stages", "stage", UnknownNameError, "Did you mean 'stages'"),
        ("fine-tune = true", 'out = "x"', UnknownNameError, "Unknown option in .*train.toml 'out'"),
        ("[options]", "[option]", UnknownNameError, "Did you mean 'options'"),
        ("[options]", "options = 3\n[model]", ConfigError, "options=3 of the protocol is no table"),
        ("lr = 0.01", "rl = 0.01", UnknownNameError, "Did you mean 'lr'"),
    ],
)
def test_run_files_that_are_none(
    old: str, new: str, error: type[Exception], message: str, run_file: Path, tmp_path: Path
) -> None:
    run_file.write_text(RUN_FILE.replace("[model]\nimage_size = 32\n", "").replace(old, new))
    with pytest.raises(error, match=message):
        run(train, "--config", run_file, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_supervised_contrastive_training(tmp_path: Path) -> None:
    words = [*SMALL, "--objective", "supcon", "--fine-tune", "--epochs", 1, "--out", tmp_path, "--json"]
    result = json.loads(run(train, *words)[0])
    assert result["checkpoint"] == str(tmp_path / "classifier" / "model")
    assert "epochs = 1\n" in (tmp_path / "encoder" / "config.toml").read_text()
    assert "epochs = 5\n" in (tmp_path / "classifier" / "config.toml").read_text()


@pytest.mark.slow
def test_the_fused_layers_train_for_five_epochs_if_nobody_says_otherwise(tmp_path: Path) -> None:
    protocol = tmp_path / "mine.toml"
    protocol.write_text('[train]\nepochs = 1\n[models."cnn+cnn".train]\nlr = 0.01\n')
    run(train, *QUICK, "--model", "cnn+cnn", "--stages", "two", "--protocol", protocol, "--out", tmp_path / "out")
    texts = [(tmp_path / "out" / name / "config.toml").read_text() for name in ("branch-1", "hybrid")]
    assert "epochs = 1\n" in texts[0]
    assert "lr = 0.001\n" in texts[0]
    assert "epochs = 5\n" in texts[1]
    assert "lr = 0.01\n" in texts[1]


def test_a_protocol_with_words_beside_it(tmp_path: Path) -> None:
    run(train, *SMALL, "--protocol", "study", "--no-pretrained", "--epochs", 1, "--out", tmp_path)
    text = (tmp_path / "config.toml").read_text()
    assert 'optimizer = "adam"\n' in text
    assert "epochs = 1\n" in text
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architecture"]["head"]["name"] == "study"
    assert config["architecture"]["preprocess"]["std"] == [1 / 255] * 3
    assert "split seed 42: 224 train, 56 val, 120 test" in config["card"]["split"]
    assert config["card"]["starting_weights"] == "none (random initialisation)"


def test_curves_for_tensorboard_stand_in_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run(train, *QUICK, "--epochs", 1, "--tensorboard", "--out", tmp_path)
    assert [path.name.split(".")[0] for path in (tmp_path / "tensorboard").iterdir()] == ["events"]


def test_words_go_before_the_protocol() -> None:
    recipe = Recipe(model="cnn", protocol="study", lr=0.5, settings=["ema=0.9"], image_size=48, mean=0.25)
    config = recipe.train_config()
    assert (config.lr, config.ema, config.optimizer) == (0.5, 0.9, "adam")
    model = recipe.create(PBC_LABELS)
    assert (model.preprocess.image_size, model.preprocess.mean) == (48, (0.25,) * 3)
    assert recipe.train_config("hybrid").lr == 0.5
    assert Recipe(protocol="study").train_config("hybrid").lr == 1e-4
    assert Recipe(protocol="study").starting_weights() == "the Hub's ImageNet weights"
    assert Recipe(protocol="study", model="cnn").starting_weights() == ""
    assert Recipe(protocol="study", weights=Path("w/a.safetensors")).starting_weights() == "a.safetensors"
    assert Recipe(pretrained=True).starting_weights() == "the Hub's ImageNet weights"
    assert recipe.seed_of_split(None) == 42
    assert recipe.seed_of_split(0) == 0


def test_a_file_of_weights_takes_the_place_of_pretrained_ones(tmp_path: Path) -> None:
    recipe = Recipe(model="mobilenet_v2", protocol="study", weights=tmp_path / "gone.safetensors")
    with pytest.raises(CellnetError, match=r"gone.safetensors"):  # and not: exclude each other
        recipe.create(PBC_LABELS)


def test_a_trained_model_is_trained_on(tmp_path: Path) -> None:
    run(train, *QUICK, "--epochs", 1, "--out", tmp_path / "first")
    cells, words = tmp_path / "cells", ["--dataset", "folder", "--split", "0.4,0.2,0.4", "--device", "cpu"]
    for number in range(30):
        folder = cells / ("neutrophil", "blast")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 24), (8 * number, 0, 0)).save(folder / f"{number}.png")
    words += ["--root", cells, "--start", tmp_path / "first" / "model", "--epochs", 1, "--crop", 0.9]
    run(train, *words, "--out", tmp_path / "second")
    model = load_pretrained(tmp_path / "second" / "model")
    assert (model.labels.names, model.backbone.name) == (("blast", "neutrophil"), "cnn")
    assert (model.preprocess.image_size, model.preprocess.crop) == (32, 0.9)
    assert model.weights_card.name == "cnn"
    assert model.weights_card.starting_weights == "cnn, version 1"
    assert model.weights_card.seen.keys() == {"synthetic"}
    for option, value in {"--model": "cnn", "--head": "linear", "--mean": 0.5}.items():
        with pytest.raises(ConfigError, match=f"is a whole network; leave out {option}"):
            run(train, *words, option, value, "--out", tmp_path / "no")


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--stages", "three"], UnknownNameError, "number of stages 'three'"),
        (["--stages", "two"], ConfigError, "'cnn' is not a pair"),
        (["--stages", "two", "--tensorboard"], ConfigError, "curves of one training; leave it out"),
        (["--stages", "two", "--objective", "supcon"], ConfigError, "exclude each other"),
        (["--objective", "supcon", "--distill", "x"], ConfigError, "leave it out with --objective supcon"),
        (["--objective", "simclr"], UnknownNameError, "Unknown objective"),
        (["--fine-tune"], ConfigError, "belongs to --stages two, --branch and --objective supcon"),
        (["--protocol", "studdy"], UnknownNameError, "Did you mean 'study'"),
        (["--protocol", "gone.toml"], ConfigError, "Cannot read "),
        (["--protocol", "study", "--preset", "fast"], ConfigError, "exclude each other"),
    ],
)
def test_bad_words(words: list[str], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        run(train, *SMALL, *words, "--out", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_find_lr(tmp_path: Path) -> None:
    words = [*SMALL, "--batch-size", 8, "--steps", 25]
    assert run(find_lr, *words, "--plot", tmp_path / "rates.png")[0].startswith("lr=")
    assert (tmp_path / "rates.png").stat().st_size > 0
    result = json.loads(run(find_lr, *words, "--json")[0])
    assert 1e-6 < result["suggestion"] < 0.1


def test_a_preset_and_single_options_before_it() -> None:
    preset = TrainConfig.preset("best")
    assert Recipe(preset="best").train_config() == preset
    assert Recipe(preset="best", epochs=3).train_config() == replace(preset, epochs=3)
    with pytest.raises(UnknownNameError, match=r"Unknown preset 'bset'. Did you mean 'best'"):
        Recipe(preset="bset").train_config()
    with pytest.raises(ConfigError, match="--protocol, --preset and --config exclude each other"):
        Recipe(preset="best", protocol="honest").train_config()
