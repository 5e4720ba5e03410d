"""What a model said about each image: one row an input, in input order; as CSV, JSON or a data frame."""

from __future__ import annotations

import csv
import json
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellnet.datasets.wbcatt import describe_attributes
from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.files import atomic_path, write_text
from cellnet.inference.table import (
    AFTER_CLASSES,
    BEFORE_CLASSES,
    RESERVED,
    SET_SEPARATOR,
    first_improper,
    is_known,
    read_table,
)
from cellnet.labels import LabelSchema

if TYPE_CHECKING:
    import pandas

    from cellnet.inference.explanation import Explanation


@dataclass(frozen=True, eq=False)
class Prediction:
    """One row of `Predictions`.

    Args:
        file: File name, or the name given to an image that came from memory.
        schema: The classes, in the order of ``probabilities``.
        probabilities: Float32, one entry a class; NaN for an unreadable image.
        ood: Energy score, higher = stranger; NaN where it was not computed.
        abstain: True where the model should not be trusted with this image.
        error: Why the image could not be read, else None.
        target: Label where it is known, else None.
        group: Donor, slide or photograph where it is known, else None.
        set: Names of the classes that cannot be excluded, empty for an unreadable image; None where the model has no
            prediction sets.
        attributes: Attribute of the cell -> its most probable word and that probability; empty where the model knows
            none.
        explainer: Explains this image, see `explain`; None where it is not at hand.
    """

    file: str
    schema: LabelSchema = field(repr=False)
    probabilities: NDArray[np.float32] = field(repr=False)
    ood: float
    abstain: bool
    error: str | None = None
    target: int | None = None
    group: str | None = None
    set: tuple[str, ...] | None = None
    attributes: Mapping[str, tuple[str, float]] = field(default_factory=dict, repr=False)
    explainer: Callable[..., Explanation] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """File, the two most probable classes, and what is to be said of them."""
        if self.error is not None:
            return f"{self.file}: {self.error}"
        classes = ", ".join(f"{name} {100 * value:.1f} %" for name, value in self.top(2))
        return f"{self.file}: {classes}{', abstained' if self.abstain else ''}"

    @property
    def description(self) -> str:
        """What the cell looks like, in words; empty where the model knows none, see `cellnet.models.probes`."""
        return describe_attributes({name: word for name, (word, _) in self.attributes.items()})

    def explain(self, **options: Any) -> Explanation:
        """Which pixels spoke for the class: `cellnet.inference.explain` of this image.

        Args:
            **options: Of `cellnet.inference.explain`: ``label``, ``method``.

        Raises:
            DataError: The image is not at hand, because the predictions were read from a file or made of a stream.
        """
        if self.explainer is None:
            raise DataError(
                f"The image of {self.file!r} is not at hand any more; call model.explain(image) with the image itself."
            )
        return self.explainer(**options)

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """The ``k`` most probable classes with their probabilities, best first; empty where unreadable."""
        if self.error is not None:
            return []
        # Stable: of two equal classes the first in the schema wins, as in argmax.
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.schema.names[i], float(self.probabilities[i])) for i in order]

    @property
    def label(self) -> str | None:
        """Most probable class."""
        return next((name for name, _ in self.top(1)), None)

    @property
    def probability(self) -> float:
        """Probability of `label`, 0 to 1; NaN for an unreadable image."""
        return next((value for _, value in self.top(1)), float("nan"))

    @property
    def second(self) -> str | None:
        """Second most probable class; None where there is only one class."""
        return next((name for name, _ in self.top(2)[1:]), None)

    @property
    def margin(self) -> float:
        """Probability of `label` less that of `second`, 0 to 1."""
        return self.probability - next((value for _, value in self.top(2)[1:]), 0.0)


class Predictions(Sequence[Prediction]):
    """One row an input, in input order; an unreadable input keeps its row.

    Args:
        files: File names, N of them.
        schema: The classes, C of them.
        probabilities: N×C, 0 to 1, columns in schema order; a row of NaN for an unreadable input.
        errors: Why an input could not be read, else None; default: no errors.
        ood: N energy scores, higher = stranger; default: not computed (NaN).
        abstain: N flags, True where the model should not be trusted; default: the unreadable rows.
        features: N×D features of the backbone; default: None.
        targets: N labels where they are known; default: None.
        groups: N values, equal for images of one donor, slide or photograph, and None where that is not known; they are
            kept as text. Default: None.
        logits: N×C; default: the logarithm of ``probabilities``, which gives the same probabilities again.
        in_set: N×C flags, True where the class cannot be excluded, see `PredictionSets`; default: None.
        attributes: N times the words for a cell, see `Prediction`; default: none.
        explainer: Explains the image of a row, see `Prediction.explain`; default: none is at hand.

    Raises:
        DataError: The arguments differ in length, ``probabilities`` has not one column a class, a target is no label,
            or a row has numbers that are no probabilities with sum 1, or NaN and no error, or the reverse.

    Example:
        >>> schema = LabelSchema.from_names(["lymphocyte", "monocyte"])
        >>> preds = Predictions(["a.jpg", "b.jpg"], schema, [[0.9, 0.1], [0.25, 0.75]])
        >>> preds.labels, preds[1].label, preds[1].margin
        (['lymphocyte', 'monocyte'], 'monocyte', 0.5)
    """

    def __init__(
        self,
        files: Sequence[str],
        schema: LabelSchema,
        probabilities: ArrayLike,
        errors: Sequence[str | None] | None = None,
        ood: ArrayLike | None = None,
        abstain: ArrayLike | None = None,
        features: ArrayLike | None = None,
        targets: ArrayLike | None = None,
        groups: Sequence[object] | None = None,
        logits: ArrayLike | None = None,
        in_set: ArrayLike | None = None,
        attributes: Sequence[Mapping[str, tuple[str, float]]] | None = None,
        explainer: Callable[..., Explanation] | None = None,
    ) -> None:
        n = len(files)
        self.files = list(files)
        self.schema = schema
        self.probabilities: NDArray[np.float32] = np.asarray(probabilities, np.float32)
        self.errors: list[str | None] = [None] * n if errors is None else list(errors)
        self.ood: NDArray[np.float32] = np.asarray(np.full(n, np.nan) if ood is None else ood, np.float32)
        self.abstain: NDArray[np.bool_] = np.asarray(~self.readable if abstain is None else abstain, np.bool_)
        self.features: NDArray[np.float32] | None = None if features is None else np.asarray(features, np.float32)
        self.targets: NDArray[np.int64] | None = None if targets is None else np.asarray(targets, np.int64)
        self.groups: list[str | None] | None = (
            None if groups is None else [str(group) if is_known(group) else None for group in groups]
        )
        tiny = np.finfo(np.float32).tiny
        self.logits: NDArray[np.float32] = np.asarray(
            np.log(np.maximum(self.probabilities, tiny)) if logits is None else logits, np.float32
        )
        self.in_set: NDArray[np.bool_] | None = None if in_set is None else np.asarray(in_set, np.bool_)
        self.attributes = None if attributes is None else list(attributes)
        self._explainer = explainer
        self._check()

    def _check(self) -> None:
        n, c = len(self.files), len(self.schema)
        if n == 0:  # an empty array tells no number of columns
            self.probabilities, self.logits = self.probabilities.reshape(0, c), self.logits.reshape(0, c)
        for name in ("probabilities", "logits", "in_set"):
            table = getattr(self, name)
            if table is not None and table.shape != (n, c):
                raise DataError(
                    f"{name} has the shape {table.shape}, but there are {n} files and {c} classes; give an array of "
                    f"shape ({n}, {c})."
                )
        for name in ("errors", "ood", "abstain", "features", "targets", "groups", "attributes"):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise DataError(f"{name} has {len(column)} entries for {n} files; give one a file.")
        mixed = np.flatnonzero(np.isnan(self.probabilities).any(axis=1) == self.readable)
        if len(mixed):
            what = "no error and" if self.readable[mixed[0]] else "an error, but not"
            raise DataError(f"Row {mixed[0]} has {what} NaN probabilities; an unreadable input has both.")
        if self.targets is not None and (outside := self.targets[(self.targets < 0) | (self.targets >= c)]).size:
            raise DataError(f"A target is {outside[0]}, but the labels of {c} classes are 0 to {c - 1}; give these.")
        known = np.flatnonzero(self.readable)
        if (improper := first_improper(self.probabilities[known], self.schema.names)) is not None:
            raise DataError(f"Row {known[improper[0]]}: {improper[1]}")

    @property
    def readable(self) -> NDArray[np.bool_]:
        """N flags: False where the input could not be read."""
        return np.array([error is None for error in self.errors], np.bool_)

    @property
    def labels(self) -> list[str | None]:
        """Most probable class of each row; None for an unreadable input."""
        return [row.label for row in self]

    @property
    def sets(self) -> list[tuple[str, ...]] | None:
        """For each row the names of the classes that cannot be excluded; None where the model has no such sets."""
        if self.in_set is None:
            return None
        return [row.set or () for row in self]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Prediction:  # type: ignore[override]
        i = range(len(self))[operator.index(index)]
        return Prediction(
            file=self.files[i],
            schema=self.schema,
            probabilities=self.probabilities[i],
            ood=float(self.ood[i]),
            abstain=bool(self.abstain[i]),
            error=self.errors[i],
            target=None if self.targets is None else int(self.targets[i]),
            group=None if self.groups is None else self.groups[i],
            set=None if self.in_set is None else tuple(self.schema.names[c] for c in np.flatnonzero(self.in_set[i])),
            attributes={} if self.attributes is None else self.attributes[i],
            explainer=None if self._explainer is None else partial(self._explainer, i),
        )

    def __iter__(self) -> Iterator[Prediction]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        unreadable = int((~self.readable).sum())
        return (
            f"Predictions({len(self)} images, {unreadable} unreadable, "
            f"{int(self.abstain.sum()) - unreadable} more abstained, schema {self.schema.name!r})"
        )

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write one row an input; numbers have nine digits, so that float32 comes back to the last bit.

        Columns: ``file``, ``target`` and ``group`` (where known), ``label``, ``probability``, ``second``, ``margin``,
        ``abstain``, ``ood``, ``set`` (classes that cannot be excluded, with ``|`` between them; where the model has
        prediction sets), one column a class, ``error``. Names of files stay as they are, so that they are found again;
        a spreadsheet may take one that begins with ``=``, ``+``, ``-`` or ``@`` for a formula.

        Raises:
            ConfigError: The file cannot be written.
            LabelError: A class has the name of another column, or ``|`` in its name.
        """
        columns = self._columns()
        # surrogateescape: on Linux a file name may be bytes that are not UTF-8; they come back as they were.
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
        ):
            # Not lineterminator="\n": a carriage return in a file name would then go unquoted.
            writer = csv.writer(stream)
            writer.writerow(columns)
            writer.writerows([_cell(row[name]) for name in columns] for row in self._rows())
        return Path(path)

    def to_dict(self) -> dict[str, Any]:
        """Schema and rows as plain JSON types; what is unknown or unreadable is None."""
        rows = []
        for row in self._rows():
            probabilities = {name: _finite(row.pop(name)) for name in self.schema.names}
            rows.append({name: _finite(value) for name, value in row.items()} | {"probabilities": probabilities})
        return {"schema": self.schema.to_dict(), "predictions": rows}

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_dict` as JSON.

        Raises:
            ConfigError: The file cannot be written.
            LabelError: A class has the name of another column.
        """
        return write_text(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    def to_pandas(self) -> pandas.DataFrame:
        """The columns of `to_csv` as a data frame.

        Raises:
            ConfigError: pandas is not installed.
            LabelError: A class has the name of another column.
        """
        try:
            import pandas
        except ImportError as error:
            raise ConfigError("to_pandas needs pandas, which is not installed: pip install pandas") from error
        return pandas.DataFrame(list(self._rows()), columns=self._columns())

    def _columns(self) -> list[str]:
        clash = sorted(RESERVED.intersection(self.schema.names))
        if clash:
            raise LabelError(f"The class {clash[0]!r} has the name of another column; rename the class.")
        parted = [name for name in self.schema.names if SET_SEPARATOR in name]
        if parted and self.in_set is not None:
            raise LabelError(
                f"The class {parted[0]!r} has a {SET_SEPARATOR!r} in its name, which parts the classes of a set; "
                "rename the class."
            )
        columns = {"target": self.targets, "group": self.groups, "set": self.in_set}
        absent = {name for name, column in columns.items() if column is None}
        before = [name for name in BEFORE_CLASSES if name not in absent]
        return [*before, *self.schema.names, *AFTER_CLASSES]

    def _rows(self) -> Iterator[dict[str, Any]]:
        columns = self._columns()
        for row in self:
            values: dict[str, Any] = dict(zip(self.schema.names, row.probabilities.tolist(), strict=True))
            values["target"] = None if row.target is None else self.schema.names[row.target]
            for name in ("file", "group", "label", "probability", "second", "margin", "abstain", "ood", "set", "error"):
                values[name] = getattr(row, name)
            yield {name: values[name] for name in columns}

    @classmethod
    def read_csv(cls, path: str | os.PathLike[str], schema: LabelSchema | None = None) -> Predictions:
        """Read a predictions file, whoever wrote it: ``file``, perhaps ``target`` and ``group``, one column a class.

        Args:
            path: A file that `to_csv` wrote, or a bare table of names and probabilities. Class columns may
                stand in any order and carry synonyms; targets are names or synonyms.
            schema: The classes; default: the class columns in the order of the file.

        Raises:
            DataError: No such file, or something in it that is not a prediction; the message names the row.
            LabelError: Two class columns that are the same but for case, spaces, ``-`` and ``_``.
        """
        return cls(**read_table(Path(path), schema))


def _cell(value: Any) -> str:
    """A value as CSV text; None and NaN are empty, names of classes stand one after another."""
    if value is None or value != value:  # NaN is the only value that differs from itself
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return SET_SEPARATOR.join(value)
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _finite(value: Any) -> Any:
    """A value for JSON, which has no NaN."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
