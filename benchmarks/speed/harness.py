"""Compare implementations side by side: interleaved rounds, medians, ratios, memory, one CSV a question."""

from __future__ import annotations

import contextlib
import csv
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cellnet.files import write_rows

RESULTS = Path(__file__).parents[1] / "results"
"""Where tables are written; `results_in` changes it."""

PROCESS = Path("/proc/self")

KEPT_MEMORY = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592",
    "THP_MEM_ALLOC_ENABLE": "1",
}
"""Variables with which a process on Linux keeps memory for the next step, in huge pages; see docs/learn/train.md."""

KEEPS_MEMORY = platform.libc_ver()[0] == "glibc"
"""Whether they mean anything here."""

LIMIT = "products alone"
"""A network's convolutions and dense layers as matrix products of the same size, and nothing else."""

Work = Callable[[], int]
"""Does some items and returns how many."""

_made: list[Work] = []
"""In a process that `elsewhere` began: its work."""


def interleave(work: Mapping[str, Work], rounds: int = 7) -> dict[str, list[float]]:
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
                "items_per_second": figure(statistics.median(values)),
                "lowest": figure(min(values)),
                "highest": figure(max(values)),
                "ratio": f"{statistics.median(ratios):.2f}",
                "machine": machine(),
                "versions": versions(*packages),
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


def figure(value: float) -> str:
    """Three digits, or all digits of a whole number."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def versions(*packages: str) -> str:
    """The packages with their versions."""
    return ", ".join(f"{package} {version(package)}" for package in packages)


def extra_memory(work: Callable[[], Any]) -> float | None:
    """MiB that this process takes at its peak during the work, beyond what it has; None where only Linux could tell."""
    if not forget_peak():
        return None
    before = _status("VmRSS")
    kept = work()
    peak = peak_memory()
    del kept  # only now: a result is part of the peak
    return max(0.0, peak - before)


def forget_peak() -> bool:
    """Begin `peak_memory` anew; False where the system is not Linux, which alone can tell it."""
    if not (PROCESS / "clear_refs").exists():
        return False
    (PROCESS / "clear_refs").write_text("5")
    return True


def peak_memory() -> float:
    """The most MiB that this process held since `forget_peak`."""
    return _status("VmHWM")


def _status(key: str) -> float:
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def in_fresh_process(file: str, *words: object) -> str:
    """What a script prints that runs with these words in an interpreter of its own."""
    command = [sys.executable, file, *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


@contextlib.contextmanager
def elsewhere(environment: Mapping[str, str]) -> Iterator[Callable[..., Work]]:
    """Another process, which began with these variables, within the block.

    Yields:
        A function of a function and its arguments, which makes work there; what it returns does that work.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with patch.dict(os.environ, environment):
            pool.submit(int).result()  # begins the process

        def make(function: Callable[..., Work], *given: Any) -> Work:
            number = pool.submit(_make, function, given).result()
            return lambda: pool.submit(_do, number).result()

        yield make


def _make(function: Callable[..., Work], given: tuple[Any, ...]) -> int:
    _made.append(function(*given))
    return len(_made) - 1


def _do(number: int) -> int:
    return _made[number]()


@contextlib.contextmanager
def results_in(folder: Path) -> Iterator[None]:
    """Tables are written into this folder within the block."""
    global RESULTS
    before, RESULTS = RESULTS, folder
    try:
        yield
    finally:
        RESULTS = before


def known(table: str, model: str) -> list[dict[str, str]]:
    """The rows of a model that an earlier run wrote."""
    path = RESULTS / f"{table}.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["model"] == model]


def write(name: str, table: list[dict[str, str]]) -> Path:
    """Write ``NAME.csv`` among the results and print it."""
    path = write_rows(RESULTS / f"{name}.csv", table)
    for row in table:
        print("  ".join(f"{key}={value}" for key, value in row.items() if key not in ("machine", "versions")))
    return path
