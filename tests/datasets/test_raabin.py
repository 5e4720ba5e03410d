from __future__ import annotations

import pytest

from cellnet.datasets.raabin import Raabin
from cellnet.errors import DataError, UnknownNameError
from cellnet.labels import LEUKOCYTES, PBC_LABELS, harmonise

FIVE = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
CLASSES = {"Train": FIVE, "TestA": FIVE, "TestB": ("Lymphocyte", "Neutrophil")}


@pytest.fixture
def make(write_image):
    def build(root, per_class=4):
        for part, classes in CLASSES.items():
            for name in classes:
                for i in range(per_class):
                    # Two cells a photograph; TestB has names of another form.
                    stem = f"cell {i}" if part == "TestB" else f"20190526_16295{FIVE.index(name)}_{i}"
                    stem = stem if part != "Train" else f"20190527_1000{FIVE.index(name)}{i // 2}_{i}"
                    write_image(root / part / name / f"{stem}.jpg")
        return root

    return build


@pytest.mark.parametrize("nesting", [".", "raabin", "Raabin-WBC/Cropped"])
def test_parts_classes_and_source(tmp_path, make, nesting):
    make(tmp_path / nesting)
    (tmp_path / nesting / "TestB.zip").write_bytes(b"the archive beside its folder")
    dataset = Raabin(tmp_path)
    assert len(dataset) == 4 * (5 + 5 + 2)
    assert dataset.labels is LEUKOCYTES
    train, test = dataset.official_split()
    assert (train.part, set(train.source), len(train)) == ("train", {"Train"}, 20)
    assert (test.part, set(test.source), len(test)) == ("test", {"TestA"}, 20)
    assert dataset.subgroups() == {"source": dataset.source}
    other = dataset.subset([name == "TestB" for name in dataset.source])
    assert other.class_counts() == {"basophil": 0, "eosinophil": 0, "lymphocyte": 4, "monocyte": 0, "neutrophil": 4}
    assert set(other.parts) == {None}


def test_cells_of_one_photograph_stay_together(tmp_path, make):
    dataset = Raabin(make(tmp_path))
    assert dataset.groups[0] == dataset.groups[1] == "20190527_100000"
    assert dataset.groups[-1] is None
    where = [{group for group in part.groups if group} for part in dataset.split((0.5, 0.5))]
    assert not where[0] & where[1]


def test_names_of_another_form_tell_no_photograph(tmp_path, make):
    make(tmp_path)
    for number, file in enumerate(sorted(tmp_path.rglob("*.jpg"))):
        file.rename(file.with_name(f"{number}.jpg"))
    assert Raabin(tmp_path).groups is None


def test_a_class_may_be_absent_and_stray_files_are_ignored(tmp_path, make):
    make(tmp_path)
    for file in (tmp_path / "TestA" / "Basophil").iterdir():
        file.unlink()
    (tmp_path / "TestA" / "Basophil").rmdir()
    (tmp_path / "Train" / "Monocyte" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "Train" / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "Train").mkdir(parents=True)
    assert Raabin(tmp_path).official_split()[1].class_counts()["basophil"] == 0


def test_what_is_not_right(tmp_path, make):
    make(tmp_path / "a")
    (tmp_path / "a" / "TestB").rename(tmp_path / "a" / "Test-B")
    with pytest.raises(DataError, match=r"missing: TestB \(nearest match: .*a\).*cellnet download raabin"):
        Raabin(tmp_path)
    (tmp_path / "a" / "TestB").mkdir()
    with pytest.raises(DataError, match=r"no class folder in .*TestB; it needs basophil, eosinophil"):
        Raabin(tmp_path)
    (tmp_path / "a" / "TestB" / "Neutrofil").mkdir()
    with pytest.raises(UnknownNameError, match=r"'Neutrofil'. Did you mean 'neutrophil'"):
        Raabin(tmp_path)
    (tmp_path / "a" / "TestB" / "Neutrofil").rename(tmp_path / "a" / "TestB" / "Neutrophil")
    with pytest.raises(DataError, match=r"No image in .*Neutrophil"):
        Raabin(tmp_path)


def test_download(tmp_path, make, fake_obtain):
    asked = fake_obtain(make)
    assert len(Raabin(tmp_path, download=True)) == 48
    assert asked == [["Train.rar", "TestA.rar", "TestB.zip"]]


def test_card_is_complete(check_card):
    check_card(Raabin)


def test_mapping():
    expected = {"basophil": 0, "eosinophil": 1, "lymphocyte": 4, "monocyte": 5, "neutrophil": 6}
    mapping = harmonise(Raabin.schema, PBC_LABELS)
    assert dict(zip(mapping.source.names, mapping.indices, strict=True)) == expected
    assert harmonise(Raabin.schema, LEUKOCYTES).indices == (0, 1, 2, 3, 4)
