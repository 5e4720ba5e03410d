from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from cellnet.datasets.bccd import BCCD, BCCDCropped
from cellnet.errors import ConfigError, DataError, LabelError, UnknownNameError
from cellnet.labels import LEUKOCYTES, PBC_LABELS, harmonise

SIZE = (64, 48)
OBJECT = (
    "<object><name>{}</name><pose>Unspecified</pose><bndbox>"
    "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
BOXES = [("WBC", 11, 5, 30, 20), ("RBC", 1, 1, 10, 10), ("Platelets", 60, 40, 64, 48)]
PARTS = {"train": (0, 1), "val": (2,), "test": (3,)}


def annotate(root, number, objects=BOXES, size=SIZE):
    text = f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    text += "".join(OBJECT.format(*thing) for thing in objects) + "</annotation>"
    path = root / "Annotations" / f"BloodImage_{number:05d}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make(root, photographs=4):
    for number in range(photographs):
        annotate(root, number)
        (root / "JPEGImages").mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (*SIZE[::-1], 3), np.uint8)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"BloodImage_{number:05d}.jpg", quality=100)
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for part, numbers in PARTS.items():
        (lists / f"{part}.txt").write_text("".join(f"BloodImage_{number:05d}\n" for number in numbers))
    (lists / "trainval.txt").write_text("BloodImage_00003\n")
    return root


class TestPhotographs:
    @pytest.mark.parametrize("nesting", [".", "BCCD", "BCCD_Dataset-1.0/BCCD", "bccd/BCCD_Dataset-master/BCCD"])
    def test_images_are_the_boxes(self, tmp_path, nesting):
        root = make(tmp_path / nesting)
        (root / "Annotations" / ".DS_Store").write_bytes(b"x")
        (root / "Annotations" / "._BloodImage_00000.xml").write_bytes(b"\0\5\26\7")
        dataset = BCCD(tmp_path)
        assert len(dataset) == 12
        assert dataset.class_counts() == {"RBC": 4, "WBC": 4, "Platelets": 4}
        photograph = np.asarray(Image.open(root / "JPEGImages" / "BloodImage_00001.jpg"))
        for row, (left, top, right, bottom) in zip((3, 4, 5), [(10, 4, 30, 20), (0, 0, 10, 10), (59, 39, 64, 48)],
                                                   strict=True):  # fmt: skip
            expected = torch.from_numpy(photograph[top:bottom, left:right].copy()).permute(2, 0, 1)
            assert torch.equal(dataset.image(row), expected)
        assert dataset.files[3].endswith("BloodImage_00001.jpg#xywh=10,4,20,16")
        assert len(set(dataset.files)) == 12
        assert len(set(dataset.content_hashes())) == 12

    def test_official_parts_and_photographs_stay_whole(self, tmp_path):
        dataset = BCCD(make(tmp_path))
        assert [(part.part, len(part)) for part in dataset.official_split()] == [("train", 6), ("val", 3), ("test", 3)]
        assert dataset.groups[:4].tolist() == ["BloodImage_00000"] * 3 + ["BloodImage_00001"]
        where = [set(part.groups) for part in dataset.split((0.5, 0.5), seed=1)]
        assert not where[0] & where[1]

    def test_without_lists_there_are_no_parts(self, tmp_path):
        make(tmp_path)
        for file in (tmp_path / "ImageSets" / "Main").iterdir():
            file.unlink()
        with pytest.raises(DataError, match="no official split"):
            BCCD(tmp_path).official_split()

    def test_a_list_that_is_no_text(self, tmp_path):
        make(tmp_path)
        (tmp_path / "ImageSets" / "Main" / "val.txt").write_bytes(b"\xff\xfe")
        with pytest.raises(DataError, match=r"val\.txt is not a list of photographs"):
            BCCD(tmp_path)

    def test_a_photograph_in_two_lists(self, tmp_path):
        make(tmp_path)
        (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("BloodImage_00000\n")
        with pytest.raises(DataError, match=r"BloodImage_00000 stands in train\.txt and in .*val\.txt"):
            BCCD(tmp_path)

    def test_margin(self, tmp_path):
        make(tmp_path)
        dataset = BCCD(tmp_path, margin=0.25)
        assert [tuple(dataset.image(row).shape[1:]) for row in range(3)] == [(16 + 8, 20 + 10), (12, 12), (11, 6)]
        assert "#xywh=5,0,30,24" in dataset.files[0]
        for margin in (-0.1, float("nan"), float("inf"), "0.1", True):
            with pytest.raises(ConfigError, match=r"margin=.* must be a number of at least 0"):
                BCCD(tmp_path, margin=margin)

    def test_boxes_that_reach_over_the_border_are_cut_off_there(self, tmp_path):
        make(tmp_path)
        annotate(tmp_path, 0, [("WBC", -4, 0, 10, 99)])
        assert BCCD(tmp_path).image(0).shape == (3, 48, 10)

    @pytest.mark.parametrize("margin", [0.0, 3.0])
    def test_boxes_without_a_cell_are_left_out_and_counted(self, tmp_path, margin):
        make(tmp_path)
        annotate(
            tmp_path,
            0,
            [*BOXES, ("RBC", 5, 5, 5, 5), ("RBC", 9, 9, 3, 3), ("WBC", 70, 5, 90, 20), ("RBC", 1, 48, 9, 99)],
        )
        dataset = BCCD(tmp_path, margin=margin)
        assert (len(dataset), dataset.left_out) == (12, 4)
        assert all(dataset.image(row).numel() for row in range(12))

    def test_misspelt_names(self, tmp_path):
        make(tmp_path)
        annotate(tmp_path, 2, [("Platelet", 1, 1, 9, 9)])  # the class, in the singular
        assert BCCD(tmp_path).class_counts()["Platelets"] == 4
        annotate(tmp_path, 2, [("WCB", 1, 1, 9, 9)])
        with pytest.raises(
            UnknownNameError, match=r"class in .*BloodImage_00002\.xml 'WCB'.*Known: Platelets, RBC, WBC"
        ):
            BCCD(tmp_path)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "document type, which is not safe"),
            ("<annotation><object>", "is not a Pascal VOC annotation"),
            ("<annotation/>", "it has no size/width"),
            ("", "is not a Pascal VOC annotation"),
            ("<annotation><size><width>64</width><height>x</height></size></annotation>", "could not convert"),
            ("<annotation><size><width>64</width><height>inf</height></size></annotation>", "infinity"),
            (
                "<annotation><size><width>64</width><height>48</height></size>"
                "<object><name>RBC</name></object></annotation>",
                "it has no bndbox/xmin",
            ),
        ],
    )
    def test_annotations_that_are_not_right(self, tmp_path, text, words):
        make(tmp_path)
        (tmp_path / "Annotations" / "BloodImage_00001.xml").write_text(text)
        with pytest.raises(DataError, match=rf"BloodImage_00001\.xml .*{words}"):
            BCCD(tmp_path)

    def test_entities_do_not_hide_in_another_encoding(self, tmp_path):
        make(tmp_path)
        text = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY b "c">]><annotation/>'
        (tmp_path / "Annotations" / "BloodImage_00001.xml").write_bytes(text.encode("utf-16"))
        with pytest.raises(DataError, match="BloodImage_00001"):
            BCCD(tmp_path)

    def test_missing_photographs_folders_and_annotations(self, tmp_path):
        make(tmp_path)
        (tmp_path / "JPEGImages" / "BloodImage_00003.jpg").unlink()
        with pytest.raises(DataError, match=r"photograph of .*BloodImage_00003\.xml is missing"):
            BCCD(tmp_path)
        for file in (tmp_path / "Annotations").iterdir():
            file.unlink()
        with pytest.raises(DataError, match="no box in the annotations"):
            BCCD(tmp_path)
        (tmp_path / "Annotations").rmdir()
        with pytest.raises(DataError, match=r"missing: Annotations.*cellnet download bccd"):
            BCCD(tmp_path)

    def test_download(self, tmp_path, fake_obtain):
        asked = fake_obtain(lambda folder: make(folder / "BCCD_Dataset-1.0" / "BCCD"))
        assert len(BCCD(tmp_path, download=True, margin=0.1)) == 12
        assert asked == [["BCCD_Dataset-1.0.zip"]]

    def test_card_is_complete(self, check_card):
        check_card(BCCD)

    def test_mapping(self):
        mapping = harmonise(BCCD.schema, PBC_LABELS)
        expected = {"RBC": None, "WBC": None, "Platelets": PBC_LABELS.index("platelet")}
        assert dict(zip(mapping.source.names, mapping.indices, strict=True)) == expected
        with pytest.raises(LabelError, match="No class of 'bccd'"):
            harmonise(BCCD.schema, LEUKOCYTES)


FIVE = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


class TestCropped:
    @pytest.fixture
    def make(self, write_image):
        def build(root, stem="BloodImage"):
            for number, name in enumerate(FIVE):
                for cell in range(4):
                    write_image(root / name / f"{stem}_{2 * number + cell // 2:05d}_{cell}.jpg")
            return root

        return build

    @pytest.mark.parametrize("nesting", [".", "BCCD_cropped", "bccd_cropped/BCCD-73e268a/BCCD_cropped"])
    def test_classes_and_photographs(self, tmp_path, make, nesting):
        make(tmp_path / nesting)
        dataset = BCCDCropped(tmp_path)
        assert dataset.labels is LEUKOCYTES
        assert set(dataset.class_counts().values()) == {4}
        assert dataset.groups[:4].tolist() == ["BloodImage_00000"] * 2 + ["BloodImage_00001"] * 2
        where = [set(part.groups) for part in dataset.split((0.5, 0.5))]
        assert not where[0] & where[1]

    def test_another_set_with_the_same_folders_is_not_taken(self, tmp_path, make):
        make(tmp_path / "raabin" / "Train", "20190527")
        with pytest.raises(DataError, match="missing: images named BloodImage_NNNNN_N"):
            BCCDCropped(tmp_path)
        make(tmp_path / "z")
        assert BCCDCropped.find(tmp_path) == tmp_path / "z"

    def test_missing_empty_and_unknown_folders(self, tmp_path, make):
        make(tmp_path)
        (tmp_path / "Monocyte").rename(tmp_path / "Monozyt")
        with pytest.raises(DataError, match=r"missing: monocyte.*cellnet download bccd_cropped"):
            BCCDCropped(tmp_path)
        (tmp_path / "Monocyte").mkdir()
        with pytest.raises(UnknownNameError, match="'Monozyt'"):
            BCCDCropped(tmp_path)
        (tmp_path / "Monozyt").rename(tmp_path / ".hidden")
        with pytest.raises(DataError, match=r"No image in .*Monocyte"):
            BCCDCropped(tmp_path)

    def test_download(self, tmp_path, make, fake_obtain):
        asked = fake_obtain(lambda folder: make(folder / "BCCD-73e268a" / "BCCD_cropped"))
        assert len(BCCDCropped(tmp_path, download=True)) == 20
        assert asked == [["BCCD-73e268a.zip"]]

    def test_card_is_complete(self, check_card):
        check_card(BCCDCropped)

    def test_mapping(self):
        mapping = harmonise(BCCDCropped.schema, PBC_LABELS)
        expected = {"basophil": 0, "eosinophil": 1, "lymphocyte": 4, "monocyte": 5, "neutrophil": 6}
        assert dict(zip(mapping.source.names, mapping.indices, strict=True)) == expected
        assert harmonise(BCCDCropped.schema, LEUKOCYTES).indices == (0, 1, 2, 3, 4)
