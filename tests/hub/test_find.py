from __future__ import annotations

from pathlib import Path

import pytest

from cellnet.errors import ConfigError, UnknownNameError, WeightsError
from cellnet.hub import find, list_pretrained, load_pretrained, save
from cellnet.models import CellClassifier


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
