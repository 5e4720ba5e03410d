from __future__ import annotations

import pytest

from cellnet.datasets.pbc import PBC
from cellnet.datasets.wbcatt import ATTRIBUTES, TABLES, WBCAtt
from cellnet.errors import DataError, UnknownNameError
from cellnet.labels import LEUKOCYTES, PBC_LABELS, harmonise

COLUMNS = ("img_name", "label", *ATTRIBUTES, "path")
PARTS_OF = {"train": (0, 1, 2), "val": (3,), "test": (4, 5)}


def row(image, label, number=0, **changes):
    values = {name: words[number % len(words)] for name, words in ATTRIBUTES.items()}
    values |= {"img_name": image, "label": label, "path": f"PBC_dataset_normal_DIB/{label.lower()}/{image}"} | changes
    return values


def rows(part):
    return [
        row(f"{name[:2].upper()}_{i}.jpg", name.capitalize(), i) for name in LEUKOCYTES.names for i in PARTS_OF[part]
    ]


def write_table(root, part, content, columns=COLUMNS):
    lines = [columns, *([values.get(name, "") for name in columns] for values in content)]
    (root / TABLES[part]).write_text("\r\n".join(map(",".join, lines)) + "\r\n")


def make_tables(root):
    root.mkdir(parents=True, exist_ok=True)
    for part in TABLES:
        write_table(root, part, rows(part))
    return root


@pytest.fixture
def make_pbc(write_image):
    def build(root):
        for name in PBC_LABELS.names:
            for i in range(6):
                write_image(root / name / f"{name[:2].upper()}_{i}.jpg")
        return root

    return build


@pytest.mark.parametrize(
    ("tables", "images"),
    [(".", "."), ("wbcatt", "PBC_dataset_normal_DIB"), ("wbcatt/submission", "pbc/PBC_dataset_normal_DIB")],
)
def test_attributes_are_joined_to_the_images(tmp_path, make_pbc, tables, images):
    make_tables(tmp_path / tables)
    make_pbc(tmp_path / images)
    dataset = WBCAtt(tmp_path)
    assert (len(dataset), dataset.left_out) == (30, 0)
    assert dataset.labels is LEUKOCYTES
    assert set(dataset.class_counts().values()) == {6}
    assert dataset.attributes.dtype.names == tuple(ATTRIBUTES)
    for file, values in zip(dataset.files, dataset.attributes, strict=True):
        number = int(file[-5])
        assert values["nucleus_shape"] == ATTRIBUTES["nucleus_shape"][number]
        assert values["cell_size"] == ATTRIBUTES["cell_size"][number % 2]


def test_the_attributes_are_its_subgroups(tmp_path, make_pbc):
    part = WBCAtt(make_tables(make_pbc(tmp_path))).subset([3, 1])
    assert {name: list(part.attributes[name]) for name in ATTRIBUTES} == part.subgroups()


def test_attributes_follow_every_choice(tmp_path, make_pbc):
    dataset = WBCAtt(make_tables(make_pbc(tmp_path)))
    for part in (*dataset.split((0.5, 0.5)), dataset.subset([7, 3]), dataset.harmonise(PBC_LABELS)):
        shapes = part.attributes["nucleus_shape"]
        assert [ATTRIBUTES["nucleus_shape"][int(file[-5])] for file in part.files] == shapes.tolist()
    assert WBCAtt(tmp_path, exclude=["basophil/BA_0.jpg"]).attributes["cell_size"].shape == (29,)


def test_official_split(tmp_path, make_pbc):
    parts = WBCAtt(make_tables(make_pbc(tmp_path))).official_split()
    assert [(part.part, len(part)) for part in parts] == [("train", 15), ("val", 5), ("test", 10)]


def test_rows_without_image_are_counted(tmp_path, make_pbc):
    make_tables(make_pbc(tmp_path))
    for i in (0, 4):
        (tmp_path / "monocyte" / f"MO_{i}.jpg").unlink()
    dataset = WBCAtt(tmp_path)
    assert (len(dataset), dataset.left_out) == (28, 2)
    for file in tmp_path.rglob("*_?.jpg"):
        file.rename(file.with_name(f"x{file.name}"))
    with pytest.raises(DataError, match=r"None of the 30 images of .* is in .*; give PBC's own images"):
        WBCAtt(tmp_path)


@pytest.mark.parametrize(
    ("content", "columns", "error", "words"),
    [
        (
            [row("BA_3.jpg", "Basophil")],
            (*COLUMNS, "mood"),
            DataError,
            r"pbc_attr_v1_val\.csv has unknown columns: mood",
        ),
        ([row("BA_3.jpg", "Basophil")], COLUMNS[:-2], DataError, "missing columns: granularity, path"),
        ([row("BA_3.jpg", "Basophil")], (*COLUMNS, "label"), DataError, "has a column twice; it needs img_name"),
        ([row("BA_3.jpg", "Basophil")] * 2, COLUMNS, DataError, r"BA_3\.jpg stands twice in .*, in lines 2 and 3"),
        ([row("BA_0.jpg", "Basophil")], COLUMNS, DataError, r"BA_0\.jpg stands in .*train\.csv and in .*val\.csv"),
        (
            [row("BA_3.jpg", "Basophil", cell_size="huge")],
            COLUMNS,
            UnknownNameError,
            r"cell_size of BA_3\.jpg in .*val\.csv 'huge'.*Known: big, small",
        ),
        ([row("BA_3.jpg", "Blast")], COLUMNS, UnknownNameError, "'Blast'"),
        ([], COLUMNS, DataError, "no further line"),
    ],
)
def test_tables_that_are_not_right(tmp_path, make_pbc, content, columns, error, words):
    make_tables(make_pbc(tmp_path))
    write_table(tmp_path, "val", content, columns)
    with pytest.raises(error, match=words):
        WBCAtt(tmp_path)


def test_tables_or_images_are_missing(tmp_path, make_pbc):
    make_pbc(tmp_path / "a")
    with pytest.raises(DataError, match=r"missing: pbc_attr_v1_train\.csv, .*cellnet download wbcatt"):
        WBCAtt(tmp_path)
    make_tables(tmp_path / "b")
    with pytest.raises(DataError, match=r"missing: basophil.*cellnet download pbc"):
        WBCAtt(tmp_path / "b")


def test_download_fetches_what_is_not_there(tmp_path, make_pbc, fake_obtain):
    asked = fake_obtain(lambda folder: make_tables(folder) if folder.name == "wbcatt" else make_pbc(folder))
    assert len(WBCAtt(tmp_path, download=True)) == 30
    assert asked == [[file.name for file in PBC.card.files], list(TABLES.values())]
    assert PBC.find(tmp_path) == tmp_path / "pbc"
    assert len(WBCAtt(tmp_path, download=True)) == 30
    assert len(asked) == 2


def test_card_is_complete(check_card):
    check_card(WBCAtt)
    assert len(ATTRIBUTES) == 11


def test_mapping():
    expected = {"basophil": 0, "eosinophil": 1, "lymphocyte": 4, "monocyte": 5, "neutrophil": 6}
    mapping = harmonise(WBCAtt.schema, PBC_LABELS)
    assert dict(zip(mapping.source.names, mapping.indices, strict=True)) == expected
    assert harmonise(WBCAtt.schema, LEUKOCYTES).indices == (0, 1, 2, 3, 4)
