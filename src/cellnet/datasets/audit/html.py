"""An audit as a page: the pairs of images that belong together, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cellnet.datasets.audit import text
from cellnet.datasets.columns import short_name
from cellnet.errors import DataError
from cellnet.pages import picture, render_page

if TYPE_CHECKING:
    from cellnet.datasets.audit.report import Audit, Pair

PICTURE_SIZE = 150
"""Longer side of the pictures in the page, in pixels."""

MOST_PAIRS = 60
"""Pairs shown as pictures of each sort; audit.json lists all."""


@dataclass(frozen=True)
class Side:
    """One image of a pair as the page shows it."""

    file: str
    name: str
    part: str
    label: str
    picture: str | None


@dataclass(frozen=True)
class Row:
    """A pair as the page shows it."""

    sides: tuple[Side, Side]
    kind: str
    pair: Pair


def render(audit: Audit) -> str:
    """The page as text."""
    seen: set[Pair] = set()
    sections = []
    for title, words, pairs in _sections(audit):
        fresh = [pair for pair in pairs if pair not in seen]
        seen |= set(fresh)
        if fresh:
            sections.append((title, words, len(fresh), [_row(audit, pair) for pair in fresh[:MOST_PAIRS]]))
    return render_page(
        Path(__file__).with_name("audit.html.j2"),
        kind="audit",
        title=audit.title,
        overview=text.headline(audit),
        audit=audit,
        verdict=text.verdict(audit),
        kinds=[(kind, words, text.counts(audit, kind)) for kind, words in text.shown_kinds(audit).items()],
        sections=sections,
        most=MOST_PAIRS,
        limit=text.LIMIT,
    )


def _sections(audit: Audit) -> list[tuple[str, str, Sequence[Pair]]]:
    return [
        (
            "In two parts",
            "A model judged on one of the parts has seen the cell, or the donor, in the other. Split again, by what "
            "belongs together.",
            audit.leaks,
        ),
        ("One cell, two labels", "At most one of the labels is right.", audit.label_conflicts),
        (
            "Within one part" if len(audit.images) > 1 else "Pairs of images",
            "No leak as they stand, but a split must keep them together.",
            audit.pairs,
        ),
    ]


def _row(audit: Audit, pair: Pair) -> Row:
    one, other = pair.indices
    return Row(
        (
            _side(audit, pair.file_a, pair.part_a, pair.label_a, one),
            _side(audit, pair.file_b, pair.part_b, pair.label_b, other),
        ),
        text.KINDS[pair.kind] + (f": {pair.group}" if pair.group else ""),
        pair,
    )


def _side(audit: Audit, file: str, part: str, label: str, index: int) -> Side:
    return Side(file, short_name(file), part if len(audit.images) > 1 else "", label, _picture(audit, index))


def _picture(audit: Audit, index: int) -> str | None:
    """An image as a small data URI; None if its file has gone since."""
    try:
        image = audit.picture(index)
    except DataError:
        return None
    return picture(image, 2 * PICTURE_SIZE)  # twice: sharp on dense screens
