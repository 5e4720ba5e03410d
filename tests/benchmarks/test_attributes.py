"""The measurement of words for cells, on made-up tables and drawn cells."""

from __future__ import annotations

import csv
import importlib
import sys
from pathlib import Path

import pytest

from cellnet.datasets.wbcatt import ATTRIBUTES
from cellnet.labels import LEUKOCYTES, PBC_LABELS
from cellnet.models import create_model

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "robustness"
EACH = 20


def test_a_row_for_each_attribute(pbc_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_model("cnn", PBC_LABELS, image_size=32).save(tmp_path / "net")
    monkeypatch.syspath_prepend(SCRIPTS)
    words = ["--weights", tmp_path / "net", "--root", pbc_root, "--out", tmp_path / "out.csv"]
    monkeypatch.setattr(sys, "argv", ["attributes.py", *map(str, words)])
    importlib.import_module("attributes").main()
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["attribute"].replace(" ", "_") for row in rows] == list(ATTRIBUTES)
    leukocytes = EACH * len(LEUKOCYTES)
    assert {int(row["trained_on"]) for row in rows} == {int(0.7 * leukocytes)}
    assert {int(row["images"]) for row in rows} == {int(0.2 * leukocytes)}
    for row in rows:
        assert row["weights"] == "net"
        for figure in ("accuracy", "balanced_accuracy", "most_frequent"):
            assert 0 <= float(row[figure].split()[0]) <= 100
