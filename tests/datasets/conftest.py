"""Tiny trees in the layout of published sets, and a download that needs no network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from cellnet.cards import DatasetCard
from cellnet.datasets import bloodmnist, public
from cellnet.datasets.public import PublicDataset


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Writes a picture of its own colour, so that no two are identical."""
    colour = iter(range(1 << 24))

    def write(path: Path, size: tuple[int, int] = (20, 18)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        number = next(colour)
        Image.new("RGB", size, (number % 251, number // 251, 99)).save(path)
        return path

    return write


@pytest.fixture
def check_card() -> Callable[[type[PublicDataset]], None]:
    """Whether a card says all that a user must know."""

    def check(kind: type[PublicDataset]) -> None:
        card = kind.card
        assert DatasetCard.from_dict(card.to_dict()) == card
        assert re.fullmatch(r"[a-z0-9_]+", card.name)
        assert all((card.title, card.description, card.licence, card.citation, card.known_defects))
        assert card.source.startswith("https://")
        assert not card.doi or re.fullmatch(r"10\.\d{4,5}/[\w.\-]+", card.doi)
        assert card.files
        for file in card.files:
            assert file.urls or file.instructions
            assert not file.md5 or re.fullmatch(r"[0-9a-f]{32}", file.md5)
        assert all(cell.description.endswith(".") for cell in kind.schema)

    return check


@pytest.fixture
def fake_obtain(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], object]], list[list[str]]]:
    """Puts a function that fills a folder in the place of the download; returns the names that were asked for."""

    def install(fill: Callable[[Path], object]) -> list[list[str]]:
        asked: list[list[str]] = []

        def obtain(files, folder, *, progress=False):
            asked.append([file.name for file in files])
            fill(Path(folder))
            return Path(folder)

        for module in (public, bloodmnist):
            monkeypatch.setattr(module, "obtain", obtain)
        return asked

    return install
