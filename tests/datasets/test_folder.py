from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from cellnet.datasets import CellFolder
from cellnet.errors import DataError, LabelError, UnknownNameError
from cellnet.labels import PBC_LABELS


def save(path, colour="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), colour).save(path)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "smears"
    for name in ("Monocyte", "Basophil"):
        for i in range(3):
            save(folder / name / f"{i}.png", (i, len(name), 0))
    return folder


def test_folders_are_classes_in_alphabetical_order(root):
    dataset = CellFolder(root)
    assert dataset.labels.name == "smears"
    assert dataset.labels.names == ("basophil", "monocyte")
    assert dataset.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert [os.path.relpath(file, root) for file in dataset.files[:2]] == ["Basophil/0.png", "Basophil/1.png"]
    assert (dataset.card.name, dataset.card.title) == ("smears", "smears")
    assert (CellFolder.card.name, CellFolder.card.title) == ("folder", "Folder of images")


def test_the_same_order_as_torchvision(root):
    from torchvision.datasets import ImageFolder

    theirs = ImageFolder(root)
    ours = CellFolder(root)
    assert list(zip(ours.files, ours.targets.tolist(), strict=True)) == theirs.samples


def test_labels_resolve_folder_names(root):
    save(root / "baso" / "9.png")
    dataset = CellFolder(str(root), labels=PBC_LABELS)
    assert dataset.class_counts()["basophil"] == 4
    assert dataset.labels is PBC_LABELS
    save(root / "blast" / "0.png")
    with pytest.raises(UnknownNameError, match="blast"):
        CellFolder(root, labels=PBC_LABELS)


def test_folder_names_are_harmonised(root):
    assert CellFolder(root).harmonise(PBC_LABELS).class_counts()["monocyte"] == 3


def test_junk_is_skipped(root):
    save(root / "__MACOSX" / "Monocyte" / "._0.png")
    save(root / ".cache" / "0.png")
    save(root / "Monocyte" / ".hidden.png")
    (root / "Monocyte" / "notes.txt").write_text("x")
    (root / "README.md").write_text("x")
    assert len(CellFolder(root)) == 6


def test_deeper_folders_transform_and_exclude(root):
    save(root / "Monocyte" / "donor7" / "0.png", "blue")
    dataset = CellFolder(root, transform=lambda image: image.float().mean(), exclude=["Monocyte/1.png"])
    assert len(dataset) == 6
    assert dataset[0][0].ndim == 0


def test_bad_roots(root, tmp_path):
    with pytest.raises(DataError, match="No such folder"):
        CellFolder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="file, not a folder"):
        CellFolder(root / "Basophil" / "0.png")
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", root / "Basophil"):
        with pytest.raises(DataError, match="no class folder"):
            CellFolder(folder)
    (root / "Neutrophil").mkdir()
    with pytest.raises(DataError, match="Neutrophil"):
        CellFolder(root)


def test_two_folders_of_one_class_need_a_schema(root):
    save(root / "monocyte_" / "0.png")
    with pytest.raises(LabelError, match="two classes"):
        CellFolder(root)
    assert len(CellFolder(root, labels=PBC_LABELS)) == 7


def test_a_closed_folder_is_named(root, monkeypatch):
    monkeypatch.setattr(Path, "iterdir", deny)
    with pytest.raises(DataError, match=r"Cannot read .*smears.*permissions"):
        CellFolder(root)


def deny(folder):
    raise PermissionError(13, "Permission denied", str(folder))


def test_a_class_and_its_kind_may_have_folders_of_their_own(root):
    save(root / "neutrophil" / "0.png", "blue")
    save(root / "band neutrophil" / "0.png", "green")
    assert CellFolder(root).class_counts() == {"basophil": 3, "monocyte": 3, "band neutrophil": 1, "neutrophil": 1}
