"""A hub on this machine, to which huggingface-hub's own client talks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants

from cellnet.hub import index, remote, save
from cellnet.models import create_model

from .fake_hub import FakeHub, running


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """An empty hub that is up, and an empty cache; nothing of this machine's own settings."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_TOKEN", "CELLNET_OFFLINE", "CELLNET_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with running() as hub:
        # The client reads its environment once, when it is imported.
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
        monkeypatch.setattr(remote, "_TIMEOUT", 0.3)
        hasty = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
        for module in ("file_download", "utils._http"):
            monkeypatch.setattr(f"huggingface_hub.{module}.time", hasty)
        yield hub
    huggingface_hub.close_session()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder, to be read only."""
    return save(create_model("cnn", image_size=32), tmp_path_factory.mktemp("made") / "tiny")


@pytest.fixture
def write_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives cellnet another collection index: name -> version -> entry."""

    def write(**names: dict[str, dict[str, str]]) -> None:
        path = tmp_path / "index.json"
        path.write_text(json.dumps({name.replace("__", "."): versions for name, versions in names.items()}))
        monkeypatch.setattr(index, "INDEX", path)

    return write
