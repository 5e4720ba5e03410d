from __future__ import annotations

import imblearn.over_sampling
import numpy as np
import pandas as pd
import pytest
import torch

from cellnet.balancing import SMOTE, SamplingError, parents
from cellnet.balancing import memory as memory_module
from cellnet.errors import CellnetError, ConfigError, DataError
from cellnet.images import Preprocess

few_images = pytest.mark.filterwarnings("ignore:The class .* has 4 images:UserWarning")


def peer(images: np.ndarray, targets: np.ndarray, **options) -> tuple[np.ndarray, np.ndarray]:
    """What imbalanced-learn makes of the same numbers as floats, where they do not wrap around."""
    flat = images.reshape(len(images), -1)
    flat = flat.astype(float) if flat.dtype == np.uint8 else flat
    rows, labels = imblearn.over_sampling.SMOTE(**options).fit_resample(flat, targets)
    return rows.reshape(-1, *images.shape[1:]), labels


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("strategy", ["auto", "all", "minority", "not minority", {1: 30, 2: 9}])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64])
def test_images_are_those_of_imbalanced_learn(images, targets, seed, strategy, dtype):
    given = (images / 255 if np.dtype(dtype).kind == "f" else images).astype(dtype)
    options = {"sampling_strategy": strategy, "k_neighbors": 3, "random_state": seed}
    expected, labels = peer(given, targets, **options)
    rows, new = SMOTE(**options).fit_resample(given, targets)
    assert rows.dtype == dtype
    assert np.array_equal(rows, np.rint(expected) if dtype == np.uint8 else expected)
    assert np.array_equal(new, labels)


def test_a_generator_goes_on_as_in_imbalanced_learn(images, targets):
    expected, _ = peer(images, targets, k_neighbors=2, random_state=np.random.RandomState(3))
    rows, _ = SMOTE(k_neighbors=2, random_state=np.random.RandomState(3)).fit_resample(images, targets)
    assert np.array_equal(rows, np.rint(expected))


def test_any_layout_and_kind_gives_the_same(images, targets):
    sampler = SMOTE(k_neighbors=3, random_state=0)
    expected, labels = sampler.fit_resample(images, targets)
    last, _ = sampler.fit_resample(images.transpose(0, 2, 3, 1), targets)
    flat, _ = sampler.fit_resample(images.reshape(len(images), -1), targets)
    tensor, tensor_labels = sampler.fit_resample(torch.from_numpy(images), torch.from_numpy(targets))
    listed, _ = sampler.fit_resample(list(images), targets)
    assert expected.shape == (36, 3, 16, 16)
    assert np.array_equal(last.transpose(0, 3, 1, 2), expected)
    assert np.array_equal(flat.reshape(expected.shape), expected)
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.uint8
    assert np.array_equal(tensor, expected)
    assert np.array_equal(tensor_labels, labels)
    assert np.array_equal(listed, expected)


def test_a_type_that_numpy_has_not(images, targets):
    sampler, given = SMOTE(k_neighbors=3, random_state=0), torch.from_numpy(images / 255).bfloat16()
    expected, _ = sampler.fit_resample(given.float(), targets)
    rows, _ = sampler.fit_resample(given, targets)
    assert rows.dtype == torch.bfloat16
    assert torch.equal(rows, expected.bfloat16())
    listed, _ = sampler.fit_resample(list(given), targets)
    assert np.array_equal(listed, expected)


def test_a_data_frame_stays_one(targets):
    frame = pd.DataFrame(np.random.default_rng(0).random((len(targets), 4)), columns=list("abcd"))
    rows, labels = SMOTE(k_neighbors=3, random_state=0).fit_resample(frame, pd.Series(targets, name="cell"))
    assert list(rows.columns) == list("abcd")
    assert labels.name == "cell"


def test_bytes_do_not_wrap_around():
    """Parents of 10 and 200: imbalanced-learn's children are anything from 1 to 254."""
    rows = np.array([[10], [200]] * 2 + [[90]] * 100, np.uint8)
    made, labels = SMOTE(k_neighbors=3, random_state=0).fit_resample(rows, np.arange(len(rows)) < 4)
    made = made[len(rows) :]
    assert len(made) == 96
    assert made.min() >= 10
    assert made.max() <= 200
    assert len(np.unique(made)) > 20
    assert labels.sum() == 100


def test_a_data_set_gets_the_same_images(cells, images, targets):
    sampler = SMOTE(k_neighbors=3, random_state=0)
    rows, labels = sampler.fit_resample(images, targets)
    balanced = sampler.resample(cells)
    assert np.array_equal(balanced.targets, labels)
    assert np.array_equal(balanced.batch(np.arange(len(balanced)))[0], rows)
    assert balanced.class_counts() == {"neutrophil": 12, "monocyte": 12, "basophil": 12}
    assert balanced.part == "train"


def test_images_are_prepared_before_they_are_mixed(cells):
    preprocess = Preprocess(image_size=20)
    lazily = SMOTE(k_neighbors=3, random_state=0).resample(cells, preprocess)
    before = SMOTE(k_neighbors=3, random_state=0).resample(cells.preload(preprocess))
    assert torch.equal(lazily.batch(range(36))[0], before.batch(range(36))[0])
    assert lazily.content_hashes() == before.content_hashes()


def test_classes_may_be_named(cells):
    balanced = SMOTE(sampling_strategy={"basophil": 6}, k_neighbors=3).resample(cells)
    assert balanced.class_counts() == {"neutrophil": 12, "monocyte": 7, "basophil": 6}
    with pytest.raises(CellnetError, match=r"basophl.*basophil"):
        SMOTE(sampling_strategy={"basophl": 6}).resample(cells)


def test_nothing_to_do(cells):
    balanced = SMOTE(sampling_strategy={"basophil": 4}).resample(cells)
    assert len(balanced) == len(cells)
    assert parents(balanced) == [None] * len(cells)
    assert torch.equal(balanced.batch(range(23))[0], cells.batch(range(23))[0])


@pytest.mark.parametrize("part", ["val", "test"])
def test_parts_on_which_models_are_judged_are_refused(cells, part):
    with pytest.raises(DataError, match=f"{part!r} part is not to be balanced.*'train'"):
        SMOTE().resample(cells.subset(range(23), part))


def test_too_few_neighbours_are_said_and_used(cells, images, targets):
    with pytest.warns(UserWarning, match=r"'basophil' has 4 images, so that each has 3 neighbours, not k_neighbors=5"):
        balanced = SMOTE(random_state=0).resample(cells)
    assert balanced.class_counts()["basophil"] == 12
    with pytest.warns(UserWarning, match=r"The class 2 has 4 images"):
        SMOTE().fit_resample(images, targets)


def test_one_image_has_no_neighbour(cells):
    one = cells.subset([*np.flatnonzero(cells.targets != 2), np.flatnonzero(cells.targets == 2)[0]])
    with pytest.raises(DataError, match=r"'basophil' has one image.*sampling_strategy.*RandomOverSampler"):
        SMOTE().resample(one)
    with pytest.raises(ValueError, match=r"class 2 has one image"):  # as scikit-learn's tools expect
        SMOTE(sampling_strategy="minority").fit_resample(*(np.asarray(x) for x in one.batch(range(len(one)))))


@few_images
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling_strategy": "majorty"}, r"sampling_strategy.*not majority.*Got 'majorty'"),
        ({"sampling_strategy": 0.5}, r"sampling_strategy.*float only when.*binary"),
        ({"sampling_strategy": {7: 20}}, r"7.*not present"),
        ({"sampling_strategy": {0: 3}}, r"greater or equal"),
        ({"sampling_strategy": {0: 30.0}}, r"sampling_strategy=\{0: 30\.0\} must hold whole numbers"),
        ({"k_neighbors": 0}, r"k_neighbors.*Got 0"),
        ({"random_state": "x"}, r"random_state.*Got 'x'"),
    ],
)
def test_options_that_cannot_be_used(cells, images, targets, options, message):
    with pytest.raises(ConfigError, match=message):
        SMOTE(**options).resample(cells)
    with pytest.raises(ValueError, match=message):
        SMOTE(**options).fit_resample(images, targets)


def test_one_class_alone(cells):
    with pytest.raises(ConfigError, match="more than 1 class"):
        SMOTE().resample(cells.subset(cells.targets == 0))


def test_mixed_sizes(cells, targets):
    rows = [np.zeros((3, 16, 16 + (i == 4)), np.uint8) for i in range(len(targets))]
    with pytest.raises(SamplingError, match=r"\(3, 16, 16\) and \(3, 16, 17\).*Preprocess"):
        SMOTE().fit_resample(rows, targets)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number(images, targets, value):
    broken = images.astype(np.float32)
    broken[3, 0, 5, 5] = value
    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
        SMOTE().fit_resample(broken, targets)


def test_other_ranks(targets):
    with pytest.raises(ValueError, match="dim 3"):
        SMOTE().fit_resample(np.zeros((len(targets), 4, 4)), targets)


def test_what_does_not_fit_is_refused_with_the_figure(cells, images, targets, monkeypatch):
    monkeypatch.setattr("cellnet.balancing.memory.available_memory", lambda: 100_000)
    message = r"SMOTE to 36 rows of 768 uint8 values takes about 0\.1 MiB of memory, and 0\.1 MiB are free.*resample"
    assert len(SMOTE(k_neighbors=3).resample(cells)) == 36  # which holds 53 kB, not 81
    monkeypatch.setattr("cellnet.balancing.memory.available_memory", lambda: 80_000)
    with pytest.raises(DataError, match=message):
        SMOTE(k_neighbors=3).fit_resample(images, targets)
    monkeypatch.setattr("cellnet.balancing.memory.available_memory", lambda: 50_000)
    with pytest.raises(DataError, match=r"SMOTE on 23 images of 768 values takes about 0\.1 MiB.*0\.0 MiB are free"):
        SMOTE(k_neighbors=3).resample(cells)


def test_figures_are_in_words(monkeypatch):
    monkeypatch.setattr("cellnet.balancing.memory.available_memory", lambda: 3 << 30)
    with pytest.raises(DataError, match=r"This takes about 1,024\.5 GiB of memory, and 3\.0 GiB are free; do that\."):
        memory_module.check_memory((1 << 40) + (1 << 29), "This", "do that")
    memory_module.check_memory(3 << 30, "This", "do that")


def test_a_container_may_have_less_memory_than_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_module, "_CGROUP", tmp_path)
    free = memory_module.available_memory()
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 1000\n")
    assert memory_module.available_memory() == 2_001_000 < free
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_module.available_memory() > 2_001_000
