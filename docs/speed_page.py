"""Fills the page of speed: goals with what became of them, misses with what was tried, growth, and scale on paper.

Everything comes from benchmarks/speed/goals.toml and scale.toml and from the tables in benchmarks/results. Tables that
were never written are named with the command that writes them.
"""

from __future__ import annotations

import csv
import runpy
import tomllib
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
GOALS = runpy.run_path(str(ROOT / "benchmarks" / "speed" / "goals.py"))
TABLES = runpy.run_path(str(ROOT / "docs" / "result_tables.py"))
SCALE = ROOT / "benchmarks" / "speed" / "scale.toml"

JOBS = {
    "core": ((10**6, 1), (10**6, 64), (10**9, 64), (10**9, 4096)),
    "GPU": ((10**6, 1), (10**6, 8), (10**9, 8), (10**9, 256)),
}
"""Images and devices of the columns."""

PAIRED = ("SMOTE", "SupCon", "audit")
"""What compares each image with others; the rest takes each image once."""

WORDS = {10**6: "a million", 10**9: "a billion"}
SHOWN = {
    "Normalising, images a second": ("speed_normalise", "what, items_per_second, lowest, highest, ratio, machine"),
    "Figures of merit, images a second": (
        "speed_metrics",
        "what, items_per_second, ratio, largest_difference, machine",
    ),
    "Intervals of few images, resamples a second": (
        "speed_bootstrap_small",
        "images, what, items_per_second, ratio, machine",
    ),
    "Inference, images a second": (
        "speed_inference",
        "model, image_size, batch, what, items_per_second, lowest, highest, ratio, machine",
    ),
    "Imports, milliseconds": ("speed_imports", "what, milliseconds, lowest, highest, over_bare, machine"),
}
"""Tables that the page of results does not have."""

UNITS = ((365.25 * 86400, "years"), (86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


def fill(text: str) -> str:
    """The text with each part in its place.

    Raises:
        ValueError: A goal or a rate names a row or a column that its table does not have.
    """
    parts = {
        "goals": goals,
        "missed": missed,
        "scale": scale,
        "growth": growth,
        "extrapolated": extrapolated,
        "tables": tables,
    }
    for name, part in parts.items():
        text = text.replace(f"{{{{ {name} }}}}", part())
    return text


def markdown(rows: Iterable[Iterable[str]]) -> str:
    """A table; the first row is its head."""
    head, *body = (list(row) for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def goals() -> str:
    """One row a goal."""
    rows = [["question", "goal", "measured", "of the limit", "prototype", "", "from"]]
    for verdict in GOALS["judge_all"](RESULTS):
        share = "" if verdict.of_limit is None else f"{verdict.of_limit:.0%}"
        status = f"**{verdict.status}**" if verdict.status == "missed" else verdict.status
        rows.append(
            [verdict.what, verdict.goal, verdict.measured, share, verdict.best, status, f"`{verdict.table}.csv`"]
        )
    return markdown(rows)


def missed() -> str:
    """Each miss with its distance from the limit and what was tried."""
    lines = []
    for verdict in GOALS["judge_all"](RESULTS):
        if verdict.status == "missed":
            lines += [f"**{verdict.what}**: {verdict.measured}, goal {verdict.goal}.{beside_limit(verdict)}", ""]
            lines += [*(f"{number}. {text}" for number, text in enumerate(verdict.tried, 1)), ""]
    return "\n".join(lines).rstrip() or "None."


def beside_limit(verdict: Any) -> str:
    """How near goal and measurement are to the limit."""
    if verdict.of_limit is None:
        return ""
    return f" The goal would take {verdict.goal_of_limit:.0%} of the limit, this takes {verdict.of_limit:.0%}."


def scale() -> str:
    """How long a million and a billion images take, for each measured rate."""
    rates = tomllib.loads(SCALE.read_text(encoding="utf-8"))["rate"]
    parts = []
    for device, of_device in groupby(sorted(rates, key=lambda rate: rate["device"] != "core"), lambda r: r["device"]):
        there, absent = list[dict[str, Any]](), set[str]()
        for rate in of_device:
            if (RESULTS / f"{rate['table']}.csv").is_file():
                there.append(rate)
            else:
                absent.add(rate["table"])
        if there:
            heads = [f"{WORDS[images]}, {count(devices, device)}" for images, devices in JOBS[device]]
            rows = [["work", f"images a second on one {device}", *heads]]
            for rate in there:
                speed = GOALS["find_number"](RESULTS, rate["table"], rate["where"], rate["column"])
                times = [duration(images / speed / devices) for images, devices in JOBS[device]]
                rows.append(
                    [
                        f"{rate['work']} (`{rate['table']}.csv`)",
                        f"{speed:,.3g}" if speed < 100 else f"{speed:,.0f}",
                        *times,
                    ]
                )
            parts.append(markdown(rows))
        if absent:
            parts.append(
                f"Not measured yet, for one {device}: {', '.join(f'`{name}.csv`' for name in sorted(absent))}."
            )
    return "\n\n".join(parts)


def tables() -> str:
    """The measured tables that the page of results does not have."""
    there = {title: table for title, table in SHOWN.items() if (RESULTS / f"{table[0]}.csv").is_file()}
    parts = [f"### {title}\n\n{{{{ {name}; columns: {columns} }}}}" for title, (name, columns) in there.items()]
    filled: str = TABLES["fill"]("\n\n".join(parts))
    return filled or "None yet."


def growth() -> str:
    """The exponents and the picture of growth."""
    if not (rows := growth_rows()):
        return "Not measured yet: `python -m benchmarks.speed growth`."
    table = [["what", "of", "n", "seconds", "extra MiB", "exponent of time", "of memory"]]
    for _, of_one in groupby(rows, lambda row: row["what"]):
        first, *_, last = of_one
        exponents = [
            f"{last[f'{of}_exponent']} ± {last[f'{of}_exponent_error']}" if last[f"{of}_exponent"] else "–"
            for of in ("time", "memory")
        ]
        spans = [f"{first[key]} – {last[key]}" for key in ("n", "seconds", "extra_mib")]
        table.append([last["what"], last["of"], *spans, *exponents])
    return f"{markdown(table)}\n\n![Time and memory against the number of images](assets/speed-growth.png)"


def extrapolated() -> str:
    """What compares images with each other, carried on by the square of their number."""
    if not (rows := growth_rows()):
        return "Not measured yet: `python -m benchmarks.speed growth`."
    table = [["what", "of", "measured at", *(f"{words}, one core" for words in WORDS.values())]]
    for what, of_one in groupby(rows, lambda row: row["what"]):
        *_, last = of_one
        if what in PAIRED:
            n, seconds = int(last["n"]), float(last["seconds"])
            times = [duration(seconds * (images / n) ** 2) for images in WORDS]
            table.append([what, last["of"], f"{n:,} in {duration(seconds)}", *times])
    return markdown(table)


def growth_rows() -> list[dict[str, str]]:
    """The table of growth; empty where it was never written."""
    path = RESULTS / "speed_growth.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def count(devices: int, device: str) -> str:
    """A number of devices in words."""
    return f"one {device}" if devices == 1 else f"{devices:,} {device}s"


def duration(seconds: float) -> str:
    """A time in the largest unit of which it has two."""
    size, unit = next((pair for pair in UNITS if seconds >= 2 * pair[0]), UNITS[-1])
    number = seconds / size
    return f"{number:,.0f} {unit}" if number >= 10 else f"{number:.2g} {unit}"
