"""Reading a predictions file, whoever wrote it: every cell is checked, and an error names the row."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from cellnet.errors import DataError
from cellnet.labels import LabelSchema
from cellnet.registry import unknown_name

BEFORE_CLASSES = ("file", "target", "label", "probability", "second", "margin", "abstain", "ood", "set")
AFTER_CLASSES = ("error",)
RESERVED = frozenset((*BEFORE_CLASSES, *AFTER_CLASSES, "fold"))
"""Columns of a predictions file that are not classes."""

SET_SEPARATOR = "|"
"""Stands between the classes of a prediction set."""

SUM_TOLERANCE = 1e-3
"""How far the probabilities of a row may be from 1 in sum: other people's files are often rounded."""


class Table(TypedDict):
    """The columns of a predictions file, named as the arguments of `Predictions`."""

    files: list[str]
    schema: LabelSchema
    probabilities: NDArray[np.float32]
    errors: list[str | None]
    ood: NDArray[np.float32]
    abstain: NDArray[np.bool_]
    targets: NDArray[np.int64] | None
    in_set: NDArray[np.bool_] | None


def read_table(path: Path, schema: LabelSchema | None) -> Table:
    """Read ``path``; see `Predictions.read_csv`.

    Raises:
        DataError: No such file, or something in it that is not a prediction; the message names the row.
    """
    header, rows = _read_text(path)
    classes = [name for name in header if name not in RESERVED]
    if not classes:
        raise DataError(
            f"{path} has no class columns, only {', '.join(header)}; a predictions file has the columns "
            "file, target (optional), and one of probabilities for each class."
        )
    schema = schema or LabelSchema.from_names(classes)
    order = _class_order(path, classes, schema)

    table = Table(
        files=[row["file"] for _, row in rows],
        schema=schema,
        probabilities=np.full((len(rows), len(schema)), np.nan, np.float32),
        errors=[row.get("error") or None for _, row in rows],
        ood=np.full(len(rows), np.nan, np.float32),
        abstain=np.zeros(len(rows), np.bool_),
        targets=None,
        in_set=None,
    )
    if "set" in header:
        table["in_set"] = np.zeros((len(rows), len(schema)), np.bool_)
    targets = np.zeros(len(rows), np.int64)
    with_targets = any(row.get("target") for _, row in rows)
    for i, (where, row) in enumerate(rows):
        if table["errors"][i] is None:
            table["probabilities"][i] = _probabilities(where, row, classes)[order]
            _check_label(where, row.get("label", ""), table["probabilities"][i], schema)
        elif any(row[name] for name in classes):
            raise DataError(f"{where} has both probabilities and an error; leave one of them empty.")
        table["ood"][i] = _number(where, "ood", row.get("ood") or "nan")
        table["abstain"][i] = _flag(where, row["abstain"]) if row.get("abstain") else table["errors"][i] is not None
        if table["in_set"] is not None and row["set"]:
            table["in_set"][i, [_label(where, "set", name, schema) for name in row["set"].split(SET_SEPARATOR)]] = True
        if with_targets:
            targets[i] = _label(where, "target", row["target"], schema)
    if with_targets:
        table["targets"] = targets
    return table


def _read_text(path: Path) -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    """Header, and for each row the words that say where it stands and its cells by column."""
    try:
        # utf-8-sig: Excel writes a byte-order mark. surrogateescape: as in Predictions.to_csv.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            header, *cells = list(csv.reader(stream, strict=True)) or [[]]
    except OSError as error:
        raise DataError(f"Cannot read the predictions file {path}: {error.strerror}; check the path.") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file ({error}); give a predictions file.") from error
    header = [name.strip() for name in header]
    if "file" not in header:
        raise DataError(
            f"{path} has no column 'file' in its first row ({', '.join(header)[:200] or 'empty'}); "
            "give a comma-separated predictions file."
        )
    repeated = next((name for name in header if header.count(name) > 1), None)
    if repeated is not None:
        raise DataError(f"{path} has the column {repeated!r} twice; remove one.")
    rows = []
    for number, row in enumerate(cells, start=2):
        if not row:  # a blank line, usually the last
            continue
        where = f"Row {number} of {path}"
        if len(row) != len(header):
            raise DataError(f"{where} has {len(row)} cells under {len(header)} column names; correct the row.")
        rows.append((where, dict(zip(header, row, strict=True))))
    return header, rows


def _class_order(path: Path, classes: list[str], schema: LabelSchema) -> list[int]:
    """For each class of the schema, the position of its column among ``classes``."""
    found: dict[int, int] = {}
    for position, name in enumerate(classes):
        label = schema.find(name)
        if label is None:
            raise DataError(f"{path} has an unknown column. {unknown_name('class', name, schema.names)}")
        if label in found:
            raise DataError(
                f"{path} has two columns for one class, {classes[found[label]]!r} and {name!r}; remove one."
            )
        found[label] = position
    missing = [name for label, name in enumerate(schema.names) if label not in found]
    if missing:
        raise DataError(f"{path} has no column for {', '.join(missing)}; every class needs one.")
    return [found[label] for label in range(len(schema))]


def _probabilities(where: str, row: dict[str, str], classes: list[str]) -> NDArray[np.float64]:
    if not any(row[name] for name in classes):
        raise DataError(f"{where} has no probabilities; give them, or say in a column 'error' why not.")
    values = np.array([_number(where, name, row[name]) for name in classes])
    if not ((values >= 0) & (values <= 1)).all():  # NaN fails both comparisons
        bad = next(name for name, value in zip(classes, values, strict=True) if not 0 <= value <= 1)
        raise DataError(f"{where}: {bad} is {row[bad]!r}; a probability lies between 0 and 1.")
    if abs(values.sum() - 1) > SUM_TOLERANCE:
        raise DataError(
            f"{where}: the probabilities sum to {values.sum():.6g}, not 1; give the softmax over the classes."
        )
    return values


def _check_label(where: str, name: str, probabilities: NDArray[np.float32], schema: LabelSchema) -> None:
    """A label beside the probabilities must be their maximum; where it is not, it is mostly the target."""
    if name and probabilities[_label(where, "label", name, schema)] < probabilities.max():
        raise DataError(
            f"{where}: the label is {name!r}, but the highest probability is that of "
            f"{schema.names[int(probabilities.argmax())]!r}; the true class belongs in the column 'target'."
        )


def _label(where: str, column: str, name: str, schema: LabelSchema) -> int:
    label = schema.find(name)
    if label is None:
        reason = str(unknown_name("class", name, schema.names)) if name else "It is empty; fill it in every row."
        raise DataError(f"{where}, column {column!r}: {reason}")
    return label


def _number(where: str, column: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{where}, column {column!r}: {text!r} is not a number.") from None


def _flag(where: str, text: str) -> bool:
    flags = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in flags:
        raise DataError(f"{where}, column 'abstain': {text!r} is neither true nor false.")
    return flags[text.lower()]
