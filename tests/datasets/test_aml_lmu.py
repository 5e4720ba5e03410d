from __future__ import annotations

import pytest

from cellnet.datasets.aml_lmu import AMLLMU
from cellnet.download import fetch
from cellnet.errors import DataError, UnknownNameError
from cellnet.labels import LEUKOCYTES, PBC_LABELS, harmonise

TO_PBC = {
    "BAS": "basophil",
    "EBO": "erythroblast",
    "EOS": "eosinophil",
    "KSC": None,
    "LYA": None,
    "LYT": "lymphocyte",
    "MMZ": "ig",
    "MOB": None,
    "MON": "monocyte",
    "MYB": "ig",
    "MYO": None,
    "NGB": "neutrophil",
    "NGS": "neutrophil",
    "PMB": None,
    "PMO": "ig",
}


@pytest.fixture
def make(write_image):
    def build(root):
        for code in TO_PBC:
            for number in (1, 2):
                write_image(root / code / f"{code}_{number:04d}.tiff")
        (root / "annotations.dat").write_text("BAS/BAS_0001.tiff BAS")
        return root

    return build


@pytest.mark.parametrize("nesting", [".", "AML-Cytomorphology_LMU", "aml_lmu/PKG - AML-Cytomorphology_LMU/AML"])
def test_classes(tmp_path, make, nesting):
    make(tmp_path / nesting)
    (tmp_path / "__MACOSX" / "BAS").mkdir(parents=True)
    dataset = AMLLMU(tmp_path)
    assert dataset.class_counts() == dict.fromkeys(TO_PBC, 2)
    assert dataset.image(0).shape == (3, 18, 20)
    assert dataset.groups is None


def test_what_has_no_counterpart_is_kept_apart(tmp_path, make):
    dataset = AMLLMU(make(tmp_path))
    comparable, other = dataset.harmonise(PBC_LABELS), dataset.not_comparable(PBC_LABELS)
    assert comparable.class_counts() == {
        "basophil": 2, "eosinophil": 2, "erythroblast": 2, "ig": 6, "lymphocyte": 2, "monocyte": 2, "neutrophil": 4,
        "platelet": 0,
    }  # fmt: skip
    assert {other.labels.names[target] for target in other.targets} == {"KSC", "LYA", "MOB", "MYO", "PMB"}
    assert len(comparable) + len(other) == len(dataset)


def test_missing_and_unknown_folders(tmp_path, make):
    make(tmp_path)
    (tmp_path / "KSC").rename(tmp_path / "XYZ")
    with pytest.raises(DataError, match=r"missing: KSC\. Get the data from https://doi\.org/10\.7937.*Aspera"):
        AMLLMU(tmp_path)
    (tmp_path / "smudge cell").mkdir()  # a synonym will do
    with pytest.raises(UnknownNameError, match=r"'XYZ'.*Known: BAS, EBO"):
        AMLLMU(tmp_path)


def test_download_by_hand_says_how(tmp_path, make):
    with pytest.raises(DataError, match=r"AML-Cytomorphology_LMU\.zip.*cancerimagingarchive"):
        AMLLMU(tmp_path, download=True)
    with pytest.raises(DataError, match="Aspera"):
        fetch(AMLLMU.card.files[0], tmp_path)
    assert len(AMLLMU(make(tmp_path), download=True)) == 30


def test_card_is_complete(check_card):
    check_card(AMLLMU)


def test_mapping():
    mapping = harmonise(AMLLMU.schema, PBC_LABELS)
    assert mapping.source.names == tuple(TO_PBC)
    assert mapping.indices == tuple(None if name is None else PBC_LABELS.index(name) for name in TO_PBC.values())
    five = [name if name in LEUKOCYTES.names else None for name in TO_PBC.values()]
    expected = tuple(None if name is None else LEUKOCYTES.index(name) for name in five)
    assert harmonise(AMLLMU.schema, LEUKOCYTES).indices == expected
