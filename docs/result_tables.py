"""Puts measured results into a page: ``{{ NAME }}`` becomes the table of benchmarks/results/NAME.csv.

``{{ FOLDER/NAME }}`` is benchmarks/FOLDER/results/NAME.csv. ``{{ NAME; columns: a, b; where: c = text }}`` shows some
columns, and the rows that have the text in a column. With ``; otherwise: words`` a table that nobody has filled yet,
for want of the file or of such rows, is these words.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PLACE = re.compile(
    r"\{\{ (?:(\w+)/)?(\w+)(?:; columns: ([^;}]+))?(?:; where: ([^;}]+))?(?:; otherwise: ([^;}]+))? \}\}", re.DOTALL
)


def fill(text: str) -> str:
    """The text with every table in its place.

    Raises:
        ValueError: No such file or column, or no row that has the text.
    """
    return PLACE.sub(lambda place: _table(*place.groups()), text)


def _table(folder: str | None, name: str, columns: str | None, where: str | None, otherwise: str | None) -> str:
    path = BENCHMARKS / (folder or "") / "results" / f"{name}.csv"
    if not path.is_file():
        if otherwise is not None:
            return otherwise
        raise ValueError(f"There is no {path.name} in {path.parent.relative_to(BENCHMARKS.parent)}.")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    shown = [column.strip() for column in columns.split(",")] if columns else list(rows[0])
    wanted = dict(re.split(r"\s*=\s*", pair.strip(), maxsplit=1) for pair in where.split(",")) if where else {}
    if unknown := ({*shown} | wanted.keys()) - rows[0].keys():
        raise ValueError(f"{path.name} has no column {', '.join(sorted(unknown))}.")
    rows = [row for row in rows if all(row[column] == text for column, text in wanted.items())]
    if not rows:
        if otherwise is not None:
            return otherwise
        raise ValueError(f"{path.name} has no row where {where}.")
    heads = [column.replace("_", " ") for column in shown] if columns else shown
    lines = [heads, ["---"] * len(shown), *([row[column] for column in shown] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).removesuffix("\n")
