"""Write the tables of README.md from the CSV files of the benchmarks.

A table stands between ``<!-- table: WORDS -->`` and ``<!-- end -->``; the words are those of docs/result_tables.py.

    python benchmarks/tables.py          # rewrite README.md
    python benchmarks/tables.py --check  # exit code 1 if it would change
"""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- table: ([^\n]+) -->\n).*?(<!-- end -->)", re.DOTALL)

fill = runpy.run_path(str(ROOT / "docs" / "result_tables.py"))["fill"]


def rewrite(text: str) -> str:
    """``text`` with every table made anew."""
    return BLOCK.sub(lambda place: f"{place[1]}{fill(f'{{{{ {place[2]} }}}}')}\n{place[3]}", text)


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
