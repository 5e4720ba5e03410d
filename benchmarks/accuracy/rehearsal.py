"""The same table in little: drawn cells and small networks, to see that all of it works."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import timm
from benchmarks.accuracy.rows import ROWS, Row

from cellnet.tensors import write_tensors

IMAGE_SIZE, PER_CLASS = 32, 12

TINY = "test_efficientnet"
"""The smallest network of timm that can start from a file."""


def small_rows() -> list[Row]:
    """The rows of the table, each with a network that trains in no time."""
    return [_small(row) for row in ROWS]


def write_start(folder: Path) -> Path:
    """A start file for the small networks, of random numbers; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / f"{TINY}.safetensors", timm.create_model(TINY).state_dict())
    return folder


def _small(row: Row) -> Row:
    if row.start == "file":
        return replace(row, model=f"timm:{TINY}", start_file=TINY)
    return row if row.model in ("cnn", "unet") or row.kind == "fused" else replace(row, model="cnn")
