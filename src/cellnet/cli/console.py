"""Where the command line writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
from typing import Any

from rich.console import Console

SPEAKS = os.environ.get("RANK", "0") == "0"
"""Whether this is the only process, or the first of those that a launcher started: the others say nothing."""

log = Console(stderr=True, highlight=False, markup=False, soft_wrap=True, quiet=not SPEAKS)
"""For progress, notes and errors; names of files and classes stay as they are, brackets and all, in one piece."""


def say(*words: object) -> None:
    """Write a result for people to standard output."""
    if SPEAKS:
        print(*words)


def print_json(result: dict[str, Any]) -> None:
    """Write a machine-readable result, the only thing on standard output."""
    say(json.dumps(result, indent=2, allow_nan=False))
