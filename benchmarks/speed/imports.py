"""How long imports take: fresh interpreters, one after another, in turn.

    python benchmarks/speed/imports.py

Milliseconds from the start of an interpreter to its end, with what is read from the disk already in memory.
``over_bare`` is what an interpreter takes longer than the bare one of the same round. Packages that are not installed
are left out.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec

from harness import figure, machine, write

BARE = "bare Python"
MODULES = (
    "cellnet",
    "numpy",
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "sklearn",
    "imblearn",
    "matplotlib.pyplot",
    "pandas",
    "cv2",
    "huggingface_hub",
    "skorch",
    "lightning",
    "torchmetrics",
)


def milliseconds(code: str) -> float:
    """From the start of an interpreter that runs the code to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return 1e3 * (time.perf_counter() - start)


def main(modules: tuple[str, ...] = MODULES, rounds: int = 15) -> None:
    """Measure and write ``speed_imports.csv``.

    Args:
        modules: What is imported.
        rounds: Of measuring, at least two, after one that does not count.
    """
    there = [name for name in modules if find_spec(name.partition(".")[0]) is not None]
    if missing := [name for name in modules if name not in there]:
        print(f"Not installed and left out: {', '.join(missing)}.")
    work = {BARE: "pass"} | {f"import {name}": f"import {name}" for name in there}
    times: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(rounds + 1):
        for name, code in work.items():
            took = milliseconds(code)
            if round_:
                times[name].append(took)
    table = []
    for name, values in times.items():
        over = [value - bare for value, bare in zip(values, times[BARE], strict=True)]
        quartiles = statistics.quantiles(over)
        table.append(
            {
                "what": name,
                "milliseconds": figure(statistics.median(values)),
                "lowest": figure(min(values)),
                "highest": figure(max(values)),
                "over_bare": figure(statistics.median(over)),
                "lower_quartile": figure(quartiles[0]),
                "upper_quartile": figure(quartiles[2]),
                "load": f"{os.getloadavg()[0]:.1f}",
                "machine": machine(),
                "versions": f"Python {sys.version.split()[0]}",
            }
        )
    write("speed_imports", table)


if __name__ == "__main__":
    main()
