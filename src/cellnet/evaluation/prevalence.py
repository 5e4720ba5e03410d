"""What a call means where the classes are as frequent as stated: predictive values of all of them at once."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellnet.errors import ConfigError, DataError
from cellnet.evaluation.text import shorten
from cellnet.files import write_rows

if TYPE_CHECKING:
    from cellnet.evaluation.figures import PredictiveValues
    from cellnet.evaluation.report import Report
    from cellnet.labels import LabelSchema

OTHER = "other"
"""All classes that are left out."""

SUM_TOLERANCE = 0.005
"""What rounding may make of a sum of shares."""


def read_prevalence(words: str, schema: LabelSchema) -> dict[str, float]:
    """The share of each class, from words or from a file.

    Args:
        words: ``"neutrophil=0.6,lymphocyte=0.3,other=0.1"``, where ``other`` stands for all classes that are left out;
            or the name of a CSV file with the columns ``class`` and ``share``. With a column ``cells``, as
            `cellnet differential` writes it, the shares are those of all cells that were counted, white or not.
        schema: The classes.

    Returns:
        Class name -> share, 0 to 1, of the classes that were named.

    Raises:
        UnknownNameError: An unknown class; the message shows the nearest names.
        ConfigError: Shares that are none, or do not sum to 1, or a class twice.
        DataError: The file cannot be read, or has other columns.

    Example:
        >>> from cellnet.labels import LabelSchema
        >>> read_prevalence("blast=0.01, other=0.99", LabelSchema.from_names(["lymphocyte", "blast"]))
        {'blast': 0.01}
    """
    pairs = _from_words(words) if "=" in words and not _is_file(words) else _from_file(Path(words))
    shares: dict[str, float] = {}
    total = 0.0
    for name, text in pairs:
        rest = name == OTHER and schema.find(name) is None
        known = OTHER if rest else schema.names[schema.index(name)]
        try:
            share = float(text)
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            raise ConfigError(f"The prevalence of {known} is {text!r}, but it is a share: give a number from 0 to 1.")
        if known in shares:
            raise ConfigError(f"The prevalence of {known} is given twice; give each class once.")
        shares[known] = share
        total += share
    if abs(total - 1) > SUM_TOLERANCE:
        raise ConfigError(
            f"The prevalences sum to {total:g}, not 1; correct them, or give those of all classes left out together, "
            f"as {OTHER}=SHARE."
        )
    return {name: share for name, share in shares.items() if name in schema.names}


def _is_file(words: str) -> bool:
    try:
        return Path(words).is_file()
    except OSError:  # too long for a name
        return False


def _from_words(words: str) -> Iterable[tuple[str, str]]:
    for word in words.split(","):
        name, equals, share = word.partition("=")
        if not equals:
            raise ConfigError(f"{word.strip()!r} is not CLASS=SHARE; type e.g. neutrophil=0.6,{OTHER}=0.4.")
        yield name.strip(), share.strip()


def _from_file(path: Path) -> Iterable[tuple[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(
            f"Cannot read {path}: {error.strerror}; give a CSV file, or words: neutrophil=0.6,{OTHER}=0.4."
        ) from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV table ({error}); give one with the columns class and share.") from error
    if not rows or not {"class", "share"} <= rows[0].keys():
        raise DataError(f"{path} needs the columns class and share, and a row for each class.")
    names = [(row["class"] or "").strip() for row in rows]
    if "cells" not in rows[0]:
        return [(name, (row["share"] or "").strip()) for name, row in zip(names, rows, strict=True)]
    # A differential: its shares are of the white cells only.
    try:
        cells = [int(row["cells"]) for row in rows]
    except (TypeError, ValueError):
        cells = [-1]
    if min(cells) < 0 or not any(cells):
        raise DataError(f"{path} needs a number of cells in each row of its column cells; correct it, or leave it out.")
    return [(name, str(n / sum(cells))) for name, n in zip(names, cells, strict=True)]


@dataclass(frozen=True)
class PredictiveTable:
    """The predictive values of each class at its stated prevalence; made by `PredictiveTable.of`.

    Args:
        prevalence: Class name -> its share.
        values: Class name -> its predictive values there.
    """

    prevalence: Mapping[str, float]
    values: Mapping[str, PredictiveValues]

    @classmethod
    def of(cls, report: Report, prevalence: Mapping[str, float]) -> PredictiveTable:
        """The table of a report.

        Sensitivity and specificity are those of the report's images; the specificity of a class holds at their mix of
        the other classes.

        Raises:
            UnknownNameError: No such class.
            ConfigError: A share that is none.

        Example:
            >>> from cellnet.evaluation import Report
            >>> from cellnet.inference import Predictions
            >>> from cellnet.labels import LabelSchema
            >>> schema = LabelSchema.from_names(["lymphocyte", "blast"])
            >>> table, targets = [[0.9, 0.1]] * 95 + [[0.2, 0.8]] * 105, [0] * 95 + [1] * 105
            >>> files = [f"{i}.jpg" for i in range(200)]
            >>> report = Report.from_predictions(Predictions(files, schema, table, targets=targets))
            >>> PredictiveTable.of(report, {"blast": 0.01}).to_dict()["blast"]["ppv"]["value"]
            1.0
        """
        return cls(dict(prevalence), report.predictive_values(prevalence))

    def __str__(self) -> str:
        width = max(len(name) for name in ("class", *map(shorten, self.values)))
        lines = [f"{'class':<{width}}  prevalence   {'PPV':<24}NPV"]
        for name, found in self.values.items():
            ppv, npv = (format(found[key], ".1%") for key in ("ppv", "npv"))
            share = f"{100 * self.prevalence[name]:.1f} %"
            lines.append(f"{shorten(name):<{width}}  {share:>10}   {ppv:<24}{npv}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Class -> prevalence and both values with their intervals; None for what does not exist."""
        return {
            name: {"prevalence": self.prevalence[name]}
            | {key: {end: _finite(x) for end, x in found[key].to_dict().items()} for key in ("ppv", "npv")}
            for name, found in self.values.items()
        }

    def to_csv(self, path: str | PathLike[str]) -> Path:
        """Write one row a class; what does not exist is empty.

        Raises:
            ConfigError: The file cannot be written.
        """
        rows = [
            {"class": name, "prevalence": self.prevalence[name]}
            | {
                f"{key}{end}": _finite(getattr(found[key], end.removeprefix("_") or "value"))
                for key in ("ppv", "npv")
                for end in ("", "_low", "_high")
            }
            for name, found in self.values.items()
        ]
        return write_rows(Path(path), rows)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
