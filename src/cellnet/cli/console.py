"""Where the command line writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

log = Console(stderr=True, highlight=False)
"""For progress, notes and errors."""


def print_json(result: dict[str, Any]) -> None:
    """Write a machine-readable result, the only thing on standard output."""
    print(json.dumps(result, indent=2, allow_nan=False))
