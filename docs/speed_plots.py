"""Draws the pictures of the page of speed: how far each measurement is from its goal, how time and memory grow."""

from __future__ import annotations

import csv
import io
import runpy
import textwrap
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
GOALS = runpy.run_path(str(ROOT / "benchmarks" / "speed" / "goals.py"))
MET, MISSED = "#2a7f9e", "#d1603d"
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def draw() -> dict[str, bytes]:
    """Name of each picture and its PNG; growth only where it was measured."""
    pictures = {"speed-goals": goals()}
    if (RESULTS / "speed_growth.csv").is_file():
        pictures["speed-growth"] = growth()
    return pictures


def goals() -> bytes:
    """A bar for each measured goal, from the goal to what was measured."""
    known = [verdict for verdict in GOALS["judge_all"](RESULTS) if verdict.value is not None][::-1]
    figure = Figure(figsize=(9, 1 + 0.46 * len(known)), layout="constrained")
    axes = figure.subplots()
    names = ["\n".join(textwrap.wrap(verdict.what.replace("`", ""), 52)) for verdict in known]
    margins = [verdict.margin for verdict in known]
    axes.barh(names, [m - 1 for m in margins], left=1, color=[MET if m >= 1 else MISSED for m in margins])
    for place, (verdict, margin) in enumerate(zip(known, margins, strict=True)):
        words = f"{verdict.measured}  (goal {verdict.goal})"
        axes.text(1.06 * max(1, margin), place, words, va="center", fontsize=8)
    axes.axvline(1, color="0.3", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(0.8 * min(0.5, *margins), 3 * max(2, *margins))
    axes.set_ylim(-0.7, len(known) - 0.3)
    axes.set_xticks([tick for tick in TICKS if axes.get_xlim()[0] < tick < axes.get_xlim()[1]])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("times as good as the goal")
    axes.tick_params(axis="y", labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return png(figure)


def growth() -> bytes:
    """Time and memory against the number of images, both axes logarithmic."""
    with (RESULTS / "speed_growth.csv").open(newline="", encoding="utf-8") as file:
        subjects = {name: list(rows) for name, rows in groupby(csv.DictReader(file), lambda row: row["what"])}
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, column, of, unit in zip(panels, ("seconds", "extra_mib"), ("time", "memory"), ("s", "MiB"), strict=True):
        for name, rows in subjects.items():
            there = [row for row in rows if row[column] and float(row[column]) > 0]
            exponent = rows[0][f"{of}_exponent"]
            axes.plot(
                [int(row["n"]) for row in there],
                [float(row[column]) for row in there],
                marker="o",
                markersize=4,
                label=f"{name}, exponent {exponent}" if exponent else name,
            )
        axes.set(xscale="log", yscale="log", xlabel="n", ylabel=f"{of}, {unit}")
        for formatted in (axes.yaxis.set_major_formatter, axes.xaxis.set_major_formatter):
            formatted(StrMethodFormatter("{x:,g}"))
        for unlabelled in (axes.xaxis.set_minor_formatter, axes.yaxis.set_minor_formatter):
            unlabelled(NullFormatter())
        axes.grid(color="0.9", which="both")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    return png(figure)


def png(figure: Figure) -> bytes:
    """The picture, on white."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=130, facecolor="white")
    return file.getvalue()
