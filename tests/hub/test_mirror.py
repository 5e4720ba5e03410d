from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cellnet.cli.listing import info
from cellnet.errors import ConfigError, UnknownNameError, WeightsError
from cellnet.hub import copy_pretrained, list_pretrained, load, load_pretrained

from .fake_hub import FakeHub, status

FOUR = ["README.md", "config.json", "golden.safetensors", "model.safetensors"]


def test_a_site_without_the_net(
    hub: FakeHub,
    write_index: Callable[..., None],
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_index(far={"1": {"repo": "lab/far", "revision": hub.add("lab/far", tiny_folder)}})
    site = tmp_path / "site"
    for name in ("far", "far.1", "mobilenet_v2", "hf://lab/far", str(tiny_folder)):
        copy = copy_pretrained(name, site)
        assert sorted(path.name for path in copy.iterdir()) == FOUR
        assert not any(path.is_symlink() for path in copy.iterdir())
    assert sorted(path.name for path in site.iterdir()) == ["far", "far.1", "mobilenet_v2", "tiny"]

    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("CELLNET_WEIGHTS", str(site))
    monkeypatch.setenv("CELLNET_OFFLINE", "1")
    here = load(tiny_folder).state_dict()
    for name in ("far", "far.1", "tiny"):
        model = load_pretrained(name)
        assert model.source == str(site / name)
        assert all(torch.equal(value, here[key]) for key, value in model.state_dict().items())
    assert {"far.1", "mobilenet_v2"} <= set(list_pretrained())


def test_an_older_copy_is_replaced_and_itself_left(tiny_folder: Path, tmp_path: Path) -> None:
    copy = copy_pretrained(tiny_folder, tmp_path)
    (copy / "train.toml").touch()
    assert copy_pretrained(copy, tmp_path) == copy
    assert (copy / "train.toml").exists()
    copy_pretrained(tiny_folder, tmp_path)
    assert not (copy / "train.toml").exists()


def test_a_copy_beside_which_something_was_put_is_left(tiny_folder: Path, tmp_path: Path) -> None:
    copy = copy_pretrained(tiny_folder, tmp_path)
    (copy / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"holds thesis\.tex"):
        copy_pretrained(tiny_folder, tmp_path)
    assert (copy / "thesis.tex").exists()


def test_what_cannot_be_copied(hub: FakeHub, tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError):
        copy_pretrained("far", tmp_path / "site")
    hub.fault("GET .*", status(500))
    with pytest.raises(WeightsError, match="trouble of its own"):
        copy_pretrained("hf://lab/far", tmp_path / "site")
    bad = Path(shutil.copytree(tiny_folder, tmp_path / "bad"))
    (bad / "model.safetensors").write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="a web page"):
        copy_pretrained(bad, tmp_path / "site")
    (tmp_path / "site" / "tiny").mkdir(parents=True)
    (tmp_path / "site" / "tiny" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not a checkpoint"):
        copy_pretrained(tiny_folder, tmp_path / "site")
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["tiny"]


def test_info_fetches_the_card_alone(
    hub: FakeHub, write_index: Callable[..., None], tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_index(far={"1": {"repo": "lab/far", "revision": hub.add("lab/far", tiny_folder)}})
    for name in ("far", "hf://lab/far"):
        info(name)
        assert "basophil" in capsys.readouterr().out
    assert not any("safetensors" in path for path in hub.paths())
