"""The page of an audit and its text: well formed, nothing from outside runs, every case has its words."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
import torch

from cellnet.datasets import CellDataset, SyntheticCells
from cellnet.datasets.audit import audit, html
from cellnet.errors import ImageError

VOID = {"meta", "img", "br"}
EVIL = "<script>alert('x')</script>\"'&.png"


class Page(HTMLParser):
    """Collects tags and text, and fails on a tag that is closed out of turn."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.open = [], "", []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words += data


@pytest.fixture(scope="module")
def parts():
    """Two parts of drawn cells that share the first, under a hostile name and with another class."""
    cells = SyntheticCells(per_class=4, image_size=48)
    images = torch.stack([*(cells.image(i) for i in range(len(cells))), cells.image(0)])
    names = [*cells.files, EVIL]
    whole = CellDataset(names, [*cells.targets, 3], cells.labels, images=images)
    return whole.subset(range(16), "train"), whole.subset(range(16, 33), "test")


@pytest.fixture(scope="module")
def found(parts):
    return audit(*parts)


def test_the_page_is_well_formed_and_hostile_names_are_text(found):
    text = html.render(found)
    page = Page(text)
    assert "<script" not in text
    assert not re.search("https?:", text)
    assert page.words.count("alert('x')") >= 1
    for words in ("LEAK: 1 pair of images", "In two parts", "for research use only", "identical files", "48 × 48"):
        assert words in page.words
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2
    assert all(image["alt"] and image["src"].startswith("data:image/jpeg;base64,") for image in images)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})


def test_a_pair_is_shown_once_however_many_lists_hold_it(found):
    assert found.leaks == found.label_conflicts == found.pairs
    assert Page(html.render(found)).words.count("identical files") == 2  # in the table, and below the pictures


def test_what_was_not_looked_for_is_said(parts):
    quick = audit(*parts, near=False)
    assert Page(html.render(quick)).words.count("not looked for") == 2
    assert "photographed twice" not in str(quick)
    assert audit(parts[0], near=False).ok
    assert "No two files are identical" in str(audit(parts[0], near=False))


def test_an_image_that_has_gone_leaves_a_word(parts, monkeypatch):
    found = audit(*parts)

    def gone(dataset, row):
        raise ImageError("deleted")

    monkeypatch.setattr(CellDataset, "image", gone)
    assert Page(html.render(found)).words.count("no picture") == 2


def test_a_file_name_that_is_no_text_does_not_stop_the_page():
    cells = SyntheticCells(per_class=1, image_size=48)
    names = [b"\xff.jpg".decode("utf-8", "surrogateescape")] * 2
    images = torch.stack([cells.image(0)] * 2)
    assert "?.jpg" in html.render(audit(CellDataset(names, [0, 0], cells.labels, images=images)))


def test_the_text_of_one_set_does_not_speak_of_parts(parts):
    text = str(audit(parts[1]))
    assert "test" not in text.split("Not found")[0].replace("latest", "")
    assert "LEAK" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_text_lists_some_pairs_and_counts_the_rest():
    cells = SyntheticCells(per_class=4, image_size=48).subset(range(9))
    text = str(audit(cells.subset(range(9), "train"), cells.subset(range(9), "test"), near=False))
    assert "LEAK: 9 pairs of images stand in two parts." in text
    assert text.count(" = test ") == 5
    assert "and 4 more" in text
