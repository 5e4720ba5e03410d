"""Write the tables of README.md from the CSV files in benchmarks/results.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` and shows the columns named there.

    python benchmarks/tables.py          # rewrite README.md
    python benchmarks/tables.py --check  # exit code 1 if it would change
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- table: (\w+); columns: ([\w, ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def render(name: str, columns: list[str]) -> str:
    """Some columns of one results file as a Markdown table."""
    with (ROOT / "benchmarks" / "results" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cells = [
        [c.replace("_", " ") for c in columns],
        ["---"] * len(columns),
        *[[r[c] for c in columns] for r in rows],
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def rewrite(text: str) -> str:
    """``text`` with every table made anew."""
    return BLOCK.sub(lambda m: m[1] + render(m[2], [c.strip() for c in m[3].split(",")]) + m[4], text)


def main() -> None:
    """Rewrite or check README.md."""
    readme = ROOT / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = rewrite(before)
    if "--check" in sys.argv:
        sys.exit(before != after)
    readme.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
