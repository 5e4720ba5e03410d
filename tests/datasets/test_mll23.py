from __future__ import annotations

import pytest

from cellnet.datasets import CellFolder
from cellnet.datasets.mll23 import MLL23
from cellnet.errors import DataError, UnknownNameError
from cellnet.labels import LEUKOCYTES, PBC_LABELS, harmonise

TO_PBC = {
    "basophil": "basophil",
    "eosinophil": "eosinophil",
    "hairy_cell": None,
    "lymphocyte": "lymphocyte",
    "lymphocyte_large_granular": None,
    "lymphocyte_neoplastic": None,
    "lymphocyte_reactive": None,
    "metamyelocyte": "ig",
    "monocyte": "monocyte",
    "myeloblast": None,
    "myelocyte": "ig",
    "neutrophil_band": "neutrophil",
    "neutrophil_segmented": "neutrophil",
    "normoblast": "erythroblast",
    "plasma_cell": None,
    "promyelocyte": "ig",
    "promyelocyte_atypical": None,
    "smudge_cell": None,
}


@pytest.fixture
def make(write_image):
    def build(root):
        for name in TO_PBC:
            for number in (1, 2):
                file = write_image(root / name / f"{name}_{number:04d}.tiff")
                file.rename(file.with_suffix(".TIF"))
        return root

    return build


@pytest.mark.parametrize("nesting", [".", "MLL23_dataset", "mll23"])
def test_classes(tmp_path, make, nesting):
    make(tmp_path / nesting)
    (tmp_path / nesting / "basophil.zip").write_bytes(b"the archive beside its folder")
    dataset = MLL23(tmp_path)
    assert dataset.class_counts() == dict.fromkeys(TO_PBC, 2)
    assert dataset.image(0).shape == (3, 18, 20)


def test_folders_by_synonym_and_some_of_them_alone(tmp_path, make):
    make(tmp_path)
    (tmp_path / "normoblast").rename(tmp_path / "Erythroblast")
    (tmp_path / "neutrophil_band").rename(tmp_path / "band-neutrophil")
    assert MLL23(tmp_path).class_counts() == dict.fromkeys(TO_PBC, 2)
    for name in ("hairy_cell", "smudge_cell"):
        (tmp_path / name).rename(tmp_path / f".{name}")
    with pytest.raises(DataError, match=r"missing: hairy_cell, smudge_cell.*cellnet download mll23"):
        MLL23(tmp_path)
    assert len(CellFolder(tmp_path, labels=MLL23.schema)) == 32


def test_an_unknown_folder_is_named_with_those_expected(tmp_path, make):
    make(tmp_path)
    (tmp_path / "megakaryocyte").mkdir()
    with pytest.raises(UnknownNameError, match=r"'megakaryocyte'.*Known: basophil, eosinophil, hairy_cell"):
        MLL23(tmp_path)


def test_what_has_no_counterpart_is_kept_apart(tmp_path, make):
    dataset = MLL23(make(tmp_path))
    assert len(dataset.harmonise(PBC_LABELS)) == 20
    assert len(dataset.not_comparable(PBC_LABELS)) == 16
    assert len(dataset.not_comparable(LEUKOCYTES)) == 24


def test_download(tmp_path, make, fake_obtain):
    asked = fake_obtain(make)
    assert len(MLL23(tmp_path, download=True)) == 36
    assert asked == [[f"{name}.zip" for name in TO_PBC]]


def test_card_is_complete(check_card):
    check_card(MLL23)
    assert pytest.approx(25 / 288, abs=1e-4) == MLL23.card.microns_per_pixel


def test_mapping():
    mapping = harmonise(MLL23.schema, PBC_LABELS)
    assert mapping.source.names == tuple(TO_PBC)
    assert mapping.indices == tuple(None if name is None else PBC_LABELS.index(name) for name in TO_PBC.values())
    five = [name if name in LEUKOCYTES.names else None for name in TO_PBC.values()]
    expected = tuple(None if name is None else LEUKOCYTES.index(name) for name in five)
    assert harmonise(MLL23.schema, LEUKOCYTES).indices == expected


def test_what_is_finer_here_is_not_chosen_for_a_coarse_class():
    mapping = harmonise(PBC_LABELS, MLL23.schema)
    assert {"ig", "neutrophil"} <= set(mapping.not_comparable)
