"""Compare the tables of speed with the goals.

    python benchmarks/speed/goals.py

Prints each goal of goals.toml with what was measured. A goal whose table was never written is not measured yet; one
whose table lacks the row or the column is an error.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("goals.toml")
RESULTS = Path(__file__).parents[1] / "results"
TRIES = 2
"""Things that are to be tried before a miss is accepted."""

NOT_TRIED = "not yet tried"


class Verdict(NamedTuple):
    """A goal and what was measured; `value` is None where nothing was."""

    what: str
    table: str
    goal: str
    best: str
    value: float | None
    unit: str
    margin: float
    """How far beyond the goal: 2 is twice as good, 0.5 half; NaN where nothing was measured."""

    of_limit: float | None
    """Share of the rate of what has to be done in any case, where that was measured."""

    tried: list[str]

    @property
    def status(self) -> str:
        """Met, missed, or not measured yet."""
        return "not measured yet" if self.value is None else "met" if self.margin >= 1 else "missed"

    @property
    def goal_of_limit(self) -> float | None:
        """Share of that rate which the goal would take."""
        return None if self.of_limit is None else self.of_limit / self.margin

    @property
    def measured(self) -> str:
        """The figure with its unit."""
        return "" if self.value is None else in_words(self.value, self.unit)


def in_words(value: float, unit: str) -> str:
    """Three digits or all of a whole number, and the unit."""
    number = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    return number + unit if unit == "×" else f"{number} {unit}"


def find_row(results: Path, table: str, where: Mapping[str, str]) -> dict[str, str]:
    """The one row of a table that has these texts in these columns.

    Raises:
        ValueError: No such column, no such row or several.
        FileNotFoundError: No such table.
    """
    with (results / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = [row for row in rows if all(_cell(row, table, column) == text for column, text in where.items())]
    if len(found) != 1:
        raise ValueError(f"{table}.csv has {len(found)} rows where {dict(where)}, but must have one.")
    return found[0]


def find_number(results: Path, table: str, where: Mapping[str, str], column: str) -> float:
    """A number of a table.

    Raises:
        ValueError: No such row or column, or it holds no number.
        FileNotFoundError: No such table.
    """
    text = _cell(find_row(results, table, where), table, column)
    try:
        return float(text.replace(",", ""))
    except ValueError:
        raise ValueError(f"{table}.csv holds {text!r} as {column} where {dict(where)}, which is no number.") from None


def _cell(row: Mapping[str, str], table: str, column: str) -> str:
    if column not in row:
        raise ValueError(f"{table}.csv has no column {column}.")
    return row[column]


def judge(goal: Mapping[str, Any], results: Path = RESULTS) -> Verdict:
    """What became of a goal.

    Raises:
        ValueError: Goal and table disagree.
    """
    table, unit = goal["table"], goal["unit"]
    wanted = goal.get("at_least", goal.get("at_most"))
    if wanted is None or ("at_least" in goal) == ("at_most" in goal):
        raise ValueError(f"The goal {goal['what']!r} must say at_least or at_most.")
    value, of_limit, tried = None, None, list[str]()
    margin = float("nan")
    if (results / f"{table}.csv").is_file():
        value = find_number(results, table, goal["where"], goal["column"])
        if beside := goal.get("beside"):
            value /= find_number(results, table, beside, goal["column"]) or float("nan")
        margin = value / wanted if "at_least" in goal else wanted / max(value, 1e-9)
        if limit := goal.get("limit"):
            rate = find_number(results, table, goal["where"], "items_per_second")
            of_limit = rate / find_number(results, limit.get("table", table), limit["where"], "items_per_second")
        tried = [_attempt(attempt, goal, results) for attempt in goal.get("tried", ())]
        tried += [NOT_TRIED] * (TRIES - len(tried))
    sign = "≥" if "at_least" in goal else "≤"
    return Verdict(
        goal["what"], table, f"{sign} {in_words(wanted, unit)}", goal["best"], value, unit, margin, of_limit, tried
    )


def _attempt(attempt: Mapping[str, Any], goal: Mapping[str, Any], results: Path) -> str:
    """What was tried, with its figure where a row shows one."""
    if "where" not in attempt:
        return str(attempt["text"])
    value = find_number(results, goal["table"], attempt["where"], goal["column"])
    return f"{attempt['text']}: {in_words(value, goal['unit'])}"


def judge_all(results: Path = RESULTS, file: Path = FILE) -> list[Verdict]:
    """What became of all goals."""
    return [judge(goal, results) for goal in tomllib.loads(file.read_text(encoding="utf-8"))["goal"]]


def main() -> None:
    """Print them."""
    for verdict in judge_all():
        print(f"{verdict.status:17} {verdict.goal:>12}  {verdict.measured:>10}  {verdict.what}")


if __name__ == "__main__":
    main()
