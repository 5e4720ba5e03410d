"""``cellnet audit``: exit codes, files, and a split without what it found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cellnet.cli import app as cli
from cellnet.datasets import load_dataset

runner = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen drawn cells of two classes; four of each come again, shifted by two pixels."""
    root = tmp_path_factory.mktemp("cells")
    cells = load_dataset("synthetic", per_class=8, image_size=64).subset(range(16))
    images = [(i, cells.image(i)) for i in range(16)]
    images += [(i, torch.roll(cells.image(i), (2, 2), (1, 2))) for i in (0, 1, 2, 3, 8, 9, 10, 11)]
    for number, (i, image) in enumerate(images):
        file = root / cells.labels.names[cells.targets[i]] / f"{number:02}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(file)
    return root


def run(*words: object) -> tuple[int, str, str]:
    result = runner.invoke(cli.app, ["audit", "--dataset", "folder", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


def test_a_leak_gives_exit_code_1_and_a_split_without_it(folder: Path, tmp_path: Path) -> None:
    out, split = tmp_path / ("long" * 20), tmp_path / "split.csv"
    words = ["--root", folder, "--split", "0.5,0.5"]
    code, text, log = run(*words, "--out", out, "--write-split", split)
    assert code == 1
    assert "two parts" in text
    assert str(out / "audit.html") in log  # in one piece, to be copied
    assert (out / "audit.html").stat().st_size > 0
    code, text, _ = run("--root", folder, "--split", split, "--json")
    found = json.loads(text)
    assert code == 0
    assert found["ok"] is True
    assert len(found["pairs"]) >= 8


def test_the_whole_set_has_no_leak(folder: Path) -> None:
    code, text, _ = run("--root", folder, "--split", "none", "--json")
    assert code == 0
    assert len(json.loads(text)["pairs"]) >= 8


def test_identical_images_alone(folder: Path) -> None:
    code, text, _ = run("--root", folder, "--split", "0.5,0.5", "--no-near", "--json")
    assert code == 0
    assert json.loads(text)["pairs"] == []
