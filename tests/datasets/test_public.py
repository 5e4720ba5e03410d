"""What all published sets share, on a set of three files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cellnet.cards import DatasetCard
from cellnet.datasets.public import Contents, PublicDataset
from cellnet.errors import DataError
from cellnet.labels import LabelSchema


class Stained(PublicDataset):
    """Three images with a stain each."""

    card = DatasetCard("stained", "Stained")
    schema = LabelSchema.from_names(["monocyte"])
    stains: list[Any] = ["a", "b", "c"]  # noqa: RUF012

    @classmethod
    def missing(cls, folder: Path) -> list[str]:
        return []

    @classmethod
    def read(cls, folder: Path) -> Contents:
        return Contents(sorted(folder.glob("*.png")), [0, 0, 0], columns={"stain": cls.stains})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i in range(3):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"{i}.png")
    return tmp_path


def test_columns_follow_every_choice_of_images(root: Path) -> None:
    assert vars(Stained(root).subset([2, 0]))["stain"] == ["c", "a"]
    assert vars(Stained(root, exclude=["1.png"]))["stain"] == ["a", "c"]


def test_columns_have_one_entry_an_image(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stained, "stains", ["a"])
    with pytest.raises(DataError, match="3 targets but 1 stain"):
        Stained(root)
