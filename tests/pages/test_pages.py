"""What all pages share: one head, escaped values, small pictures, no word that is no text."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import jinja2
import pytest
import torch
from PIL import Image

from cellnet import pages


def template(folder: Path, body: str) -> Path:
    path = folder / "own.html.j2"
    path.write_text('{% extends "page.html.j2" %}{% block main %}' + body + "{% endblock %}", encoding="utf-8")
    return path


def test_a_page_has_the_common_head_and_escapes_what_it_shows(tmp_path: Path) -> None:
    path = template(tmp_path, "{{ share | percent }} {{ 12345 | thousands }}")
    page = pages.render_page(path, kind="trial", title="<b>", overview="b\udcff", share=0.125)
    assert page.startswith("<!doctype html>")
    assert "<title>&lt;b&gt; · cellnet trial</title>" in page
    assert "12.5 12,345" in page
    assert "b?" in page
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page


def test_what_a_template_wants_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(jinja2.UndefinedError, match="share"):
        pages.render_page(template(tmp_path, "{{ share }}"), kind="trial", title="", overview="")


def test_a_picture_is_a_small_jpeg() -> None:
    kind, data = pages.picture(torch.full((3, 300, 200), 90, dtype=torch.uint8), 100).split(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (67, 100)
