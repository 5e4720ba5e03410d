from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cellnet.cards import DatasetCard
from cellnet.datasets import PBC
from cellnet.errors import DataError
from cellnet.labels import PBC_LABELS

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
    [".", "PBC_dataset_normal_DIB", "PBC_dataset_normal_DIB/PBC_dataset_normal_DIB", "bloodcells_dataset"],
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
    with pytest.raises(DataError, match=r"missing: ig, platelet\. Looked in .* match: .*a\)\. .*snkd93bnjr"):
        PBC(tmp_path)


def test_too_deep_missing_or_empty(tmp_path):
    make(tmp_path / "1" / "2" / "3")
    with pytest.raises(DataError, match="missing: basophil, eosinophil"):
        PBC(tmp_path)
    with pytest.raises(DataError, match="No such folder"):
        PBC(tmp_path / "nowhere")
    for file in (tmp_path / "1" / "2" / "3" / "ig").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"No image in .*ig"):
        PBC(tmp_path / "1")


def test_card_is_complete():
    card = PBC.card
    assert DatasetCard.from_dict(card.to_dict()) == card
    assert card.name == "pbc"
    assert card.num_images == 17_092
