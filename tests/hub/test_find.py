from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cellnet.cards import WeightsCard
from cellnet.errors import ConfigError, UnknownNameError, WeightsError
from cellnet.hub import find, list_pretrained, load_pretrained, read_pretrained, save
from cellnet.hub.index import read_index
from cellnet.models import CellClassifier

from .fake_hub import FakeHub

WriteIndex = Callable[..., None]


@pytest.fixture
def place(tiny_model: CellClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights named by the variable, with two checkpoints; and an empty working folder."""
    place = tmp_path / "place"
    for name, temperature in (("tiny", 2.0), ("hybrid.pbc_v1", 3.0)):
        tiny_model.temperature = temperature
        save(tiny_model, place / name)
    (place / "no_checkpoint").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("CELLNET_WEIGHTS", str(place))
    return place


def test_by_name(place: Path) -> None:
    assert load_pretrained("tiny").temperature == 2.0
    assert load_pretrained("hybrid.pbc_v1").temperature == 3.0
    assert {"tiny", "hybrid.pbc_v1"} <= set(list_pretrained())
    assert "no_checkpoint" not in list_pretrained()


def test_by_path(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELLNET_WEIGHTS")
    for path in (place / "tiny", str(place / "tiny"), "../place/tiny"):
        assert load_pretrained(path).temperature == 2.0
    monkeypatch.chdir(place)
    for path in (Path("tiny"), "./tiny", "tiny"):
        assert load_pretrained(path).temperature == 2.0


def test_the_users_own_place_comes_before_the_package(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = place.parent / "package"
    (place / "hybrid.pbc_v1").rename(place / "moved")
    package.mkdir()
    (place / "moved").rename(package / "tiny")
    monkeypatch.setattr(find, "_places", lambda: {"own": place, "package": package})
    assert load_pretrained("tiny").temperature == 2.0
    monkeypatch.setattr(find, "_places", lambda: {"own": None, "package": package})
    assert load_pretrained("tiny").temperature == 3.0


def test_a_folder_beside_you_does_not_hide_weights_of_its_name(place: Path) -> None:
    Path("tiny").mkdir()
    assert load_pretrained("tiny").temperature == 2.0


def test_an_unknown_name_says_where_was_looked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny'") as caught:
        load_pretrained("tinny")
    assert str(place) in str(caught.value)
    assert "the package" in str(caught.value)
    monkeypatch.delenv("CELLNET_WEIGHTS")
    with pytest.raises(UnknownNameError, match=r"\$CELLNET_WEIGHTS \(not set\)"):
        load_pretrained("tinny")


def test_a_path_that_is_not_there(place: Path) -> None:
    with pytest.raises(WeightsError, match="no folder"):
        load_pretrained("./gone")
    with pytest.raises(WeightsError, match="no folder"):
        load_pretrained(Path("tiny"))


def test_a_variable_that_names_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLNET_WEIGHTS", str(place / "gone"))
    assert "tiny" not in list_pretrained()


def test_device(place: Path) -> None:
    assert next(load_pretrained("tiny", device="cpu").parameters()).device.type == "cpu"
    with pytest.raises(ConfigError, match="'warp'"):
        load_pretrained("tiny", device="warp")


# Versions.


def test_a_name_with_its_version(place: Path, tiny_model: CellClassifier) -> None:
    save(tiny_model, place / "vit.small", card=WeightsCard("vit.small", version="1.0"))
    assert load_pretrained("tiny.1").temperature == 2.0
    assert load_pretrained("vit.small.1.0").labels == tiny_model.labels
    assert load_pretrained("vit.small").source == str(place / "vit.small")
    assert load_pretrained("hybrid.pbc_v1.1").temperature == 3.0
    with pytest.raises(UnknownNameError, match=r"'tiny' has no version '2', but '1'\."):
        load_pretrained("tiny.2")
    with pytest.raises(UnknownNameError, match=r"'vit\.small' has no version '1', but '1\.0'\."):
        load_pretrained("vit.small.1")


# Names of the index.


def entry(hub: FakeHub, repo: str, folder: Path, **others: str) -> dict[str, str]:
    """Publish a folder; its entry in the index."""
    digests = {
        f"{part}_sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for part, name in (("config", "config.json"), ("weights", "model.safetensors"))
    }
    return {"repo": repo, "revision": hub.add(repo, folder), **digests, **others}


def test_the_shipped_index_is_well_formed() -> None:
    for versions in read_index().values():
        for published in versions.values():
            assert re.fullmatch(r"[0-9a-f]{40}", published.revision)
            assert len(published.config_sha256) == len(published.weights_sha256) == 64


def test_a_name_of_the_index(
    hub: FakeHub, write_index: WriteIndex, tiny_model: CellClassifier, tiny_folder: Path, tmp_path: Path
) -> None:
    tiny_model.temperature = 4.0
    newer = save(tiny_model, tmp_path / "newer", card=WeightsCard("far.out", version="2.0"))
    old, new = entry(hub, "lab/far", tiny_folder), entry(hub, "lab/far", newer)
    write_index(far__out={"1": old, "2.0": new})
    assert "far.out" in list_pretrained()
    assert hub.requests == []
    for name, wanted in (("far.out", new), ("far.out.2.0", new), ("far.out.1", old)):
        model = load_pretrained(name)
        assert model.source == f"hf://lab/far@{wanted['revision']}"
        assert model.temperature == (4.0 if wanted is new else 1.0)
    hub.requests.clear()
    load_pretrained("far.out")
    assert hub.requests == []
    with pytest.raises(UnknownNameError, match=r"'far\.out' has no version '3', but '1', '2\.0'\."):
        load_pretrained("far.out.3")


def test_what_is_here_comes_before_the_index(
    place: Path, hub: FakeHub, write_index: WriteIndex, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLNET_WEIGHTS", str(place))
    write_index(tiny={"1": entry(hub, "lab/tiny", tiny_folder)})
    assert load_pretrained("tiny").source == str(place / "tiny")
    assert hub.requests == []


@pytest.mark.parametrize("which", ["config_sha256", "weights_sha256"])
def test_what_is_not_what_the_index_names(hub: FakeHub, write_index: WriteIndex, tiny_folder: Path, which: str) -> None:
    good = entry(hub, "lab/far", tiny_folder)
    write_index(far={"1": good | {which: "0" * 64}})
    with pytest.raises(WeightsError, match="not what cellnet's index names"):
        load_pretrained("far")
    assert not any("model.safetensors" in path for path in hub.paths())
    write_index(far={"1": good})
    assert load_pretrained("far").source == f"hf://lab/far@{good['revision']}"


def test_an_indexed_commit_that_is_gone(hub: FakeHub, write_index: WriteIndex, tiny_folder: Path) -> None:
    write_index(far={"1": entry(hub, "lab/far", tiny_folder)})
    hub.repos["lab/far"].commits.clear()
    with pytest.raises(WeightsError, match="lab/far has no revision") as caught:
        load_pretrained("far")
    assert re.search(r"Nor is 'far' in \$CELLNET_WEIGHTS \(not set\), the package \(.*\)\.$", str(caught.value))


def test_an_indexed_name_offline(
    hub: FakeHub, write_index: WriteIndex, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_index(far={"1": entry(hub, "lab/far", tiny_folder)})
    monkeypatch.setenv("CELLNET_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"CELLNET_OFFLINE is set.*not in the cache .*Nor is 'far' in"):
        load_pretrained("far")
    monkeypatch.delenv("CELLNET_OFFLINE")
    load_pretrained("far")
    monkeypatch.setenv("CELLNET_OFFLINE", "1")
    load_pretrained("far")


def test_an_unknown_name_says_what_to_do(place: Path, hub: FakeHub) -> None:
    with pytest.raises(UnknownNameError, match=r"index of the Hub.*give one of the known names, a path such as \./far"):
        load_pretrained("far")
    assert hub.requests == []


def test_to_read_the_card_alone(hub: FakeHub, write_index: WriteIndex, tiny_folder: Path, place: Path) -> None:
    write_index(far={"1": entry(hub, "lab/far", tiny_folder)})
    for name in ("far", "hf://lab/far"):
        assert read_pretrained(name).card.name == "tiny"
    assert not any("safetensors" in path for path in hub.paths())
    assert load_pretrained("far").labels.names
    assert read_pretrained("hybrid.pbc_v1").temperature == 3.0
