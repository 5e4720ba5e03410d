from __future__ import annotations

import imblearn.over_sampling
import numpy as np
import pytest
import torch
from imblearn.combine import SMOTETomek
from imblearn.over_sampling import ADASYN, BorderlineSMOTE, RandomOverSampler
from imblearn.pipeline import Pipeline
from imblearn.under_sampling import EditedNearestNeighbours, NearMiss, RandomUnderSampler, TomekLinks

from cellnet.balancing import SMOTE, EmbeddingSMOTE, balance, parents
from cellnet.datasets import CellDataset, PackedCells, pack
from cellnet.datasets.sources import ImageSource
from cellnet.errors import CellnetError, ConfigError, DataError
from cellnet.images import Preprocess


def as_float(cells: CellDataset) -> np.ndarray:
    return cells.batch(range(len(cells)))[0].flatten(1).numpy().astype(np.float32)


class NoPixels(ImageSource):
    """Images that must not be read."""

    def __len__(self):
        return 23

    def image(self, row):
        raise AssertionError(f"image {row} was read")

    def hash(self, row):
        raise AssertionError(f"image {row} was read")


@pytest.mark.parametrize("sampler", [RandomOverSampler(random_state=0), RandomUnderSampler(random_state=0)])
def test_random_choices_read_no_pixel(cells, sampler):
    sampler.fit_resample(np.zeros((len(cells), 1)), cells.targets)
    unread = CellDataset(cells.files, cells.targets, cells.labels, images=NoPixels())
    balanced = balance(unread, sampler)
    assert balanced.files == [cells.files[i] for i in sampler.sample_indices_]
    assert balanced.part == "train"
    assert len(set(balanced.class_counts().values())) == 1


@pytest.mark.parametrize("sampler", [NearMiss(), TomekLinks(), EditedNearestNeighbours(sampling_strategy="all")])
def test_choices_by_pixels_are_subsets(cells, sampler):
    balanced = balance(cells, sampler)
    sampler.fit_resample(as_float(cells), cells.targets)
    assert balanced._source is cells._source
    assert balanced.files == [cells.files[i] for i in sampler.sample_indices_]


@pytest.mark.parametrize(
    "sampler",
    [
        imblearn.over_sampling.SMOTE(k_neighbors=3, random_state=0),
        BorderlineSMOTE(k_neighbors=2, m_neighbors=6, random_state=0),
        ADASYN(n_neighbors=3, random_state=0),
        RandomOverSampler(shrinkage=0.5, random_state=0),
        SMOTETomek(smote=imblearn.over_sampling.SMOTE(k_neighbors=3, random_state=0), random_state=0),
        Pipeline([("over", imblearn.over_sampling.SMOTE(k_neighbors=3, random_state=0)), ("under", TomekLinks())]),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_made_images_are_those_of_the_sampler(cells, sampler):
    rows, labels = sampler.fit_resample(as_float(cells), cells.targets)
    grouped = cells.with_groups(["a", None, *range(21)])
    for known in (False, True):
        if known:
            grouped.content_hashes()
        balanced = balance(grouped, sampler)
        assert np.array_equal(balanced.targets, labels)
        assert np.array_equal(as_float(balanced), np.rint(rows).clip(0, 255))
        assert balanced.part == "train"
        old = [file in cells.files for file in balanced.files]
        assert 0 < sum(old) < len(balanced)
        assert parents(balanced) == [None] * len(balanced)
        hashes = dict(zip(cells.files, cells.content_hashes(), strict=True))
        for index in np.flatnonzero(old):
            assert balanced.content_hashes()[index] == hashes[balanced.files[index]]
        # All of a class in which an image was made may be its parents.
        for label in {balanced.targets[i] for i in np.flatnonzero(~np.array(old))}:
            assert len(set(balanced.groups[balanced.targets == label])) == 1
        assert "/" + type(sampler).__name__ + "_" in balanced.files[old.index(False)]


def test_packed_sets_subsets_and_preprocessing(cells, tmp_path):
    sampler = imblearn.over_sampling.SMOTE(k_neighbors=2, random_state=0)
    preprocess = Preprocess(image_size=20)
    packed = PackedCells(pack(cells, tmp_path / "cells")).subset(np.arange(22, -1, -1), "train")
    balanced = balance(packed, sampler, preprocess)
    expected = balance(cells.subset(np.arange(22, -1, -1)).preload(preprocess), sampler)
    assert torch.equal(balanced.batch(range(36))[0], expected.batch(range(36))[0])
    assert balanced.content_hashes() == expected.content_hashes()
    assert torch.equal(balanced.subset([30]).image(0), expected.image(30))


def test_own_samplers_stay_lazy(cells):
    for sampler in (SMOTE(k_neighbors=3, random_state=0), EmbeddingSMOTE(torch.flatten, k_neighbors=3)):
        if isinstance(sampler, EmbeddingSMOTE):
            sampler.set_params(embed=lambda images: images.flatten(1), random_state=0)
        balanced = balance(cells, sampler, Preprocess(image_size=20))
        assert len([known for known in parents(balanced) if known]) == 13
        assert balanced.image(35).shape == (3, 20, 20)


def test_the_sampler_is_left_as_it_is(cells):
    sampler = RandomUnderSampler(sampling_strategy={"neutrophil": 5}, random_state=np.random.RandomState(0))
    first, second = balance(cells, sampler), balance(cells, sampler)
    assert first.files == second.files
    assert first.class_counts() == {"neutrophil": 5, "monocyte": 7, "basophil": 4}
    assert sampler.sampling_strategy == {"neutrophil": 5}
    assert not hasattr(sampler, "sample_indices_")


@pytest.mark.parametrize(
    "sampler",
    [
        SMOTE(k_neighbors=3),
        EmbeddingSMOTE(lambda images: images.flatten(1), k_neighbors=3),
        RandomOverSampler(),
        SMOTETomek(smote=imblearn.over_sampling.SMOTE(k_neighbors=3)),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_a_seed_takes_the_place_of_none(cells, sampler):
    first, again, other = (balance(cells, sampler, seed=seed).content_hashes() for seed in (1, 1, 2))
    assert first == again != other
    assert sampler.random_state is None
    sampler.set_params(random_state=5)
    if not isinstance(sampler, SMOTETomek):  # whose inner sampler still has none
        assert balance(cells, sampler, seed=1).content_hashes() == balance(cells, sampler, seed=2).content_hashes()


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("sampler", [RandomOverSampler(), SMOTE(), ADASYN()])
def test_parts_on_which_models_are_judged_are_refused(cells, part, sampler):
    with pytest.raises(DataError, match="is not to be balanced"):
        balance(cells.subset(range(23), part), sampler)


@pytest.mark.parametrize("sampler", ["smote", RandomOverSampler, None, 3])
def test_what_is_no_sampler(cells, sampler):
    with pytest.raises(ConfigError, match=r"no sampler; give e\.g\. cellnet\.SMOTE\(\).*RandomOverSampler\(\)"):
        balance(cells, sampler)


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (RandomOverSampler(sampling_strategy="majorty"), r"RandomOverSampler cannot balance.*Got 'majorty'"),
        (imblearn.over_sampling.SMOTE(k_neighbors=5), r"SMOTE cannot balance this data set: .*n_neighbors = 6"),
        (RandomUnderSampler(sampling_strategy={"basophl": 2}), r"basophl.*basophil"),
        (RandomUnderSampler(sampling_strategy={0: 50}), r"RandomUnderSampler cannot balance"),
    ],
)
def test_samplers_that_cannot_balance_these_data(cells, sampler, message):
    with pytest.raises(CellnetError, match=message):
        balance(cells, sampler)


def test_pixels_that_do_not_fit_are_refused_with_the_figure(cells, monkeypatch):
    monkeypatch.setattr("cellnet.balancing.memory.available_memory", lambda: 300_000)
    message = r"ADASYN on 23 images of 768 values, up to 36 as float32, takes about 0\.3 MiB of memory.*cellnet\.SMOTE"
    with pytest.raises(DataError, match=message):
        balance(cells, ADASYN())
    assert len(balance(cells, RandomOverSampler())) == 36
    assert len(balance(cells, NearMiss(n_neighbors=2))) == 12  # 276 kB, for it adds no image


class Reversed:
    """A sampler that knows nothing of scikit-learn."""

    def fit_resample(self, rows, targets):
        return rows[::-1], targets[::-1]


def test_anything_that_resamples_will_do(cells):
    assert balance(cells, Reversed(), seed=0).files == cells.files[::-1]
