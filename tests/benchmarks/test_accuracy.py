"""The study's table in little: the real command, drawn cells, small networks."""

from __future__ import annotations

import csv
import importlib
import json
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cellnet.backbones import Backbone
from cellnet.datasets import load_dataset, pack
from cellnet.errors import CellnetError, ConfigError
from cellnet.evaluation import Estimate
from cellnet.evaluation.intervals import wilson
from cellnet.experiments import load_protocol
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS
from cellnet.models import CellClassifier
from cellnet.training import Callback, Interrupted

ROOT = Path(__file__).parents[2]
INTERVAL = re.compile(r"[\d.]+ % \[[\d.]+–[\d.]+\]")


def module(name: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        return importlib.import_module(f"benchmarks.accuracy.{name}")


command, rows, tasks, pace, table = (module(name) for name in ("__main__", "rows", "tasks", "pace", "table"))


def read(file: Path) -> dict[str, dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return {row["model"]: row for row in csv.DictReader(stream)}


def rehearse(out: Path, *words: str) -> int:
    return int(command.main(["rehearse", "--out", str(out), "--device", "cpu", *words]))


ROWS = "cnn,mobilenet_v2,supcon,hybrid_two_stage,mobilenet_v2_start"
SOME = ("--rows", ROWS, "--shuffling", "with", "--norm-batches", "2")


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rehearsal")
    assert rehearse(out, *SOME) == 0
    return out


def test_every_row_says_all_that_is_needed(rehearsed: Path) -> None:
    found = read(rehearsed / "results" / "cpu.csv")
    # The hybrid brings its two networks; the order is that of the table.
    assert list(found) == [
        "cnn",
        "mobilenet_v2",
        "inception_v3",
        "xception",
        "supcon",
        "hybrid_two_stage",
        "mobilenet_v2_start",
    ]
    assert not (rehearsed / "results" / "gpu.csv").exists()
    splits = set()
    for name, row in found.items():
        assert tuple(row) == table.COLUMNS
        for figure in ("train_accuracy", "accuracy", "macro_precision", "macro_recall", "macro_f1"):
            assert INTERVAL.fullmatch(row[figure]), figure
        report = next((rehearsed / "table" / f"study-with-32px/{name}/run").rglob("metrics.json"))
        saved = json.loads(report.read_text())["metrics"]["accuracy"]
        assert row["accuracy"] == str(Estimate(**saved))
        assert (row["protocol"], row["shuffled"], row["image_size"], row["device"][-5:]) == (
            "study",
            "with",
            "32",
            "cores",
        )
        assert row["precision"] == "fp32"
        assert float(row["peak_gib"]) > 0
        assert float(row["minutes"]) >= 0
        assert "torch" in row["versions"]
        splits.add((row["split_hash"], row["test_images"], row["data"]))
    assert len(splits) == 1  # all are judged on the same images
    split, images, data = splits.pop()
    assert re.fullmatch("[0-9a-f]{16}", split)
    assert (images, data[:20]) == ("24", "synthetic, 96 images")
    assert found["cnn"]["published"] == "91.08 %"
    assert found["cnn"]["published_lies"] == "above"
    assert found["mobilenet_v2_start"]["published"] == found["mobilenet_v2_start"]["published_lies"] == ""
    assert found["mobilenet_v2_start"]["start"] == "test_efficientnet.safetensors"
    assert found["hybrid_two_stage"]["start"] == "inception_v3 and xception, frozen"
    assert found["cnn"]["start"] == "nothing"
    assert found["supcon"]["epochs"] == "2+1"
    assert all(bool(row["matrix_share"]) == (name not in ("supcon", "hybrid_two_stage")) for name, row in found.items())


def test_the_command_of_a_row_makes_that_row(rehearsed: Path) -> None:
    row = read(rehearsed / "results" / "cpu.csv")["cnn"]
    python, dash, name, *words = shlex.split(row["command"])
    assert (python, dash, name) == ("python", "-m", "benchmarks.accuracy")
    given = command.create_parser().parse_args(words)
    assert (given.rows, given.shuffling, given.image_size, given.epochs) == ("cnn", "with", 32, 1)
    assert given.norm_batches == 2


def test_rows_that_are_done_are_read(rehearsed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = rehearsed / "results" / "cpu.csv"
    before = file.read_text()
    file.unlink()

    def never(*given: Any, **options: Any) -> None:
        raise AssertionError("trained again")

    for name in ("train_and_report", "train_contrastive", "train_fused"):
        monkeypatch.setattr(module("run"), name, never)
    assert rehearse(rehearsed, *SOME) == 0
    assert file.read_text() == before


class Stop(Callback):
    """Ends a run after its first epoch, as a signal would."""

    def on_epoch_end(self, row: dict[str, Any], history: list[dict[str, Any]], improved: bool) -> None:
        raise Interrupted("Stopped after the first epoch.", signal.SIGTERM)


def test_a_row_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--protocol", "honest", "--rows", "cnn", "--epochs", "2")
    with monkeypatch.context() as patch:
        patch.setattr(command, "ProgressBar", lambda console: Stop())
        assert rehearse(tmp_path, *words) == 128 + signal.SIGTERM
    folder = tmp_path / "table" / "honest-32px" / "cnn"
    started = json.loads((folder / "run" / "run.json").read_text())["sessions"]
    assert not (tmp_path / "results" / "cpu.csv").exists()
    assert rehearse(tmp_path, *words) == 0
    row = read(tmp_path / "results" / "cpu.csv")["cnn"]
    assert (row["shuffled"], row["published"]) == ("", "")
    assert (
        int(row["epochs"]) == len((folder / "run" / "history.csv").read_text().splitlines()) - 1 == 3
    )  # 16 of 12, × 2
    sessions = json.loads((folder / "run" / "run.json").read_text())["sessions"]
    assert sessions[: len(started)] == started
    assert len(sessions) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows", "xceptoin"], "Unknown row 'xceptoin'. Did you mean 'xception'"),
        (["--protocol", "studdy"], "Unknown protocol 'studdy'. Did you mean 'study'?"),
        (["--shuffling", "maybe"], "Unknown shuffling 'maybe'"),
        (["--device", "tpu"], "Unknown device 'tpu'"),
        (["--budget", "0"], "--budget 0 is out of range"),
        (["--budget", "nan"], "--budget nan is out of range"),
        (["--epochs", "0"], "--epochs 0 is out of range"),
        (["--epochs", "1", "--budget", "5"], "exclude each other"),
        (["--norm-batches", "-1"], "--norm-batches -1 is out of range"),
        (["--rows", "cnn", "--budget", "1e-9"], "--budget allows 1e-09; give more"),
        (["--rows", "mobilenet_v2_start", "--starts", "."], "where there is none; give another folder"),
    ],
)
def test_words_that_cannot_be_used(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rehearse(tmp_path, *words) == 1
    told = capsys.readouterr().err
    assert told.count("Error: ") == 1
    assert message in told
    assert not list(tmp_path.rglob("*.csv"))


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.find_device("auto") == command.find_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match=r"no GPU .* give --device cpu, or auto"):
        command.find_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (command.find_device("auto"), command.find_device("cpu")) == ("cuda", "cpu")


def test_what_is_there_already_is_not_mixed(rehearsed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--rows", "cnn", *SOME[2:])
    assert rehearse(rehearsed, *words, "--image-size", "48") == 1  # other drawn images
    assert "cpu.csv holds rows of synthetic, 96 images" in capsys.readouterr().err
    (rehearsed / "results" / "cpu.csv").rename(rehearsed / "kept.csv")
    try:
        assert rehearse(rehearsed, *words, "--image-size", "48") == 1
        assert "cannot be continued: data was 'synthetic, 96 images" in capsys.readouterr().err
    finally:
        (rehearsed / "kept.csv").rename(rehearsed / "results" / "cpu.csv")
    assert rehearse(rehearsed, *words, "--epochs", "7") == 1
    assert "cannot be continued: epochs was 1, is 7" in capsys.readouterr().err
    assert rehearse(rehearsed, *words, "--norm-batches", "3") == 1
    assert "cannot be continued: norm_batches was 2, is 3" in capsys.readouterr().err


def test_a_row_that_fails_leaves_the_others(
    rehearsed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*given: Any, **options: Any) -> None:
        raise ConfigError("The loss is not finite.")

    monkeypatch.setattr(module("run"), "train_and_report", fail)
    assert rehearse(rehearsed, "--rows", "cnn,unet", *SOME[2:]) == 1
    assert "Failed: study-with-32px/unet: The loss is not finite." in capsys.readouterr().err
    found = read(rehearsed / "results" / "cpu.csv")
    assert "cnn" in found
    assert "unet" not in found


def test_images_that_were_packed_smaller(tmp_path: Path) -> None:
    pack(load_dataset("synthetic", per_class=3, image_size=32), tmp_path / "packed", Preprocess(32))
    (row,) = rows.choose("cnn")
    small, large = (tasks.Task(row, setting(image_size=size)) for size in (32, 64))
    assert len(command.open_data(tmp_path / "packed", [small])) == 24
    with pytest.raises(ConfigError, match="packed at 32 px, 64 px are wanted"):
        command.open_data(tmp_path / "packed", [small, large])
    with pytest.raises(CellnetError, match="nowhere"):
        command.open_data(tmp_path / "nowhere", [small])


def setting(protocol: str = "study", device: str = "cpu", **options: Any) -> Any:
    return tasks.Setting(protocol, load_protocol(protocol), device, **options)


def task(name: str, **options: Any) -> Any:
    return tasks.Task(next(row for row in rows.ROWS if row.name == name), setting(**options))


def test_rows_are_trained_as_the_study_says() -> None:
    (config,) = task("xception").configs(10)
    assert (config.epochs, config.optimizer, config.lr, config.precision) == (10, "adam", 1e-3, "fp32")
    (config,) = task("resnet50_sgd").configs(5)
    assert (config.epochs, config.optimizer, config.lr, config.momentum) == (5, "sgd", 0.01, 0.0)
    balances = [task("mobilenet_v2", protocol=name).configs(10)[0].balance for name in ("study", "honest")]
    assert balances == ["SMOTE", None]
    assert [config.epochs for config in task("supcon").configs(10)] == [20, 5]
    assert [(config.epochs, config.lr) for config in task("hybrid_two_stage").configs(10)] == [(5, 1e-4)]
    (config,) = task("cnn", protocol="honest").configs(6)
    assert (config.epochs, config.warmup_epochs) == (8, 0.5)
    (config,) = task("vgg16", device="cuda", compile=True).configs(10)
    assert (config.precision, config.channels_last, config.compile, config.on_device) == ("auto", True, True, True)
    assert [task("vgg16", norm_batches=count).configs(1)[0].norm_batches for count in (0, 20)] == [0, 20]
    assert [task("supcon", rehearsal=way).configs(1)[0].on_device for way in (False, True)] == [False, True]


def test_where_rows_start() -> None:
    assert task("xception").start == task("cnn", hub=True).start == ""
    assert task("xception", hub=True).start == "the Hub's ImageNet weights"
    with pytest.raises(ConfigError, match="starts from a file mobilenetv2_100"):
        _ = task("mobilenet_v2_start").start


def test_shuffling_is_one_more_split() -> None:
    both = tasks.tasks_of(rows.choose("cnn"), setting(), "both")
    assert [(one.shuffled, one.split_seed) for one in both] == [("without", 42), ("with", 43)]
    assert [one.shuffled for one in tasks.tasks_of(rows.choose("cnn"), setting("honest"), "both")] == [""]


def test_published_figures_belong_to_rows() -> None:
    assert module("published").PUBLISHED.keys() <= {row.name for row in rows.ROWS}
    where = module("cells").where
    assert [where(p, wilson(90, 100)) for p in (0.7, 0.9, 0.99)] == ["below", "inside", "above"]


def test_a_budget_gives_all_rows_the_same_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "images_per_second", lambda one, parts, others: 100.0)
    parts = tuple(range(n) for n in (600, 150, 300))
    two = [task("cnn"), task("xception")]
    # An epoch: 600 + 150 / 3 images; to judge: (2 × 600 + 2 × 150 + 300) / 3.
    assert pace.seconds_of(two[0], parts, 100.0, epochs=4) == pytest.approx((4 * 650 + 600) / 100)
    said: list[str] = []
    for minutes, epochs in ((100.0, 10), (2 * 32.5 / 60, 4), (2 * 30.0 / 60, 3)):
        assert pace.epochs_within(minutes, two, lambda one: parts, two, said.append) == epochs
    assert said[:2] == ["cnn: 100 images/s", "xception: 100 images/s"]
    cells = load_dataset("synthetic", per_class=5, image_size=32)
    unequal = cells.subset(range(1, len(cells)))
    assert (len(unequal), pace.balanced_size(unequal)) == (39, 40)
    # Of two stages the second looks at images only.
    contrast = (20 * 650 + 5 * 250 + 600) / 100
    assert pace.seconds_of(task("supcon"), parts, 100.0, epochs=10) == pytest.approx(contrast)


def test_the_pace_of_every_kind_is_measured() -> None:
    small = module("rehearsal").small_rows()
    chosen = rows.choose("supcon,hybrid_two_stage", small)
    every = [tasks.Task(row, setting(image_size=32)) for row in chosen]
    parts = load_dataset("synthetic", per_class=5, image_size=32).split((0.6, 0.2, 0.2))
    for one in every:
        if one.row.kind != "single":
            assert pace.images_per_second(one, parts, every) > 0


class OneConvolution(Backbone):
    def __init__(self) -> None:
        super().__init__()
        self.name, self.num_features, self.input_size = "one", 8, 16
        self.mean = self.std = (0.5, 0.5, 0.5)
        self.convolution = nn.Conv2d(3, 8, 4, stride=4, bias=False)

    def feature_maps(self, images: Tensor) -> Tensor:
        maps: Tensor = self.convolution(images)
        return maps


def test_operations_are_counted_and_matrices_timed() -> None:
    cells, hardware = module("cells"), module("hardware")
    model = CellClassifier(OneConvolution(), PBC_LABELS, Preprocess(16))
    convolution, linear = 2 * (3 * 4 * 4) * 8 * (4 * 4), 2 * 8 * 8
    assert cells.training_flops(model) == 3 * (convolution + linear)
    assert model.training
    for dtype in (torch.float32, torch.bfloat16):
        assert hardware.matrix_rate("cpu", dtype, size=16, repeats=2) > 0


def test_rows_are_replaced_by_their_key(tmp_path: Path) -> None:
    def row(model: str, shuffled: str, accuracy: str) -> dict[str, str]:
        given = {"model": model, "protocol": "study", "shuffled": shuffled, "image_size": "96", "accuracy": accuracy}
        return dict.fromkeys(table.COLUMNS, "") | given | {"data": "pbc"}

    file = table.results_file(tmp_path, "cpu")
    assert (file.name, table.results_file(tmp_path, "cuda").name) == ("cpu.csv", "gpu.csv")
    for new in (row("xception", "with", "1"), row("cnn", "with", "2"), row("cnn", "with", "3"), row("cnn", "", "4")):
        table.write(file, [new])
    with file.open(newline="", encoding="utf-8") as stream:
        assert [one["accuracy"] for one in csv.DictReader(stream)] == ["4", "3", "1"]
    table.check_data(file, "pbc")
    with pytest.raises(ConfigError, match="holds rows of pbc, not of raabin; give another folder by --results"):
        table.check_data(file, "raabin")


PAGES = [ROOT / "README.md", ROOT / "docs" / "results.md.in", ROOT / "docs" / "how-to" / "reproduce.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_on_the_pages_can_be_typed(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"python -m benchmarks\.accuracy ([^`\n]+)", text)
    assert found
    for words in found:
        given = command.create_parser().parse_args(shlex.split(words))
        if given.what == "judge":
            continue
        assert rows.choose(given.rows)
        assert given.protocol in ("study", "honest")
        assert not (given.epochs and given.budget)
