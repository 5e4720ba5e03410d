"""Collect finished runs of ``cellnet train`` into benchmarks/results/accuracy.csv, one row a run.

    python benchmarks/accuracy/collect.py runs/cnn runs/mobilenet_v2

A run of the same model and image size that is there already is replaced; `benchmarks/tables.py` writes the README's
table from the file.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import shlex
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import cellnet
from cellnet.errors import DataError
from cellnet.evaluation import Estimate
from cellnet.files import atomic_path

RESULTS = Path(__file__).parents[1] / "results" / "accuracy.csv"


def row_of(run: Path) -> dict[str, str]:
    """The row of one run folder, of one stage or two.

    Raises:
        DataError: Its model was judged on no test part.
    """
    parts = stages(run)
    model = cellnet.load_pretrained(parts[-1] / "model")
    card = model.weights_card
    if card is None or not card.num_test_images:
        raise DataError(f"{parts[-1]}/model was judged on no test part; train it with `cellnet train`.")
    epochs = [str(tomllib.loads((part / "config.toml").read_text(encoding="utf-8"))["epochs"]) for part in parts]
    # No other machine has an absolute path.
    words = [Path(word).name if word.startswith("/") else word for word in shlex.split(card.command)]
    return {
        "model": card.name,
        "data": f"{card.training_data} pool",
        "image_size": str(model.preprocess.image_size),
        "epochs": ", then ".join(epochs),
        "start": card.starting_weights,
        "test_images": str(card.num_test_images),
        "accuracy": str(Estimate(**card.metrics["accuracy"])),
        "macro_f1": str(Estimate(**card.metrics["macro_f1"])),
        "minutes": f"{sum(map(seconds_of, parts)) / 60:.0f}",
        **training_facts(parts[-1]),
        "command": shlex.join(words),
    }


def stages(run: Path) -> list[Path]:
    """The folders of a run's stages, the last of which has the model."""
    staged = [run / name for name in ("encoder", "classifier")]
    return staged if staged[1].is_dir() else [run]


def history_of(run: Path) -> list[dict[str, str]]:
    """The epochs of a run of one stage."""
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def seconds_of(run: Path) -> float:
    """How long the epochs of a run of one stage took, validation included."""
    return sum(float(row["seconds"]) for row in history_of(run))


PACKAGES = ("torch", "torchvision", "timm")


def training_facts(run: Path) -> dict[str, str]:
    """What a run of one stage ran on, when it was last started."""
    session = json.loads((run / "run.json").read_text(encoding="utf-8"))["sessions"][-1]
    hardware = session["hardware"]
    device = "no GPU" if hardware["device"] == "cpu" else hardware["device"]
    return {
        "machine": f"{hardware['processor']}, {hardware['cores']} cores, {device}",
        "versions": ", ".join(f"{package} {session['versions'][package]}" for package in PACKAGES),
    }


def machine_facts() -> dict[str, str]:
    """What this process runs on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {gpu}",
        "versions": ", ".join(f"{p} {version(p)}" for p in PACKAGES),
    }


def replace_rows(
    path: Path, keys: tuple[str, ...], new: list[dict[str, str]], order: Callable[[dict[str, str]], Any] | None = None
) -> None:
    """Write rows into a CSV, sorted by ``order`` where it is given; a row with the same ``keys`` gives way."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = {tuple(row[key] for key in keys): row for row in csv.DictReader(file)}
    rows |= {tuple(row[key] for key in keys): row for row in new}
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(new[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values() if order is None else sorted(rows.values(), key=order))


if __name__ == "__main__":
    replace_rows(RESULTS, ("model", "image_size"), [row_of(Path(run)) for run in sys.argv[1:]])
