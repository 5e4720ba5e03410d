"""Collect finished runs of ``cellnet train`` into benchmarks/results/accuracy.csv, one row a run.

    python benchmarks/accuracy/collect.py runs/cnn runs/mobilenet_v2

A run that is there already is replaced; `benchmarks/tables.py` writes the README's table from the file.
"""

from __future__ import annotations

import csv
import platform
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import cellnet
from cellnet.files import atomic_path

RESULTS = Path(__file__).parents[1] / "results" / "accuracy.csv"
COLUMNS = (
    "model", "data", "image_size", "epochs", "start", "test_images", "accuracy", "macro_f1", "minutes", "machine",
    "versions", "command",
)  # fmt: skip


def row_of(run: Path) -> dict[str, str]:
    """The row of one run folder."""
    model = cellnet.load_pretrained(run / "model")
    card = model.weights_card
    if card is None:
        raise SystemExit(f"{run}/model has no card; train it with `cellnet train`.")
    with (run / "history.csv").open(newline="") as file:
        history = list(csv.DictReader(file))
    config = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))

    def percent(name: str) -> str:
        m = card.metrics[name]
        return f"{100 * m['value']:.2f} % [{100 * m['low']:.2f}, {100 * m['high']:.2f}]"

    return {
        "model": card.name,
        "data": f"{card.training_data} pool",
        "image_size": str(model.preprocess.image_size),
        "epochs": str(config["epochs"]),
        "start": card.starting_weights,
        "test_images": str(card.num_test_images),
        "accuracy": percent("accuracy"),
        "macro_f1": percent("macro_f1"),
        "minutes": f"{sum(float(row['seconds']) for row in history) / 60:.0f}",
        "machine": f"{platform.machine()}, 2 cores, no GPU",
        "versions": ", ".join(f"{p} {version(p)}" for p in ("torch", "torchvision", "timm")),
        "command": card.command,
    }


def main() -> None:
    """Replace or append the rows of the runs named on the command line."""
    rows: dict[str, dict[str, str]] = {}
    if RESULTS.exists():
        with RESULTS.open(newline="", encoding="utf-8") as file:
            rows = {row["model"]: row for row in csv.DictReader(file)}
    for run in map(Path, sys.argv[1:]):
        row = row_of(run)
        rows[row["model"]] = row
    with atomic_path(RESULTS) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())


if __name__ == "__main__":
    main()
