from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cellnet.datasets import PBC
from cellnet.errors import DataError
from cellnet.labels import LEUKOCYTES, PBC_LABELS, harmonise

PREFIX = {"ig": "PMY", "neutrophil": "SNE"}


def make(root, per_class=2):
    for number, name in enumerate(PBC_LABELS.names):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            file = root / name / f"{PREFIX.get(name, name[:2].upper())}_{i}.jpg"
            Image.new("RGB", (20, 18), (number, i, 0)).save(file, quality=100)
    (root / "neutrophil" / ".DS_169665.jpg").write_bytes(b"\0\0\0\1Bud1")
    return root


@pytest.mark.parametrize(
    "nesting",
    [
        ".",
        "PBC_dataset_normal_DIB",
        "PBC_dataset_normal_DIB/PBC_dataset_normal_DIB",
        "bloodcells_dataset",
        "pbc/PBC_dataset_normal_DIB/PBC_dataset_normal_DIB",
    ],
)
def test_the_class_folders_are_found_up_to_two_folders_deeper(tmp_path, nesting):
    make(tmp_path / nesting)
    dataset = PBC(tmp_path)
    assert len(dataset) == 16
    assert dataset.labels is PBC_LABELS
    assert dataset.class_counts() == dict.fromkeys(PBC_LABELS.names, 2)
    assert dataset[-1][0].shape == (3, 18, 20)


def test_neighbours_and_mac_leftovers_are_ignored(tmp_path):
    make(tmp_path / "__MACOSX" / "a")
    (tmp_path / "BCCD" / "basophil").mkdir(parents=True)
    (tmp_path / "A" / "empty").mkdir(parents=True)
    make(tmp_path / "PBC", 1)
    assert len(PBC(str(tmp_path))) == 8


def test_a_folder_of_its_name_goes_before_others(tmp_path):
    make(tmp_path / "another", 2)
    make(tmp_path / "pbc" / "inner", 1)
    assert len(PBC(tmp_path)) == 8


def test_a_closed_folder_on_the_way_is_passed_over(tmp_path, monkeypatch):
    make(tmp_path / "data")
    (tmp_path / "aaa").mkdir()
    opened = Path.iterdir

    def iterdir(folder):
        if folder.name == "aaa":
            raise PermissionError(13, "Permission denied", str(folder))
        return opened(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert len(PBC(tmp_path)) == 16


def test_further_folders_beside_the_eight_are_no_classes(tmp_path):
    make(tmp_path)
    (tmp_path / "masks").mkdir()
    assert len(PBC(tmp_path)) == 16


def test_subtypes_follow_every_choice(tmp_path):
    dataset = PBC(make(tmp_path))
    chosen = dataset.harmonise(PBC_LABELS).subset(dataset.targets == PBC_LABELS.index("ig"))
    assert isinstance(chosen, PBC)
    assert chosen.subtypes.tolist() == ["PMY", "PMY"]


def test_exclude(tmp_path):
    assert len(PBC(make(tmp_path), exclude=["ig/PMY_0.jpg"])) == 15


def test_missing_classes_are_listed_with_where_and_what_to_do(tmp_path):
    make(tmp_path / "a")
    for name in ("ig", "platelet"):
        for file in (tmp_path / "a" / name).iterdir():
            file.unlink()
        (tmp_path / "a" / name).rmdir()
    with pytest.raises(DataError, match=r"2 levels below; missing: ig, platelet \(nearest .*a\)\. .*snkd93bnjr"):
        PBC(tmp_path)


def test_class_folders_in_other_letters_are_another_set(tmp_path):
    for name in PBC_LABELS.names:
        (tmp_path / name.capitalize()).mkdir()
    with pytest.raises(DataError, match="missing: basophil, eosinophil"):
        PBC(tmp_path)


def test_too_deep_missing_or_empty(tmp_path):
    make(tmp_path / "1" / "2" / "3")
    with pytest.raises(DataError, match="missing: basophil, eosinophil"):
        PBC(tmp_path)
    with pytest.raises(DataError, match=r"nowhere or .* missing: the folder itself\. Run `cellnet download pbc`"):
        PBC(tmp_path / "nowhere")
    for file in (tmp_path / "1" / "2" / "3" / "ig").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"No image in .*ig"):
        PBC(tmp_path / "1")


def test_download_into_a_folder_of_its_name_and_only_once(tmp_path, fake_obtain):
    asked = fake_obtain(lambda folder: make(folder / "PBC_dataset_normal_DIB" / "PBC_dataset_normal_DIB"))
    assert len(PBC(tmp_path, download=True)) == 16
    assert len(PBC(tmp_path, download=True)) == 16
    assert asked == [["snkd93bnjr-1.zip"]]
    assert PBC.find(tmp_path) == tmp_path / "pbc" / "PBC_dataset_normal_DIB" / "PBC_dataset_normal_DIB"


def test_card_is_complete(check_card):
    check_card(PBC)
    assert (PBC.card.name, PBC.card.num_images) == ("pbc", 17_092)


def test_mapping():
    assert harmonise(PBC.schema, PBC_LABELS).indices == tuple(range(8))
    assert harmonise(PBC.schema, LEUKOCYTES).indices == (0, 1, None, None, 2, 3, 4, None)
