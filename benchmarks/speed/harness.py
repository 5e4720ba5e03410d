"""Compare implementations side by side: interleaved rounds in one process, medians, ratios, one CSV a question."""

from __future__ import annotations

import csv
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from cellnet.files import atomic_path

RESULTS = Path(__file__).parents[1] / "results"


def interleave(work: Mapping[str, Callable[[], int]], rounds: int = 7) -> dict[str, list[float]]:
    """Items a second of each piece of work, once a round; the machine's moods fall on all of them alike.

    Args:
        work: Name -> function that does the work and returns how many items it did.
        rounds: Number of rounds, after one that warms up and does not count.
    """
    rates: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(rounds + 1):
        for name, function in work.items():
            start = time.perf_counter()
            items = function()
            if round_:
                rates[name].append(items / (time.perf_counter() - start))
    return rates


def rows(rates: Mapping[str, list[float]], reference: str, packages: tuple[str, ...]) -> list[dict[str, str]]:
    """One row a piece of work: median rate, its spread, and the median over rounds of the ratio to ``reference``."""
    table = []
    for name, values in rates.items():
        ratios = [a / b for a, b in zip(values, rates[reference], strict=True)]
        table.append(
            {
                "what": name,
                "items_per_second": f"{statistics.median(values):.0f}",
                "lowest": f"{min(values):.0f}",
                "highest": f"{max(values):.0f}",
                "ratio": f"{statistics.median(ratios):.2f}",
                "machine": machine(),
                "versions": ", ".join(f"{p} {version(p)}" for p in packages),
            }
        )
    return table


def machine(cores: int = 1) -> str:
    """The processor in words."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return f"{name}, {cores} core{'s' if cores > 1 else ''}"


def write(name: str, table: list[dict[str, str]]) -> Path:
    """Write ``benchmarks/results/NAME.csv`` and print it."""
    path = RESULTS / f"{name}.csv"
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    for row in table:
        print("  ".join(f"{key}={value}" for key, value in row.items() if key not in ("machine", "versions")))
    return path
