"""`cellnet publish`: words to `cellnet.hub.publish`, and its result to words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cellnet import hub
from cellnet.cli.publish import publish

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(publish)

PUBLISHED = hub.Published("me/hybrid-pbc", "a" * 40, "b" * 64, "c" * 64)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the library was asked for; what it does is tested with the library."""
    calls: list[Any] = []

    def answer(folder: Path, repo: str, private: bool | None) -> tuple[str, hub.Published]:
        calls.append((folder, repo, private))
        return "https://hub.example/me/hybrid-pbc/commit/a", PUBLISHED

    monkeypatch.setattr(hub, "publish", answer)
    return calls


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_words(asked: list[Any]) -> None:
    assert run("runs/model", "me/hybrid-pbc").splitlines() == [
        "https://hub.example/me/hybrid-pbc/commit/a",
        f'cellnet.load_pretrained("hf://me/hybrid-pbc@{"a" * 40}")',
    ]
    run("runs/model", "me/hybrid-pbc", "--private")
    run("runs/model", "me/hybrid-pbc", "--public")
    assert asked == [(Path("runs/model"), "me/hybrid-pbc", private) for private in (None, True, False)]


def test_json_is_an_entry_of_the_index_and_more(asked: list[Any]) -> None:
    result = json.loads(run("runs/model", "me/hybrid-pbc", "--json"))
    assert result.pop("url").startswith("https://")
    assert result.pop("address") == str(PUBLISHED)
    assert hub.Published.from_dict(result) == PUBLISHED


def test_the_help_shows_an_example() -> None:
    assert "cellnet publish runs/hybrid/model me/hybrid-pbc" in run("--help")
