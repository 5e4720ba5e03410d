from __future__ import annotations

import numpy as np

from cellnet.datasets.audit.files import image_sizes, stray_files


def test_a_rare_size_is_odd_where_most_images_have_one():
    sizes = np.array([[363, 360]] * 96 + [[360, 360]] * 3 + [[361, 360]])
    files = [f"{i}.jpg" for i in range(100)]
    usual, odd, single = image_sizes(sizes, files)
    assert (usual.width, usual.height, usual.images, usual.odd, usual.example) == (360, 363, 96, False, "0.jpg")
    assert (odd.images, odd.odd, odd.example) == (3, True, "96.jpg")
    assert (str(single), single.odd) == ("360×361 (1)", True)


def test_no_size_is_odd_where_all_differ():
    sizes = np.stack([np.arange(40, 60), np.arange(40, 60)], axis=1)
    assert not any(size.odd for size in image_sizes(sizes, ["a"] * 20))
    assert image_sizes(np.zeros((0, 2), np.int64), []) == ()


def test_names_that_are_no_files_lead_to_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("beside nothing")
    assert stray_files(["image_000000", "gone/a.png"]) == ()


def test_hidden_files_and_those_of_other_kinds_are_stray(tmp_path):
    for name in ("a.png", "B.JPG", ".DS_1.jpg", "Thumbs.db", "list.csv"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    found = stray_files([str(tmp_path / "a.png"), str(tmp_path / "gone.png")])
    assert [name.rpartition("/")[2] for name in found] == [".DS_1.jpg", "Thumbs.db", "list.csv"]
