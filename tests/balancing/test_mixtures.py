"""Data sets with synthetic images: what is known of each, and what every further step makes of them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from cellnet.balancing import SMOTE, parents
from cellnet.balancing.mixtures import families
from cellnet.datasets import CellDataset, PackedCells, create_loader, pack
from cellnet.errors import DataError
from cellnet.images import Preprocess


@pytest.fixture
def balanced(cells: CellDataset) -> CellDataset:
    return SMOTE(k_neighbors=2, random_state=0).resample(cells)


def test_a_synthetic_image_is_made_of_its_parents(cells, balanced):
    assert parents(balanced)[: len(cells)] == [None] * len(cells)
    for index in range(len(cells), len(balanced)):
        known = parents(balanced)[index]
        base, other = (cells.files.index(name) for name in (known.base, known.other))
        assert cells.targets[base] == cells.targets[other] == balanced.targets[index]
        first, second = (cells.image(i).double() for i in (base, other))
        assert torch.equal(balanced.image(index), (first + known.share * (second - first)).round().byte())
        assert balanced.files[index].startswith(known.base.removesuffix(".png") + f"+{known.share:.4f}(cell_")
        assert known.groups == (None, None)


def test_batches_are_the_images(balanced):
    rows = np.random.default_rng(0).permutation(len(balanced))
    for some in (rows, rows[rows >= 23], rows[rows < 23], rows[:0]):
        images, targets = balanced.batch(some)
        assert torch.equal(targets, torch.from_numpy(balanced.targets[some]))
        assert len(images) == len(some)
        assert all(torch.equal(image, balanced.image(row)) for image, row in zip(images, some, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders(balanced, workers):
    seen = torch.cat([images for images, _ in create_loader(balanced, 10, workers=workers)])
    assert torch.equal(seen, balanced.batch(range(len(balanced)))[0])


def test_choices_copies_and_preloading_keep_what_is_known(balanced):
    chosen = balanced.subset([30, 2, -1])
    assert parents(chosen) == [parents(balanced)[i] for i in (30, 2, 35)]
    assert torch.equal(chosen.image(0), balanced.image(30))
    again = pickle.loads(pickle.dumps(chosen))
    assert parents(again) == parents(chosen)
    assert torch.equal(again.image(2), balanced.image(35))
    preprocess = Preprocess(image_size=16)
    loaded = balanced.preload(preprocess)
    assert parents(loaded) == parents(balanced)
    assert torch.equal(loaded.image(30), preprocess(balanced.image(30)))
    assert loaded.content_hashes() == balanced.content_hashes()


def test_hashes_follow_from_those_of_the_parents(cells):
    unknown = SMOTE(k_neighbors=2, random_state=0).resample(cells)
    cells.content_hashes()
    known = SMOTE(k_neighbors=2, random_state=0).resample(cells)
    assert known._hashes is not None
    assert unknown.content_hashes() == known.content_hashes()
    assert len(set(known.content_hashes())) == len(known)
    assert known.fingerprint() != SMOTE(k_neighbors=2, random_state=1).resample(cells).fingerprint()


def test_packed_sets_and_parts_of_splits(cells, tmp_path):
    packed = PackedCells(pack(cells, tmp_path / "cells"))
    train, _ = packed.split((0.7, 0.3), seed=0)
    balanced = SMOTE(k_neighbors=1, random_state=0).resample(train)
    rows = [cells.files.index(file) for file in train.files]
    expected = SMOTE(k_neighbors=1, random_state=0).resample(cells.subset(rows))
    everything = range(len(balanced))
    assert torch.equal(balanced.batch(everything)[0], expected.batch(everything)[0])
    assert balanced.content_hashes() == expected.content_hashes()
    assert isinstance(balanced, PackedCells)
    again = pickle.loads(pickle.dumps(balanced))
    assert torch.equal(again.batch(everything)[0], expected.batch(everything)[0])


def test_what_was_balanced_can_be_balanced_again(cells, balanced):
    twice = SMOTE(sampling_strategy={"basophil": 20}, k_neighbors=2, random_state=0).resample(balanced)
    assert twice.class_counts()["basophil"] == 20
    assert parents(twice)[: len(balanced)] == parents(balanced)
    bred = set(balanced.files[len(cells) :])
    assert any(known.base in bred for known in parents(twice)[len(balanced) :])
    images = twice.batch(range(len(twice)))[0]
    for image, known in list(zip(images, parents(twice), strict=True))[len(cells) :]:
        base, other = (twice.image(twice.files.index(name)).double() for name in (known.base, known.other))
        assert torch.equal(image, (base + known.share * (other - base)).round().byte())


def test_a_later_split_never_takes_a_child_from_its_parents(cells):
    grouped = cells.with_groups([f"donor {i % 6}" for i in range(len(cells))])
    balanced = SMOTE(sampling_strategy={"monocyte": 9}, k_neighbors=1, random_state=3).resample(grouped)
    group = dict(zip(balanced.files, balanced.groups, strict=True))
    for file, known in zip(balanced.files, parents(balanced), strict=True):
        if known is not None:
            assert group[file] == group[known.base] == group[known.other]
            assert known.groups == tuple(grouped.groups[grouped.files.index(f)] for f in (known.base, known.other))
    for donor in range(6):
        assert len(set(balanced.groups[donor : len(cells) : 6])) == 1


def test_families_of_a_chain():
    assert families([None] * 5, np.array([0, 2]), np.array([1, 1])).tolist() == [0, 0, 0, 3, 4, 0, 0]


def test_official_parts_get_no_synthetic_image_to_judge_on(cells):
    parts = np.where(np.arange(len(cells)) % 3 == 0, "test", "train").tolist()
    published = CellDataset(cells.files, cells.targets, cells.labels, images=cells._source, parts=parts)
    balanced = SMOTE(k_neighbors=3, random_state=0).resample(published)
    train, test = balanced.official_split()
    assert parents(test) == [None] * parts.count("test")
    judged = set(test.files)
    assert all(known is None or not {known.base, known.other} & judged for known in parents(train))


def test_images_of_several_sizes_are_named(cells, tmp_path):
    files = []
    for i in range(8):
        files.append(tmp_path / f"{i}.png")
        Image.fromarray(np.full((18 + (i == 6), 18, 3), i, np.uint8)).save(files[-1])
    mixed = CellDataset(files, [0] * 5 + [1] * 3, cells.labels)
    with pytest.raises(DataError, match=r"5\.png is .* and .*6\.png .*\(3, 19, 18\).*preload"):
        SMOTE(k_neighbors=2, random_state=0).resample(mixed)
    assert (
        len(SMOTE(k_neighbors=2, random_state=0).resample(mixed, Preprocess(image_size=16)).batch(range(10))[0]) == 10
    )
    # A class that is not filled up is not read until its images are asked for.
    other = CellDataset([*files[5:], *files[:5]], [0] * 3 + [1] * 2 + [0] * 3, cells.labels)
    balanced = SMOTE(k_neighbors=1, random_state=0).resample(other)
    with pytest.raises(DataError, match="preload"):
        balanced.batch(range(len(balanced)))
