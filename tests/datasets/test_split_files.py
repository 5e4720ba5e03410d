from __future__ import annotations

import csv
import re

import numpy as np
import pytest
from PIL import Image

from cellnet.datasets import CellDataset, read_split, split_hash, write_split
from cellnet.errors import DataError, UnknownNameError
from cellnet.labels import LabelSchema

SCHEMA = LabelSchema.from_names(["lymphocyte", "monocyte"], name="two")


@pytest.fixture
def cells(tmp_path):
    """Ten PNG files of two classes; lymphocyte/0.png and monocyte/9.png are the same picture."""
    files = []
    for i in range(10):
        files.append(tmp_path / "cells" / SCHEMA.names[i // 5] / f"{i}.png")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i % 9).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(files[-1])
    return CellDataset(files, [i // 5 for i in range(10)], SCHEMA)


@pytest.fixture
def written(cells, tmp_path):
    path = tmp_path / "split.csv"
    parts = cells.split((0.4, 0.3, 0.3), seed=1)
    return path, parts, write_split(path, *parts)


def edit(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def test_what_is_written_is_read(cells, written):
    path, parts, split = written
    again = read_split(path, cells)
    assert [part.part for part in again] == ["train", "val", "test"]
    assert [part.files for part in again] == [part.files for part in parts]
    assert re.fullmatch("[0-9a-f]{16}", split)
    rows = list(csv.DictReader(path.open()))
    assert {row["split"] for row in rows} == {split}
    assert {row["file"] for row in rows} == {f"{name}/{i}.png" for i in range(10) for name in [SCHEMA.names[i // 5]]}


def test_the_hash_follows_the_split_and_nothing_else(cells, written, tmp_path):
    assert split_hash(*written[1]) == written[2]
    _, parts, split = written
    assert write_split(tmp_path / "b.csv", *reversed(parts)) == split
    assert write_split(tmp_path / "c.csv", *cells.split((0.4, 0.3, 0.3), seed=2)) != split


def test_renamed_files_and_another_order_are_found(cells, written):
    path, parts, _ = written
    renamed = CellDataset(
        [f"elsewhere/{i}.jpg" for i in range(10)], cells.targets[::-1], SCHEMA, images=cells._source
    ).subset(range(10))
    renamed._rows = renamed._rows[::-1]
    again = read_split(path, renamed)
    assert [sorted(part.content_hashes()) for part in again] == [sorted(part.content_hashes()) for part in parts]


def test_identical_images_keep_their_own_labels(cells, written):
    twins = [part for part in read_split(written[0], cells) if len(set(part.content_hashes())) < len(part)]
    assert len(twins) == 1
    assert {"0.png", "9.png"} <= {file.rpartition("/")[2] for file in twins[0].files}


def test_images_that_the_split_does_not_name_are_in_no_part(cells, tmp_path):
    part = cells.subset(range(1, 9)).split((0.5, 0.5))
    write_split(tmp_path / "s.csv", *part)
    assert sum(map(len, read_split(tmp_path / "s.csv", cells))) == 8


@pytest.mark.parametrize(
    ("old", "new"), [("train", "test"), ("lymphocyte,", "monocyte,"), ("monocyte/6.png", "monocyte/66.png")]
)
def test_a_change_is_noticed(cells, written, old, new):
    edit(written[0], old, new)
    with pytest.raises(DataError, match="was altered after it was written"):
        read_split(written[0], cells)


def test_a_lost_row_is_noticed(cells, written):
    lines = written[0].read_text().splitlines()
    written[0].write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match="cut off"):
        read_split(written[0], cells)


def test_other_files_are_refused(cells, written, tmp_path):
    with pytest.raises(DataError, match="Cannot read the split"):
        read_split(tmp_path / "none.csv", cells)
    (tmp_path / "other.csv").write_text("img_name,label\na.png,b\n")
    with pytest.raises(DataError, match="has not the columns file, label, part, sha256, split"):
        read_split(tmp_path / "other.csv", cells)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match="is not a split"):
        read_split(tmp_path / "empty.csv", cells)
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match="is not a split"):
        read_split(tmp_path / "image.csv", cells)
    edit(written[0], ",val,", ",validation,")
    with pytest.raises(UnknownNameError, match="'validation'"):
        read_split(written[0], cells)


def test_other_data_are_refused(cells, written):
    with pytest.raises(DataError, match="is not in the data set"):
        read_split(written[0], cells.subset(range(9)))
    swapped = CellDataset(cells.files, 1 - cells.targets, SCHEMA)
    with pytest.raises(DataError, match=r"is 'lymphocyte' in .* and 'monocyte' in the data set"):
        read_split(written[0], swapped)


def test_one_image_in_two_parts_is_refused(cells, tmp_path):
    write_split(tmp_path / "s.csv", cells.subset([0, 5], "train"), cells.subset([9, 1], "test"))
    with pytest.raises(DataError, match=r"stands in train and in test: monocyte/9\.png"):
        read_split(tmp_path / "s.csv", cells)


def test_parts_need_names_and_images(cells, tmp_path):
    for parts in ([cells], [cells.subset([0], "train"), cells.subset([1], "train")]):
        with pytest.raises(DataError, match="needs a name of its own"):
            write_split(tmp_path / "s.csv", *parts)
    with pytest.raises(DataError, match="'val' is empty"):
        write_split(tmp_path / "s.csv", cells.subset([], "val"))
    assert not (tmp_path / "s.csv").exists()


def test_an_image_twice_in_a_part_is_named_as_such(cells, tmp_path):
    write_split(tmp_path / "s.csv", cells.subset([1, 1], "train"), cells.subset([6], "test"))
    with pytest.raises(DataError, match=r"lymphocyte/1\.png .* but less often than the split"):
        read_split(tmp_path / "s.csv", cells)
