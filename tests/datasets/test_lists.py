from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellnet.datasets import CellDataset, CellFolder, PackedCells, pack, read_list, split_hash, write_list, write_split
from cellnet.errors import DataError
from cellnet.labels import LabelSchema


def write_cells(root: Path, count: int) -> CellFolder:
    """Images of two classes: a/0.png, b/1.png, a/2.png and so on."""
    for i in range(count):
        file = root / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)).save(file)
    return CellFolder(root)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cells = write_cells(tmp_path / "cells", 12)
    some = cells.subset([7, 2, 11])
    write_list(tmp_path / "some.txt", some)
    assert (tmp_path / "some.txt").read_text().splitlines() == sorted(
        f"{Path(file).parent.name}/{Path(file).name}" for file in some.files
    )
    assert read_list(tmp_path / "some.txt", cells).files == [cells.files[i] for i in (2, 7, 11)]


def test_the_same_images_are_split_alike_among_others(tmp_path: Path) -> None:
    few, many = write_cells(tmp_path / "few", 20), write_cells(tmp_path / "many", 50)
    write_list(tmp_path / "few.txt", few)
    chosen = read_list(tmp_path / "few.txt", many)
    wanted = split_hash(*few.split((0.5, 0.5), seed=3))
    assert split_hash(*chosen.split((0.5, 0.5), seed=3)) == wanted != split_hash(*many.split((0.5, 0.5), seed=3))
    pack(many, tmp_path / "packed")
    packed = read_list(tmp_path / "few.txt", PackedCells(tmp_path / "packed"))
    assert split_hash(*packed.split((0.5, 0.5), seed=3)) == wanted


def test_lists_may_be_written_by_hand(tmp_path: Path) -> None:
    cells = write_cells(tmp_path / "cells", 4)
    file = tmp_path / "list.txt"
    file.write_bytes("\ufeff# two of them\r\n\r\n  A/2.PNG \r\n/elsewhere/b/1.png\r\na/2.png".encode())
    assert [Path(file).name for file in read_list(file, cells).files] == ["2.png", "1.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# nothing\n\n", "names no image"),
        (b"a/0.png\na/1.png\nb/7.png\n", r"2 of 3 images in the list .* the first is a/1.png; give the data"),
        (b"\xff\xfe\x00", "it is not text"),
        (None, "No such file"),
    ],
)
def test_lists_that_cannot_be_used(content: bytes | None, message: str, tmp_path: Path) -> None:
    cells, file = write_cells(tmp_path / "cells", 4), tmp_path / "list.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_list(file, cells)


def test_a_list_of_nothing_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        write_list(tmp_path / "none.txt", write_cells(tmp_path / "cells", 2).subset([]))
    assert not (tmp_path / "none.txt").exists()


def test_images_of_one_folder_and_name_are_told_apart_or_refused(tmp_path: Path) -> None:
    for number, name in enumerate(("lymphocyte", "monocyte")):
        file = tmp_path / "cells" / name / "donor1" / "0.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(file)
    cells = CellFolder(tmp_path / "cells")
    with pytest.raises(DataError, match=r"would be one line of a list, donor1/0\.png"):
        write_list(tmp_path / "all.txt", cells)
    write_list(tmp_path / "one.txt", cells.subset([1, 1]))
    with pytest.raises(DataError, match=r"donor1/0\.png in the list .* could be .*write the folders above"):
        read_list(tmp_path / "one.txt", cells)
    (tmp_path / "one.txt").write_text("Monocyte\\donor1\\0.png\n")
    assert read_list(tmp_path / "one.txt", cells).files == [cells.files[1]]


@pytest.mark.parametrize("name", ["#1 type/a.png", "a/b.png ", "a/b\n.png"])
def test_names_that_a_list_cannot_hold_are_not_written(name: str, tmp_path: Path) -> None:
    cells = CellDataset([name], [0], LabelSchema.from_names(["a"]), images=np.zeros((1, 3, 8, 8), np.uint8))
    with pytest.raises(DataError, match="cannot stand in a list"):
        write_list(tmp_path / "some.txt", cells)


def test_names_that_are_no_text_are_not_written(tmp_path: Path) -> None:
    name = b"a/\xff.png".decode("utf-8", "surrogateescape")
    cells = CellDataset(
        [name], [0], LabelSchema.from_names(["a"]), images=np.zeros((1, 3, 8, 8), np.uint8), part="test"
    )
    with pytest.raises(DataError, match="not UTF-8"):
        write_list(tmp_path / "some.txt", cells)
    with pytest.raises(DataError, match="not UTF-8"):
        write_split(tmp_path / "some.csv", cells)
    assert not list(tmp_path.iterdir())
