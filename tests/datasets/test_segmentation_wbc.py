from __future__ import annotations

import pytest

from cellnet.datasets.segmentation_wbc import WBCCellaVision, WBCJiangxi
from cellnet.errors import DataError, LabelError
from cellnet.labels import LEUKOCYTES, PBC_LABELS, harmonise

BOTH = pytest.mark.parametrize(("kind", "number"), [(WBCJiangxi, 1), (WBCCellaVision, 2)])
HEADER = {1: "image ID,class label", 2: "image ID,class"}


@pytest.fixture
def make(write_image):
    def build(root, number, rows=("1,2", "2,1", "3,5", "4,3", "5,4"), header=None):
        for i in range(1, 6):
            write_image(root / f"Dataset {number}" / f"{i:03d}.bmp")
            write_image(root / f"Dataset {number}" / f"{i:03d}.png")
        table = root / f"Class Labels of Dataset {number}.csv"
        table.write_text("\r\n".join([header or HEADER[number], *rows]) + "\r\n", encoding="utf-8-sig")
        return root

    return build


@BOTH
@pytest.mark.parametrize("nesting", [".", "segmentation_WBC-master", "wbc/segmentation_WBC"])
def test_classes_and_masks(tmp_path, make, kind, number, nesting):
    root = make(make(tmp_path / nesting, 1), 2)
    (root / f"Dataset {number}" / "006.bmp").write_bytes(b"an image without label is none")
    dataset = kind(tmp_path)
    assert [dataset.labels.names[target] for target in dataset.targets] == [
        "lymphocyte", "neutrophil", "basophil", "monocyte", "eosinophil",
    ]  # fmt: skip
    assert dataset.image(0).shape == (3, 18, 20)
    assert dataset.files[2].endswith("003.bmp")
    chosen = dataset.subset([2, 0])
    assert [mask[-7:] for mask in chosen.masks] == ["003.png", "001.png"]


@BOTH
def test_a_mask_may_be_absent(tmp_path, make, kind, number):
    make(tmp_path, number)
    (tmp_path / f"Dataset {number}" / "002.png").unlink()
    assert [mask is None for mask in kind(tmp_path).masks] == [False, True, False, False, False]


@BOTH
@pytest.mark.parametrize(
    ("rows", "header", "error", "words"),
    [
        (["1,6"], None, LabelError, "gives image 1 the class '6'; it must be 1 to 5"),
        (["1,neutrophil"], None, LabelError, "the class 'neutrophil'"),
        (["1,2", "1,2"], None, DataError, "1 stands twice in .*, in lines 2 and 3"),
        (["1,2,3"], None, DataError, "Line 2 of .* has 3 values for 2 columns"),
        (["7,2", "8,2"], None, DataError, r"names 2 images that are not in .*Dataset ., such as 007\.bmp"),
        (["1,2"], "image ID,type", DataError, r"unknown columns: type; missing columns: class.*; it needs image ID"),
        (["1,2,3"], "image ID,class,class label", DataError, "unknown columns: class"),
        (["1,2"], "image ID,image ID", DataError, "missing columns: class"),
        ([], None, DataError, "has a header and no further line"),
    ],
)
def test_tables_that_are_not_right(tmp_path, make, kind, number, rows, header, error, words):
    make(tmp_path, number, rows, header)
    with pytest.raises(error, match=words):
        kind(tmp_path)


@BOTH
def test_no_table_and_no_text(tmp_path, make, kind, number):
    make(tmp_path, number)
    table = tmp_path / f"Class Labels of Dataset {number}.csv"
    table.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="is not a CSV table"):
        kind(tmp_path)
    table.write_bytes(b"")
    with pytest.raises(DataError, match="is not a CSV table"):
        kind(tmp_path)
    table.unlink()
    with pytest.raises(DataError, match=f"missing: Class Labels of Dataset {number}.csv.*cellnet download wbc_"):
        kind(tmp_path)
    table.mkdir()
    with pytest.raises(DataError, match=r"Cannot read .*csv"):
        kind(tmp_path)


@BOTH
def test_download(tmp_path, make, fake_obtain, kind, number):
    asked = fake_obtain(lambda folder: make(make(folder / "segmentation_WBC-master", 1), 2))
    assert len(kind(tmp_path, download=True)) == 5
    assert asked == [["segmentation_WBC-master.zip"]]


@BOTH
def test_card_is_complete(check_card, kind, number):
    check_card(kind)


@BOTH
def test_mapping(kind, number):
    expected = {"basophil": 0, "eosinophil": 1, "lymphocyte": 4, "monocyte": 5, "neutrophil": 6}
    mapping = harmonise(kind.schema, PBC_LABELS)
    assert dict(zip(mapping.source.names, mapping.indices, strict=True)) == expected
    assert harmonise(kind.schema, LEUKOCYTES).indices == (0, 1, 2, 3, 4)
