"""The measurement of words for cells, on made-up tables and drawn cells."""

from __future__ import annotations

import csv
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellnet.datasets import load_dataset
from cellnet.datasets.wbcatt import ATTRIBUTES, TABLES
from cellnet.labels import LEUKOCYTES, PBC_LABELS
from cellnet.models import create_model

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "robustness"
EACH = 20


def write_data(root: Path) -> None:
    """Drawn cells in PBC's layout, and words drawn at random for its leukocytes."""
    rng = np.random.default_rng(0)
    cells = load_dataset("synthetic", per_class=EACH, image_size=32)
    assert cells.labels.names == PBC_LABELS.names
    lines = []
    for i, target in enumerate(cells.targets):
        name = cells.labels.names[target]
        file = root / "PBC_dataset_normal_DIB" / name / f"{name.upper()}_{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(cells.image(i).movedim(0, 2).numpy()).save(file.with_suffix(".jpg"), "JPEG")
        if name in LEUKOCYTES.names:
            words = [str(rng.choice(choices)) for choices in ATTRIBUTES.values()]
            lines.append(",".join([file.with_suffix(".jpg").name, name, *words, "x"]))
    for part, table in enumerate(TABLES.values()):
        content = [",".join(["img_name", "label", *ATTRIBUTES, "path"]), *lines[part :: len(TABLES)]]
        (root / table).write_text("\n".join(content) + "\n")


def test_a_row_for_each_attribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_data(tmp_path)
    create_model("cnn", PBC_LABELS, image_size=32).save(tmp_path / "net")
    monkeypatch.syspath_prepend(SCRIPTS)
    words = ["--weights", tmp_path / "net", "--root", tmp_path, "--out", tmp_path / "out.csv"]
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
