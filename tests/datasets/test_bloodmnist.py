from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from cellnet.datasets.bloodmnist import SIZES, BloodMNIST
from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.labels import LEUKOCYTES, PBC_LABELS, harmonise

COUNTS = {"train": 9, "val": 3, "test": 4}


def arrays(size=28, seed=0):
    random = np.random.default_rng(seed)
    content = {}
    for part, count in COUNTS.items():
        content[f"{part}_images"] = random.integers(0, 256, (count, size, size, 3), np.uint8)
        content[f"{part}_labels"] = random.integers(0, 8, (count, 1)).astype(np.uint8)
    return content


def make(folder, size=28, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    content = {**arrays(size), **changes}
    np.savez_compressed(folder / SIZES[size], **{name: array for name, array in content.items() if array is not None})
    return folder


@pytest.mark.parametrize("size", SIZES)
def test_pixels_labels_and_official_split_are_those_of_numpy(tmp_path, size):
    make(tmp_path, size)
    dataset = BloodMNIST(tmp_path)
    assert dataset.labels is PBC_LABELS
    assert [len(part) for part in dataset.official_split()] == list(COUNTS.values())
    with np.load(tmp_path / SIZES[size], allow_pickle=False) as expected:
        for part in dataset.official_split():
            images, labels = part.batch(range(len(part)))
            assert torch.equal(images, torch.from_numpy(expected[f"{part.part}_images"]).permute(0, 3, 1, 2))
            assert labels.tolist() == expected[f"{part.part}_labels"][:, 0].tolist()
    assert dataset.files[0] == "train_00000"
    assert dataset.files[-1] == "test_00003"


def test_images_are_a_view_of_one_array(tmp_path):
    images = BloodMNIST.read(make(tmp_path)).images
    assert images.shape == (16, 3, 28, 28)
    assert images.permute(0, 2, 3, 1).is_contiguous()


def test_the_file_is_found_below_and_mac_leftovers_are_not(tmp_path):
    make(tmp_path / "__MACOSX")
    make(tmp_path / "medmnist" / "files", 64)
    assert BloodMNIST(tmp_path).image(0).shape == (3, 64, 64)


def test_several_sizes_need_a_choice(tmp_path):
    make(make(tmp_path, 28), 64)
    with pytest.raises(ConfigError, match=r"in \[28, 64\] px; say which, for instance size=28"):
        BloodMNIST(tmp_path)
    assert BloodMNIST(tmp_path, size=64).image(0).shape == (3, 64, 64)


def test_sizes_that_are_not_there_or_do_not_exist(tmp_path):
    make(tmp_path)
    with pytest.raises(DataError, match=r"bloodmnist_128\.npz is not in .*holds \[28\] px; pass size=28, or download"):
        BloodMNIST(tmp_path, size=128)
    with pytest.raises(ConfigError, match=r"size=32 is none of BloodMNIST's; give 28, 64, 128 or 224"):
        BloodMNIST(tmp_path, size=32)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"missing: one of bloodmnist\.npz, .*cellnet download bloodmnist"):
        BloodMNIST(tmp_path / "empty")


def test_labels_may_be_flat(tmp_path):
    make(tmp_path, val_labels=np.array([1, 2, 3]))
    assert BloodMNIST(tmp_path).official_split()[1].targets.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"val_labels": None, "test_images": None}, "lacks val_labels, test_images"),
        ({"train_images": np.zeros((9, 28, 28), np.uint8)}, r"train_images is uint8 of shape \(9, 28, 28\), not uint8"),
        ({"train_images": np.zeros((9, 64, 64, 3), np.uint8)}, r"of shape \(9, 64, 64, 3\), not .*\(9, 28, 28, 3\)"),
        ({"train_images": np.zeros((8, 28, 28, 3), np.uint8)}, r"shape \(8, 28, 28, 3\), not .*\(9, 28, 28, 3\)"),
        ({"test_images": np.zeros((4, 28, 28, 3), np.float32)}, "test_images is float32"),
        ({"test_images": np.asfortranarray(np.zeros((4, 28, 28, 3), np.uint8))}, "test_images is uint8"),
        ({"val_labels": np.zeros((3, 2), int)}, r"val_labels is int64 of shape \(3, 2\), not integers N×1"),
        ({"val_labels": np.zeros((3, 1))}, "val_labels is float64"),
        ({"val_labels": np.array([[None]] * 3)}, "allow_pickle"),
    ],
)
def test_arrays_of_another_kind(tmp_path, changes, words):
    make(tmp_path, **changes)
    with pytest.raises(DataError, match=words):
        BloodMNIST(tmp_path)


def test_labels_outside_the_schema(tmp_path):
    make(tmp_path, train_labels=np.full((9, 1), 8, np.uint8))
    with pytest.raises(LabelError, match=r"Targets from . to 8 do not fit"):
        BloodMNIST(tmp_path)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_half_a_file(tmp_path, keep):
    path = make(tmp_path) / SIZES[28]
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(DataError, match=r"bloodmnist\.npz is damaged or not BloodMNIST's: .*download it again"):
        BloodMNIST(tmp_path)


def test_altered_bytes_do_not_pass_for_pixels(tmp_path):
    path = make(tmp_path) / SIZES[28]
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("train_images.npy").header_offset
    data = bytearray(path.read_bytes())
    data[start + 2000] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        BloodMNIST(tmp_path)


def test_an_array_shorter_than_its_header_says(tmp_path):
    path = make(tmp_path) / SIZES[28]
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data[:-10] if name == "val_images.npy" else data)
    with pytest.raises(DataError, match="val_images ends early"):
        BloodMNIST(tmp_path)


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / SIZES[28]).write_text("<html>not found</html>")
    with pytest.raises(DataError, match="not BloodMNIST's"):
        BloodMNIST(tmp_path)


def test_download_takes_the_smallest_unless_told(tmp_path, fake_obtain):
    asked = fake_obtain(lambda folder: make(folder))
    assert len(BloodMNIST(tmp_path, download=True)) == 16
    assert len(BloodMNIST(tmp_path, download=True)) == 16
    assert asked == [["bloodmnist.npz"]]
    asked = fake_obtain(lambda folder: make(folder, 64))
    assert BloodMNIST(tmp_path, download=True, size=64).image(0).shape == (3, 64, 64)
    assert asked == [["bloodmnist_64.npz"]]
    with pytest.raises(ConfigError, match="size=1"):
        BloodMNIST.download(tmp_path, size=1)


def test_card_is_complete(check_card):
    check_card(BloodMNIST)
    assert [file.name for file in BloodMNIST.card.files] == list(SIZES.values())
    assert all(file.md5 for file in BloodMNIST.card.files)


def test_mapping():
    assert harmonise(BloodMNIST.schema, PBC_LABELS).indices == tuple(range(8))
    assert harmonise(BloodMNIST.schema, LEUKOCYTES).indices == (0, 1, None, None, 2, 3, 4, None)
