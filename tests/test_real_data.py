"""Checks on real images: run with ``CELLNET_TEST_DATA=DIR``, which holds ``PBC_dataset_normal_DIB/``."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

import cellnet
from cellnet.datasets import CellDataset
from cellnet.errors import DataError
from cellnet.images import list_images

ROOT = os.environ.get("CELLNET_TEST_DATA")
pytestmark = pytest.mark.skipif(not ROOT, reason="CELLNET_TEST_DATA names no folder of real images")


@pytest.fixture(scope="module")
def pbc() -> CellDataset:
    return cellnet.load_dataset("pbc", ROOT)


def test_every_class_is_found_and_the_stray_file_is_not(pbc: CellDataset) -> None:
    assert all(pbc.class_counts().values())
    assert not [file for file in pbc.files if Path(file).name.startswith(".")]


def test_identical_images_are_never_apart(pbc: CellDataset) -> None:
    parts = pbc.split((0.7, 0.1, 0.2), seed=3)
    where = Counter(digest for part in parts for digest in set(part.content_hashes()))
    assert set(where.values()) == {1}
    assert max(Counter(pbc.content_hashes()).values()) > 1, "the set has identical images"


def test_the_samples_can_be_left_out(pbc: CellDataset) -> None:
    rest = cellnet.load_dataset("pbc", ROOT, exclude=cellnet.samples().files)
    assert len(rest) == len(pbc) - 40
    assert not set(rest.content_hashes()) & set(cellnet.samples().content_hashes())


def test_the_audit_finds_every_identical_pair(pbc: CellDataset) -> None:
    found = cellnet.audit(pbc, near=False)
    counts = Counter(pbc.content_hashes())
    assert len(found.pairs) == sum(n - 1 for n in counts.values())
    assert {Path(name).name for name in found.stray} <= {".DS_169665.jpg"}
    assert not found.unreadable


@pytest.mark.parametrize("name", ["bccd_cropped", "wbcatt"])
def test_other_sets_are_read(name: str) -> None:
    try:
        cells = cellnet.load_dataset(name, ROOT)
    except DataError:
        pytest.skip(f"no {name}")
    assert set(cells.labels.names) == set(cellnet.LEUKOCYTES.names)
    assert all(cells.class_counts().values())


def test_every_image_of_another_laboratory_is_judged() -> None:
    folder = Path(str(ROOT)) / "BCCD_cropped"
    if not folder.is_dir():
        pytest.skip("no BCCD_cropped")
    model = cellnet.load_pretrained()
    cells = cellnet.load_dataset("folder", folder).harmonise(model.labels)
    report = cellnet.evaluate(model, cells)
    assert report.n == len(list_images(folder))
    assert {name for name, figures in report.per_class.items() if figures["n"]} == {
        "basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil",
    }  # fmt: skip
