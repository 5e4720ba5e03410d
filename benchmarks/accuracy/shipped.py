"""What the table says of the weights that ship with cellnet: they are judged, not trained again."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.accuracy.cells import Cells, judged, processor_in_words, versions_in_words
from benchmarks.accuracy.table import check_data, data_in_words, results_file, write

import cellnet
from cellnet.datasets import CellDataset
from cellnet.errors import CellnetError, DataError
from cellnet.experiments import load_protocol
from cellnet.experiments.lineage import check_unseen
from cellnet.hub import load
from cellnet.training.provenance import git_commit

FOLDER = Path(cellnet.__file__).parent / "weights"

PROTOCOL = "honest"
"""Whose training part they learned from, and whose test part they have not seen."""


def shipped_names() -> list[str]:
    """Names of the weights, in alphabetical order."""
    return sorted(file.parent.name for file in FOLDER.glob("*/config.json"))


def judge(
    names: Sequence[str],
    images: CellDataset,
    results: Path,
    *,
    say: Callable[[str], None],
    command: Callable[[str], str],
) -> list[str]:
    """Judge weights, and write the row of each into the table as soon as it is done.

    Args:
        names: Which.
        images: The data set, as large as it is: models bring images to size themselves.
        results: Folder of the CSV files; the weights were trained on processors.
        say: Told what happens, a line each.
        command: Gives the command that makes one row again.

    Returns:
        What went wrong, a line for each row that failed; the others are in the table.

    Raises:
        ConfigError: The table is one of other images.
    """
    protocol, file = load_protocol(PROTOCOL), results_file(results, "cpu")
    data, failures = data_in_words(images), []
    check_data(file, data)
    parts = images.split(protocol.split, seed=protocol.split_seed)
    for name in names:
        try:
            cells = describe_shipped(FOLDER / name, parts) | {"data": data, "command": command(name)}
        except CellnetError as error:
            failures.append(f"{name}: {error}")
            continue
        write(file, [cells])
        say(f"{name}: {cells['accuracy']}")
    say(f"Table: {file}")
    return failures


def describe_shipped(folder: Path, parts: tuple[CellDataset, ...]) -> Cells:
    """A row of weights as they are stored, at the image size that they learned from.

    What a training took and where is said of the one that made them.

    Args:
        folder: Their checkpoint folder.
        parts: Training, validation and test part.

    Raises:
        DataError: They learned from other images than the training part, or have no card.
    """
    model = load(folder)
    card = model.weights_card
    if card is None:
        raise DataError(f"{folder.name} has no card, so that nobody knows what it learned from; train it anew.")
    check_unseen(model, parts[-1], parts[0])
    training = card.training
    hardware, precision = training["hardware"], training["precision"]
    return {
        "model": f"shipped_{folder.name}",
        "protocol": PROTOCOL,
        "shuffled": "",
        **judged(model, parts, cellnet.evaluate(model, parts[-1])),
        "published": "",
        "published_lies": "",
        "epochs": "+".join(str(count) for count in epochs_in(folder)),
        "start": f"{card.starting_weights or 'nothing'}; version {card.version}",
        "minutes": f"{60 * training['hours']:.0f}",
        "device": processor_in_words(hardware),
        "precision": "fp32" if (precision, hardware["device"]) == ("auto", "cpu") else precision,
        "peak_gib": "",
        "matrix_share": "",
        "versions": versions_in_words(training["versions"]),
        "commit": git_commit() or "",
    }


def epochs_in(folder: Path) -> list[int]:
    """Epochs of each stage of the training, as its histories tell."""
    counts = []
    for file in (*sorted(folder.glob("history_*.csv")), folder / "history.csv"):
        with file.open(newline="", encoding="utf-8") as stream:
            counts.append(sum(1 for _ in csv.DictReader(stream)))
    return counts
