"""Checkpoint folders that share tensors: small beside their neighbour, whole wherever they go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from cellnet.errors import ConfigError, WeightsError
from cellnet.hub import copy_pretrained, load, load_pretrained, publish, save, share
from cellnet.hub.config import CheckpointConfig
from cellnet.hub.sharing import read_weights
from cellnet.models import CellClassifier, HybridInceptionXception, create_model

from .fake_hub import TOKEN, FakeHub

NAMES = {"backbone.": "backbone._branches.1.", "head.branch.": "head.branches.1."}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A hybrid as it is stored, and its second network alone, not sharing yet."""
    place = tmp_path_factory.mktemp("weights")
    first, second = (create_model("cnn", head="study", image_size=32) for _ in range(2))
    hybrid = save(HybridInceptionXception.from_branches(first, second), place / "pair", storage="int8")
    stored = load(hybrid).state_dict()
    state = second.state_dict()
    for here, there in NAMES.items():
        state |= {here + name.removeprefix(there): value for name, value in stored.items() if name.startswith(there)}
    second.load_state_dict(state)
    return hybrid, save(second, place / "alone", storage="int8")


@pytest.fixture
def sharing(two: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path, CellClassifier]:
    """Both folders, the second one sharing, and the model that it held before."""
    owner, alone = (Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in two)
    before = load(alone)
    share(alone, owner, NAMES)
    return owner, alone, before


def same(a: CellClassifier, b: CellClassifier) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def test_it_loads_as_before_and_is_small(sharing: tuple[Path, Path, CellClassifier], two: tuple[Path, Path]) -> None:
    _, alone, before = sharing
    model = load_pretrained(alone)
    assert same(model, before)
    assert model.self_test().ok
    size, was = ((folder / "model.safetensors").stat().st_size for folder in (alone, two[1]))
    assert size < was / 20
    assert json.loads((alone / "config.json").read_text())["format"] == 2
    assert json.loads((two[1] / "config.json").read_text())["format"] == 1  # which any cellnet reads


def test_a_copy_is_whole(sharing: tuple[Path, Path, CellClassifier], tmp_path: Path) -> None:
    copy = copy_pretrained(sharing[1], tmp_path / "site")
    assert same(load(copy), sharing[2])
    assert CheckpointConfig.read(copy).shared == ()


def test_what_is_published_is_whole(
    sharing: tuple[Path, Path, CellClassifier], hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    _, entry = publish(sharing[1], "lab/alone")
    model = load_pretrained(f"hf://lab/alone@{entry.revision}")
    assert same(model, sharing[2])
    assert model.self_test().ok


def test_saved_again_it_is_whole(sharing: tuple[Path, Path, CellClassifier], tmp_path: Path) -> None:
    again = load(sharing[1]).save(tmp_path / "elsewhere" / "again", storage="int8")
    assert same(load(again), sharing[2])


def test_without_its_neighbour(sharing: tuple[Path, Path, CellClassifier]) -> None:
    owner, alone, _ = sharing
    (owner / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="pair"):
        load(alone)


def test_with_another_neighbour(sharing: tuple[Path, Path, CellClassifier]) -> None:
    owner, alone, _ = sharing
    save(load(owner), owner, storage="float16", overwrite=True)
    with pytest.raises(WeightsError, match="another SHA-256"):
        load(alone)


def test_other_weights_are_not_shared(two: tuple[Path, Path], tmp_path: Path) -> None:
    owner = Path(shutil.copytree(two[0], tmp_path / "pair"))
    other = save(create_model("cnn", head="study", image_size=32), tmp_path / "other", storage="int8")
    held = read_weights(other, CheckpointConfig.read(other))
    with pytest.raises(WeightsError, match="only the same weights can be shared"):
        share(other, owner, NAMES)
    with pytest.raises(ConfigError, match="begins with nothing"):
        share(other, owner, {"backbone.": "nothing."})
    with pytest.raises(ConfigError, match="do not lie in one folder"):
        share(other, two[0], NAMES)
    assert held.keys() == read_weights(other, CheckpointConfig.read(other)).keys()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"folder": "../pair", "sha256": "0", "names": {}}, "is not the name of a folder beside this one"),
        ({"folder": "..", "sha256": "0", "names": {}}, "is not the name of a folder"),
        ({"folder": "", "sha256": "0", "names": {}}, "is not the name of a folder"),
        ({"folder": "a\\b", "sha256": "0", "names": {}}, "is not the name of a folder"),
        ({"folder": "pair", "sha256": "0", "names": {"a": 1}}, "are texts"),
        ({"folder": "pair", "names": {}}, "sha256"),
        ("pair", "without a folder"),
    ],
)
def test_bad_entries(two: tuple[Path, Path], tmp_path: Path, entry: Any, message: str) -> None:
    alone = Path(shutil.copytree(two[1], tmp_path / "alone"))
    config = json.loads((alone / "config.json").read_text())
    config["weights"]["shared"] = [entry]
    (alone / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=message):
        load(alone)
