"""Reading a predictions file, whoever wrote it: every cell is checked, and an error names the row."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from cellnet.errors import DataError
from cellnet.labels import LabelSchema
from cellnet.registry import unknown_name

BEFORE_CLASSES = ("file", "target", "group", "label", "probability", "second", "margin", "abstain", "ood", "set")
AFTER_CLASSES = ("error",)
RESERVED = frozenset((*BEFORE_CLASSES, *AFTER_CLASSES, "fold"))
"""Columns of a predictions file that are not classes."""

SET_SEPARATOR = "|"
"""Stands between the classes of a prediction set."""

SUM_TOLERANCE = 1e-3
"""How far the probabilities of a row may be from 1 in sum: other people's files are often rounded."""

ROUNDING = 1e-6
"""How far a single one may be above 1."""

ROWS_AT_ONCE = 50_000
"""Rows that are text at one time: text takes ten times the memory of its numbers."""


class Table(TypedDict):
    """The columns of a predictions file, named as the arguments of `Predictions`."""

    files: list[str]
    schema: LabelSchema
    probabilities: NDArray[np.float32]
    errors: list[str | None]
    ood: NDArray[np.float32]
    abstain: NDArray[np.bool_]
    targets: NDArray[np.int64] | None
    groups: list[str | None] | None
    in_set: NDArray[np.bool_] | None


def is_known(value: object) -> bool:
    """Whether there is a value: None, NaN and pandas' NA are none."""
    try:
        return value is not None and bool(value == value)  # NaN differs from itself
    except TypeError:  # pandas' NA is neither equal nor not
        return False


def read_table(path: Path, schema: LabelSchema | None) -> Table:
    """Read ``path``; see `Predictions.read_csv`.

    Raises:
        DataError: No such file, or something in it that is not a prediction; the message names the row.
    """
    try:
        # utf-8-sig: Excel writes a byte-order mark. surrogateescape: as in Predictions.to_csv.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            lines = csv.reader(stream, strict=True)
            header = _header(path, next(lines, []))
            classes = [name for name in header if name not in RESERVED]
            if not classes:
                raise DataError(
                    f"{path} has no class columns, only {', '.join(header)}; a predictions file has the columns "
                    "file, target (optional), and one of probabilities for each class."
                )
            schema = schema or LabelSchema.from_names(classes)
            order = _class_order(path, classes, schema)
            numbered = enumerate(lines, start=2)
            blocks = [_parse(_Rows(path, header, []), classes, order, schema)]  # a file may have no rows
            while block := list(islice(numbered, ROWS_AT_ONCE)):
                blocks.append(_parse(_Rows(path, header, block), classes, order, schema))
    except OSError as error:
        raise DataError(f"Cannot read the predictions file {path}: {error.strerror}; check the path.") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file ({error}); give a predictions file.") from error
    return _join(path, blocks, schema)


def first_improper(values: NDArray[Any], names: Sequence[str]) -> tuple[int, str] | None:
    """The first of N rows that are no probabilities with sum 1, and why; None where all are.

    Args:
        values: N×C.
        names: C class names.
    """
    inside = (values >= 0) & (values <= 1 + ROUNDING)  # NaN fails both comparisons
    sums = values.sum(1)
    rows = np.flatnonzero(~inside.all(1) | (np.abs(sums - 1) > SUM_TOLERANCE))
    if not len(rows):
        return None
    row = int(rows[0])
    if inside[row].all():
        return row, f"the probabilities sum to {sums[row]:.6g}, not 1; give the softmax over the classes."
    column = int(inside[row].argmin())
    return row, f"{names[column]} is {values[row, column]:g}; a probability lies between 0 and 1."


def _header(path: Path, cells: list[str]) -> list[str]:
    header = [name.strip() for name in cells]
    if "file" not in header:
        raise DataError(
            f"{path} has no column 'file' in its first row ({', '.join(header)[:200] or 'empty'}); "
            "give a comma-separated predictions file."
        )
    repeated = next((name for name in header if header.count(name) > 1), None)
    if repeated is not None:
        raise DataError(f"{path} has the column {repeated!r} twice; remove one.")
    return header


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


class _Rows:
    """Some rows of the file as text, by column.

    Args:
        path: The file, for messages.
        header: Names of the columns.
        numbered: Rows with their number in the file; an empty one is a blank line, usually the last.
    """

    def __init__(self, path: Path, header: list[str], numbered: list[tuple[int, list[str]]]) -> None:
        self._path = path
        self.numbers = [number for number, row in numbered if row]
        rows = [row for _, row in numbered if row]
        for i, row in enumerate(rows):
            if len(row) != len(header):
                raise DataError(
                    f"{self.where(i)} has {len(row)} cells under {len(header)} column names; correct the row."
                )
        self._columns = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {}

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, column: str) -> Sequence[str]:
        """The cells of a column, which are empty where the file has no such column."""
        return self._columns[column] if column in self._columns else [""] * len(self)

    def __contains__(self, column: str) -> bool:
        return column in self._columns

    def where(self, row: int) -> str:
        return f"Row {self.numbers[row]} of {self._path}"


class _Block(NamedTuple):
    """What some rows of the file say; the target is -1 where it is empty."""

    numbers: list[int]
    files: Sequence[str]
    probabilities: NDArray[np.float32]
    errors: list[str | None]
    ood: NDArray[np.float32]
    abstain: NDArray[np.bool_]
    targets: NDArray[np.int64]
    groups: list[str | None]
    in_set: NDArray[np.bool_] | None


def _parse(rows: _Rows, classes: list[str], order: list[int], schema: LabelSchema) -> _Block:
    errors = [words or None for words in rows["error"]]
    readable = [i for i, error in enumerate(errors) if error is None]
    probabilities = np.full((len(rows), len(schema)), np.nan, np.float32)
    probabilities[readable] = _probabilities(rows, classes, readable)[:, order]
    for i, error in enumerate(errors):
        if error is not None and any(rows[name][i] for name in classes):
            raise DataError(f"{rows.where(i)} has both probabilities and an error; leave one of them empty.")
    _check_labels(rows, probabilities, schema)
    ood = _numbers(rows, "ood", [i for i, text in enumerate(rows["ood"]) if text])
    return _Block(
        rows.numbers,
        rows["file"],
        probabilities,
        errors,
        ood.astype(np.float32),
        _flags(rows, "abstain", [error is not None for error in errors]),
        _labels(rows, "target", schema),
        [group or None for group in rows["group"]],
        _sets(rows, schema),
    )


def _join(path: Path, blocks: list[_Block], schema: LabelSchema) -> Table:
    targets = np.concatenate([block.targets for block in blocks])
    groups = [group for block in blocks for group in block.groups]
    if (targets >= 0).any() and (targets < 0).any():
        number = [number for block in blocks for number in block.numbers][int((targets < 0).argmax())]
        raise DataError(f"Row {number} of {path}, column 'target': It is empty; fill it in every row.")
    return Table(
        files=[file for block in blocks for file in block.files],
        schema=schema,
        probabilities=np.concatenate([block.probabilities for block in blocks]),
        errors=[error for block in blocks for error in block.errors],
        ood=np.concatenate([block.ood for block in blocks]),
        abstain=np.concatenate([block.abstain for block in blocks]),
        targets=targets if (targets >= 0).any() else None,
        groups=groups if any(groups) else None,
        in_set=np.concatenate(sets) if len(sets := [b.in_set for b in blocks if b.in_set is not None]) else None,
    )


def _probabilities(rows: _Rows, classes: list[str], readable: list[int]) -> NDArray[np.float64]:
    """The class columns of the readable rows."""
    columns = [rows[name] for name in classes]
    for i in readable:
        if not any(column[i] for column in columns):
            raise DataError(f"{rows.where(i)} has no probabilities; give them, or say in a column 'error' why not.")
    values = np.stack([_numbers(rows, name, readable)[readable] for name in classes], axis=1)
    if (improper := first_improper(values, classes)) is not None:
        raise DataError(f"{rows.where(readable[improper[0]])}: {improper[1]}")
    return values


def _check_labels(rows: _Rows, probabilities: NDArray[np.float32], schema: LabelSchema) -> None:
    """A label beside the probabilities must be their maximum; where it is not, it is mostly the target."""
    labels = _labels(rows, "label", schema)
    stated = np.take_along_axis(probabilities, np.maximum(labels, 0)[:, None], 1)[:, 0]
    for i in np.flatnonzero((labels >= 0) & (stated < probabilities.max(1, initial=0)))[:1]:
        raise DataError(
            f"{rows.where(i)}: the label is {rows['label'][i]!r}, but the highest probability is that of "
            f"{schema.names[int(probabilities[i].argmax())]!r}; the true class belongs in the column 'target'."
        )


def _labels(rows: _Rows, column: str, schema: LabelSchema) -> NDArray[np.int64]:
    """The labels of a column of class names, -1 where it is empty."""
    found = {name: schema.find(name) for name in set(rows[column])} | {"": -1}
    for i, name in enumerate(rows[column]):
        if found[name] is None:
            raise DataError(f"{rows.where(i)}, column {column!r}: {unknown_name('class', name, schema.names)}")
    return np.array([found[name] for name in rows[column]], np.int64)


def _sets(rows: _Rows, schema: LabelSchema) -> NDArray[np.bool_] | None:
    """The prediction sets, N×C; None where the file has none."""
    if "set" not in rows:
        return None
    flags = np.zeros((len(rows), len(schema)), np.bool_)
    for i, text in enumerate(rows["set"]):
        for name in filter(None, text.split(SET_SEPARATOR)):
            label = schema.find(name)
            if label is None:
                raise DataError(f"{rows.where(i)}, column 'set': {unknown_name('class', name, schema.names)}")
            flags[i, label] = True
    return flags


def _numbers(rows: _Rows, column: str, wanted: list[int]) -> NDArray[np.float64]:
    """The numbers of a column in the wanted rows, NaN elsewhere."""
    cells, values = rows[column], np.full(len(rows), np.nan)
    i = -1
    try:
        for i in wanted:
            values[i] = float(cells[i])
    except ValueError:
        raise DataError(f"{rows.where(i)}, column {column!r}: {cells[i]!r} is not a number.") from None
    return values


def _flags(rows: _Rows, column: str, default: list[bool]) -> NDArray[np.bool_]:
    """The flags of a column, or the default where it is empty."""
    words = {"true": True, "1": True, "false": False, "0": False}
    flags = [words.get(text.lower()) if text else default[i] for i, text in enumerate(rows[column])]
    if None in flags:
        i = flags.index(None)
        raise DataError(f"{rows.where(i)}, column {column!r}: {rows[column][i]!r} is neither true nor false.")
    return np.array(flags, np.bool_)
