"""The measurement of strange images, on drawn cells and an untrained model."""

from __future__ import annotations

import csv
import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from cellnet.augment import GIEMSA
from cellnet.cards import WeightsCard
from cellnet.datasets import load_dataset
from cellnet.errors import DataError
from cellnet.models import create_model

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "robustness"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(SCRIPTS)
    return {name: importlib.import_module(name) for name in ("shared", "strange_sets", "strange")}


def test_a_row_for_each_set_and_score(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = load_dataset("synthetic")
    model = create_model("cnn", cells.labels, image_size=32)
    model.thresholds = {"probability": 0.0, "energy": -1e9}  # whatever is asked is too strange
    model.save(tmp_path / "net")
    (tmp_path / "theirs").mkdir()
    for number in range(3):
        Image.fromarray(cells.image(number).movedim(0, 2).numpy()).save(tmp_path / "theirs" / f"{number}.png")
    tables = []
    for name in ("a.csv", "b.csv"):
        words = ["--weights", tmp_path / "net", "--dataset", "synthetic", "--external", tmp_path / "theirs"]
        words += ["--images", 5, "--out", tmp_path / name]
        monkeypatch.setattr(sys, "argv", ["strange.py", *map(str, words)])
        scripts["strange"].main()
        with (tmp_path / name).open(newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    first, again = tables
    assert first == again
    sets = [*dict.fromkeys(row["set"] for row in first)]
    assert len(sets) == 13
    assert sets[-1] == "theirs"
    assert len(first) == 4 * len(sets)
    test = cells.split((0.7, 0.1, 0.2), seed=0)[2]
    for row in first:
        assert row["weights"] == "net"
        assert row["images"] == ("3" if row["set"] == "theirs" else "5")
        assert row["familiar_images"] == str(len(test))
        assert 0 <= float(row["auroc"].split()[0]) <= 1
        assert (row["threshold"] == "stored") == (row["score"] == "energy")
    energies = [row for row in first if row["score"] == "energy"]
    assert {row["sure_unflagged"] for row in energies} == {"0"}
    assert all(row["flagged"].startswith("100.00 %") and row["false_alarms"].startswith("100.00 %") for row in energies)


def test_the_area_is_scikit_learns(scripts: dict[str, ModuleType]) -> None:
    rng = np.random.default_rng(0)
    strange, familiar = rng.normal(1, 1, 30).astype(np.float32), rng.normal(0, 1, 50).astype(np.float32)
    groups = [f"photograph {i // 10}" for i in range(30)] + [f"cell {i}" for i in range(50)]
    targets = np.repeat([1, 0], [30, 50])
    alone = scripts["strange"].area(strange, familiar, [str(i) for i in range(80)])
    together = scripts["strange"].area(strange, familiar, groups)
    assert alone.value == together.value == roc_auc_score(targets, np.concatenate([strange, familiar]))
    assert together.low < alone.low < alone.value < alone.high


def test_the_sets_are_what_they_say(scripts: dict[str, ModuleType]) -> None:
    cells = load_dataset("synthetic", per_class=1, image_size=60)
    made = {strange.name: strange for strange in scripts["strange_sets"].make_sets(cells, 6, 0)}
    assert all(image.dtype == torch.uint8 and image.shape[0] == 3 for s in made.values() for image in s.images)
    assert all(len(s.images) == len(s.groups) == 6 for s in made.values())
    originals = [cells.image(cells.files.index(name)) for name in made["inverted"].groups]
    assert all(torch.equal(a, 255 - b) for a, b in zip(made["inverted"].images, originals, strict=True))
    assert made["plain colours"].images[0].unique().tolist() == [255]
    assert made["half a cell"].images[0].shape == (3, 30, 30)
    assert made["several cells"].images[0].shape == (3, 72, 72)
    other = {strange.name: strange for strange in scripts["strange_sets"].make_sets(cells, 6, 1)}
    assert not torch.equal(made["noise"].images[0], other["noise"].images[0])


def test_stains_are_exchanged_and_background_is_empty(scripts: dict[str, ModuleType]) -> None:
    sets = scripts["strange_sets"]
    blue, pink = (torch.from_numpy(255 * np.exp(-np.array(dye))).round().to(torch.uint8) for dye in GIEMSA)
    image = torch.stack([blue, pink])[:, :, None].movedim(0, 1)
    torch.testing.assert_close(sets.exchange_stains(image), image.flip(1), atol=1, rtol=0)
    cell = torch.randint(0, 99, (3, 50, 50), dtype=torch.uint8)
    cell[:, :10, 40:] = torch.tensor([200, 210, 220], dtype=torch.uint8)[:, None, None]
    empty = sets.empty_background(cell, np.random.default_rng(0))
    assert empty.shape == cell.shape
    assert empty.flatten(1).unique(dim=1).flatten().tolist() == [200, 210, 220]


def test_a_model_of_other_images_is_refused(scripts: dict[str, ModuleType]) -> None:
    cells = load_dataset("synthetic", image_size=32)
    parts = cells.split((0.7, 0.1, 0.2), seed=0)
    model = create_model("cnn", cells.labels, image_size=32)
    for hash_, refused in (("", False), (parts[0].fingerprint(), False), ("0123456789abcdef", True)):
        model.weights_card = WeightsCard(name="net", training_data_hash=hash_)
        if refused:
            with pytest.raises(DataError, match="net was trained on other images"):
                scripts["shared"].own_parts(model, parts)
        else:
            assert scripts["shared"].own_parts(model, parts) is parts
