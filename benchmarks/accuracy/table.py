"""The table on disk: one CSV for rows from GPUs and one for rows from processors, which are never mixed."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.accuracy.collect import replace_rows
from benchmarks.accuracy.rows import ROWS

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError

RESULTS = Path(__file__).parent / "results"

KEY = ("model", "protocol", "shuffled", "image_size")
"""What a row is replaced by."""

COLUMNS = (
    *KEY,
    "train_accuracy",
    "accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "published",
    "published_lies",
    "test_images",
    "split_hash",
    "epochs",
    "start",
    "minutes",
    "device",
    "precision",
    "peak_gib",
    "matrix_share",
    "data",
    "versions",
    "commit",
    "command",
)


def results_file(folder: Path, device: str) -> Path:
    """The CSV of a device class: ``gpu.csv`` or ``cpu.csv``."""
    return folder / ("gpu.csv" if device == "cuda" else "cpu.csv")


def data_in_words(images: CellDataset) -> str:
    """A data set's name, how many images, and which."""
    name = images.card.name if images.card else images.labels.name
    return f"{name}, {len(images):,} images, {images.fingerprint()}"


def check_data(file: Path, data: str) -> None:
    """Refuse a table of other images.

    Raises:
        ConfigError: The file holds rows of them.
    """
    if file.exists():
        with file.open(newline="", encoding="utf-8") as stream:
            others = {row["data"] for row in csv.DictReader(stream)} - {data}
        if others:
            raise ConfigError(f"{file} holds rows of {min(others)}, not of {data}; give another folder by --results.")


def write(file: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write rows into the table, in its order; a row of the same `KEY` gives way."""
    names = [row.name for row in ROWS]

    def place(row: dict[str, str]) -> tuple[str, int, str, int]:
        number = names.index(row["model"]) if row["model"] in names else len(names)
        return row["protocol"], int(row["image_size"]), row["shuffled"], number

    replace_rows(file, KEY, [{name: row[name] for name in COLUMNS} for row in rows], order=place)
