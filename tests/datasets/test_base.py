from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cellnet.cards import DatasetCard
from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError, ImageError, LabelError, UnknownNameError
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS, LabelSchema

SCHEMA = LabelSchema.from_names(["lymphocyte", "monocyte", "blast"], name="three")


def pixels(count, size=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), np.uint8)


@pytest.fixture
def in_memory():
    groups = np.array(["a", "a", None, None, "b", "b", None, None, None, None, None, None], object)
    return CellDataset(None, [0, 1, 2] * 4, SCHEMA, images=pixels(12), groups=groups)


@pytest.fixture
def on_disk(tmp_path):
    """Twelve PNG files of three classes; 0/0.png and 1/1.png are the same picture."""
    files, targets = [], []
    arrays = pixels(12, 20)
    arrays[5] = arrays[0]
    for i, array in enumerate(arrays):
        path = tmp_path / str(i // 4) / f"{i % 4}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(array.transpose(1, 2, 0)).save(path)
        files.append(path)
        targets.append(i // 4)
    return CellDataset(files, targets, SCHEMA, card=DatasetCard("mine", "My cells"))


def test_items_are_uint8_tensors_and_ints(on_disk, in_memory):
    for dataset, size in ((on_disk, 20), (in_memory, 16)):
        image, label = dataset[0]
        assert image.shape == (3, size, size)
        assert image.dtype == torch.uint8
        assert type(label) is int
    assert np.array_equal(on_disk.image(3), pixels(12, 20)[3])
    assert in_memory.targets.dtype == np.int64
    assert in_memory.files[:2] == ["image_000000", "image_000001"]


@pytest.mark.parametrize("index", [-1, np.int64(11), torch.tensor(11)])
def test_indices_of_any_integer_kind(in_memory, index):
    image, label = in_memory[index]
    assert np.array_equal(image, pixels(12)[11])
    assert label == 2


@pytest.mark.parametrize("index", [12, -13])
def test_an_index_beyond_the_end_stops_a_loop(in_memory, index):
    with pytest.raises(IndexError, match="12 images"):
        in_memory[index]
    assert len(list(in_memory)) == 12


def test_an_unreadable_file_is_named(on_disk, tmp_path):
    (tmp_path / "0" / "2.png").write_bytes(b"not an image")
    (tmp_path / "0" / "3.png").unlink()
    with pytest.raises(ImageError, match=r"2\.png"):
        on_disk[2]
    with pytest.raises(ImageError, match=r"3\.png"):
        on_disk.split((0.5, 0.5))
    with pytest.raises(ImageError, match=r"[23]\.png"):
        on_disk.preload(Preprocess(16))


def test_a_transform_cannot_change_the_data(in_memory):
    darkened = in_memory.with_transform(lambda image: image.zero_())
    assert darkened[0][0].sum() == 0
    assert np.array_equal(darkened.image(0), pixels(12)[0])
    assert in_memory.transform is None


def test_subset_slices_every_column(in_memory):
    in_memory.content_hashes()
    chosen = in_memory.subset([4, 1, 1, -1], part="val")
    assert chosen.files == [in_memory.files[i] for i in (4, 1, 1, 11)]
    assert chosen.targets.tolist() == [1, 1, 1, 2]
    assert chosen.groups.tolist() == ["b", "a", "a", None]
    assert np.array_equal(chosen.image(1), in_memory.image(1))
    assert chosen.content_hashes() == [in_memory.content_hashes()[i] for i in (4, 1, 1, 11)]
    assert chosen.subset([0]).part == "val"
    assert in_memory.part is None
    assert len(in_memory) == 12


def test_subset_keeps_class_and_extra_columns():
    class Aged(CellDataset):
        _columns = (*CellDataset._columns, "ages")

        def __init__(self):
            super().__init__(None, [0, 1, 2], SCHEMA, images=pixels(3))
            self.ages = np.array([30, 40, 50])

    chosen = Aged().subset([2, 0])
    assert isinstance(chosen, Aged)
    assert chosen.ages.tolist() == [50, 30]


def test_choices_of_images_in_memory_share_them(in_memory):
    assert in_memory.subset([3]).subset([0])._source is in_memory._source
    assert np.array_equal(in_memory.subset([3, 7]).subset([1]).image(0), pixels(12)[7])
    assert np.array_equal(in_memory.subset([3, 7]).preload(Preprocess(16)).image(1), pixels(12)[7])


def test_subset_by_mask_and_by_nothing(in_memory):
    assert len(in_memory.subset(in_memory.targets == 2)) == 4
    empty = in_memory.subset([])
    assert len(empty) == 0
    assert empty.class_counts() == {"lymphocyte": 0, "monocyte": 0, "blast": 0}
    assert len(empty.preload(Preprocess(16))) == 0


@pytest.mark.parametrize("indices", [[12], [-13], [0.5], [[0, 1]], [True, False], ["a"]])
def test_bad_indices(in_memory, indices):
    with pytest.raises(DataError, match="integers"):
        in_memory.subset(indices)


def test_bad_part(in_memory):
    with pytest.raises(UnknownNameError, match="'train'"):
        in_memory.subset([0], part="trian")
    with pytest.raises(UnknownNameError):
        CellDataset(None, [0], SCHEMA, images=pixels(1), part="training")


def test_split_names_its_parts(in_memory):
    train, val, test = in_memory.split((0.5, 0.25, 0.25))
    assert (train.part, val.part, test.part) == ("train", "val", "test")
    assert [part.part for part in in_memory.split((0.5, 0.5))] == ["train", "test"]
    assert len(train) + len(val) + len(test) == 12
    assert sorted([*train.files, *val.files, *test.files]) == in_memory.files


@pytest.mark.parametrize("seed", range(5))
def test_split_never_parts_groups_or_identical_images(in_memory, on_disk, seed):
    for part in on_disk.split((0.5, 0.5), seed):
        names = {file[-5:] for file in part.files if file.endswith(("0/0.png", "1/1.png"))}
        assert len(names) in (0, 2)
    groups = [set(part.groups.tolist()) - {None} for part in in_memory.split((0.5, 0.5), seed)]
    assert not groups[0] & groups[1]


def test_split_of_identical_images_with_two_labels_follows_content_and_groups():
    images = pixels(9)
    images[3] = images[0]
    dataset = CellDataset(None, [0] * 3 + [1] * 6, SCHEMA, images=images, groups=[None] * 3 + ["a", "a"] + [None] * 4)
    for part in dataset.split((0.5, 0.5)):
        assert len({"image_000000", "image_000003", "image_000004"} & set(part.files)) in (0, 3)


@pytest.mark.parametrize("fractions", [(1.0,), (0.25,) * 4, ()])
def test_split_into_other_numbers_of_parts(in_memory, fractions):
    with pytest.raises(ConfigError, match="folds"):
        in_memory.split(fractions)


def test_split_needs_enough_images_of_each_class(in_memory):
    with pytest.raises(DataError, match="'blast' has 2"):
        in_memory.subset([0, 1, 2, 3, 4, 5, 6, 7, 9]).split((0.5, 0.25, 0.25))


def test_absent_classes_do_not_hinder_a_split(in_memory):
    train, test = in_memory.subset(in_memory.targets < 2).split((0.5, 0.5))
    assert train.class_counts()["blast"] == test.class_counts()["blast"] == 0


def test_folds(in_memory):
    folds = in_memory.folds(3)
    assert [(train.part, val.part) for train, val in folds] == [("train", "val")] * 3
    for train, val in folds:
        assert sorted([*train.files, *val.files]) == in_memory.files
    assert sorted(file for _, val in folds for file in val.files) == in_memory.files


def test_exclude_by_bytes_by_name_and_by_bare_name(on_disk, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes((tmp_path / "0" / "0.png").read_bytes())
    assert len(on_disk.exclude([copy])) == 10  # the picture lies there twice
    assert len(on_disk.exclude(["elsewhere/1/2.PNG"])) == 11
    assert len(on_disk.exclude("2.png")) == 9
    assert len(on_disk.exclude(["elsewhere\\1\\2.png"])) == 11
    assert len(on_disk.exclude([])) == 12
    assert len(on_disk.exclude(on_disk.files)) == 0
    assert len(on_disk) == 12


def test_exclude_of_files_that_are_not_in_the_set(on_disk, tmp_path):
    Image.fromarray(pixels(1, 9, 1)[0].transpose(1, 2, 0)).save(tmp_path / "unrelated.png")
    assert len(on_disk.exclude([tmp_path / "unrelated.png", "0/1.png"])) == 11


@pytest.mark.parametrize("name", ["nowhere.png", "3/0.png", "1\\7.png"])
def test_exclude_refuses_a_name_that_fits_nothing(on_disk, name):
    with pytest.raises(DataError, match="fits no image"):
        on_disk.exclude(["0/1.png", name])


def test_exclude_refuses_a_folder(on_disk, tmp_path):
    with pytest.raises(DataError, match=r"is a folder; give its images"):
        on_disk.exclude(tmp_path / "0")


def test_exclude_tells_images_in_deeper_folders_apart():
    files = [f"cells/{name}/donor1/{i}.png" for name in ("lymphocyte", "monocyte") for i in range(2)]
    cells = CellDataset(files, [0, 0, 1, 1], SCHEMA, images=pixels(4))
    assert cells.exclude(["/data/Lymphocyte/donor1/0.png"]).files == files[1:]
    assert cells.exclude(["donor1/0.png"]).files == [files[1], files[3]]


def test_exclude_takes_out_a_file_that_is_gone(on_disk, tmp_path):
    (tmp_path / "2" / "3.png").unlink()
    assert len(on_disk.exclude([tmp_path / "2" / "3.png"]).split((0.5, 0.5))) == 2


def test_content_hashes(on_disk, in_memory):
    assert on_disk.content_hashes()[7] == hashlib.sha256(Path(on_disk.files[7]).read_bytes()).hexdigest()
    assert on_disk.content_hashes()[0] == on_disk.content_hashes()[5]
    assert in_memory.content_hashes()[2] == hashlib.sha256(pixels(12)[2].tobytes()).hexdigest()


def test_fingerprint_ignores_order_but_neither_labels_nor_images(in_memory):
    print_ = in_memory.fingerprint()
    assert in_memory.subset(range(11, -1, -1)).fingerprint() == print_
    assert in_memory.subset(range(11)).fingerprint() != print_
    relabelled = CellDataset(None, [1, 1, 2] + [0, 1, 2] * 3, SCHEMA, images=pixels(12))
    assert relabelled.fingerprint() != print_


def test_harmonise_maps_by_name_and_drops_the_rest(in_memory):
    mapped = in_memory.subset(range(12), part="test").harmonise(PBC_LABELS)
    assert mapped.labels is PBC_LABELS
    assert mapped.class_counts()["lymphocyte"] == mapped.class_counts()["monocyte"] == 4
    assert len(mapped) == 8
    assert mapped.part == "test"
    assert np.array_equal(mapped.image(2), in_memory.image(3))
    with pytest.raises(LabelError, match="counterpart"):
        in_memory.harmonise(LabelSchema.from_names(["cat"]))


def test_preload_is_bit_identical_and_keeps_identity(on_disk):
    preprocess = Preprocess(16, crop=0.9)
    loaded = on_disk.preload(preprocess)
    for i in range(12):
        assert torch.equal(loaded.image(i), preprocess(on_disk.image(i)))
    assert loaded.files == on_disk.files
    assert loaded.fingerprint() == on_disk.fingerprint()
    assert [p.files for p in loaded.split((0.5, 0.5))] == [p.files for p in on_disk.split((0.5, 0.5))]
    assert loaded.card is on_disk.card


def test_preload_shows_progress_on_standard_error_only(on_disk, capsys):
    on_disk.preload(Preprocess(16), progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Loading" in captured.err


def test_works_in_a_data_loader_and_pickles(on_disk):
    loader = torch.utils.data.DataLoader(on_disk, batch_size=5, num_workers=1)
    assert [len(labels) for _, labels in loader] == [5, 5, 2]
    assert pickle.loads(pickle.dumps(on_disk)).fingerprint() == on_disk.fingerprint()


def test_tensors_and_arrays_that_torch_dislikes():
    array = pixels(3)
    assert np.array_equal(CellDataset(None, [0], SCHEMA, images=torch.from_numpy(array[:1])).image(0), array[0])
    array.setflags(write=False)
    dataset = CellDataset(None, [0, 1, 2], SCHEMA, images=array[::-1])
    assert np.array_equal(dataset.image(0), array[2])


def test_repr(in_memory):
    assert repr(in_memory.subset([0, 1], "val")) == "CellDataset(2 images, 3 classes, part 'val')"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"files": None, "targets": [0]}, DataError, "files="),
        ({"files": ["a", "b"], "targets": [0]}, DataError, "1 targets but 2 files"),
        ({"files": ["a"], "targets": [0], "groups": ["x", "y"]}, DataError, "2 groups"),
        ({"files": ["a"], "targets": [0], "images": pixels(2)}, DataError, "2 images"),
        ({"files": ["a"], "targets": [3]}, LabelError, "0 to 2"),
        ({"files": ["a"], "targets": [-1]}, LabelError, "0 to 2"),
        ({"files": ["a"], "targets": [0.0]}, LabelError, "integer"),
        ({"files": ["a"], "targets": ["monocyte"]}, LabelError, "labels.index"),
        ({"files": ["a"], "targets": [[0]]}, LabelError, "integer"),
        ({"files": ["a", "b"], "targets": [0, 0], "groups": [["x", 1], ["y", 2]]}, DataError, "cannot be compared"),
        ({"files": ["a", "b"], "targets": [0, 0], "groups": np.array([["x"], ["y"]])}, DataError, "cannot be compared"),
        ({"files": ["a"], "targets": [0], "groups": "x"}, DataError, "a list of one value an image"),
        ({"files": ["a"], "targets": [0], "groups": 3}, DataError, "a list of one value an image"),
        ({"files": None, "targets": [0], "images": [pixels(1)[0]]}, DataError, "not list; np.stack"),
        ({"files": None, "targets": [0], "images": pixels(1)[0]}, DataError, "N×3×H×W"),
        ({"files": None, "targets": [0], "images": pixels(1) / 255}, DataError, "uint8"),
        ({"files": None, "targets": [0], "images": torch.zeros(1, 3, 8, 8)}, DataError, "uint8"),
    ],
)
def test_bad_columns(arguments, error, words):
    with pytest.raises(error, match=words):
        CellDataset(labels=SCHEMA, **arguments)


def test_labels_must_be_a_schema():
    with pytest.raises(LabelError, match="from_names"):
        CellDataset(["a"], [0], ["lymphocyte"])


def test_batch_gives_many_images_at_once(in_memory, on_disk):
    for dataset in (in_memory, on_disk.subset([3, 2, 1, 0])):
        images, labels = dataset.batch([2, -1])
        assert torch.equal(images[0], dataset.image(2))
        assert torch.equal(images[1], dataset.image(-1))
        assert labels.tolist() == dataset.targets[[2, -1]].tolist()
        assert labels.dtype == torch.int64
    with pytest.raises(DataError, match="integers"):
        in_memory.batch([12])


def test_official_split(in_memory):
    parts = ["train"] * 6 + ["test"] * 5 + [None]
    dataset = CellDataset(None, in_memory.targets, SCHEMA, images=pixels(12), parts=parts)
    train, test = dataset.subset(range(11, -1, -1)).official_split()
    assert (train.part, len(train), test.part, len(test)) == ("train", 6, "test", 5)
    assert train.parts == ["train"] * 6
    with pytest.raises(DataError, match="no official split"):
        in_memory.official_split()
    with pytest.raises(UnknownNameError, match="'validation'"):
        CellDataset(None, [0], SCHEMA, images=pixels(1), parts=["validation"])
    with pytest.raises(DataError, match="2 targets but 1 parts"):
        CellDataset(None, [0, 1], SCHEMA, images=pixels(2), parts=["val"])


def test_unknown_groups_are_none_however_they_are_written():
    pandas = pytest.importorskip("pandas")
    dataset = CellDataset(None, [0, 1, 2] * 4, SCHEMA, images=pixels(12))
    table = pandas.Series(["ana", "ana", None, "bo"] * 3)
    for groups in (
        ["ana", "ana", float("nan"), ""] * 3,
        np.array([["ana"], ["ana"], [None], [None]] * 3, object)[:, 0],
        table.replace("bo", ""),
        table.replace("bo", None).astype("string"),
        table.replace("bo", None).tolist(),
    ):
        known = dataset.with_groups(groups)
        assert known.groups.tolist() == ["ana", "ana", None, None] * 3
        assert len(set(known.units().tolist())) == 7
    days = dataset.with_groups(pandas.to_datetime(["2020-01-01", None] * 6)).groups.tolist()
    assert days[1] is None
    assert len(set(days)) == 2
    assert dataset.with_groups([("ana", 1), ("ana", 2)] * 6).groups.tolist()[0] == ("ana", 1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda cells: cells.split(0.8), "Cannot split by 1 fractions"),
        (lambda cells: cells.split(seed=None), "seed None"),
        (lambda cells: cells.folds(2, seed=None), "seed None"),
        (lambda cells: cells.folds(2, repeats=1.5), r"repeats=1\.5"),
        (lambda cells: cells.folds(2, repeats="2"), "repeats='2'"),
    ],
)
def test_bad_ways_to_divide(in_memory, call, words):
    with pytest.raises(ConfigError, match=words):
        call(in_memory)


def test_repeated_folds_are_the_folds_of_further_seeds(in_memory):
    pairs = in_memory.folds(2, seed=3, repeats=2)
    assert [val.files for _, val in pairs[2:]] == [val.files for _, val in in_memory.folds(2, seed=4)]
    assert len(pairs) == 4
    with pytest.raises(ConfigError, match="repeats=0"):
        in_memory.folds(2, repeats=0)


def test_with_groups_keeps_them_together(in_memory):
    groups = [i % 3 + 3 * (i // 6) for i in range(12)]
    train, test = in_memory.with_groups(groups).split((0.5, 0.5))
    assert not set(train.groups.tolist()) & set(test.groups.tolist())
    assert in_memory.with_groups(None).groups is None
    with pytest.raises(DataError, match="12 images but 1 groups"):
        in_memory.with_groups(["a"])


def test_images_without_counterpart_are_kept_apart(in_memory):
    known, unknown = in_memory.harmonise(PBC_LABELS), in_memory.not_comparable(PBC_LABELS)
    assert len(known) + len(unknown) == len(in_memory)
    assert unknown.class_counts() == {"lymphocyte": 0, "monocyte": 0, "blast": 4}
