"""`cellnet.errors` and `cellnet.registry`: names, wrong names, plug-ins."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from cellnet import errors, registry
from cellnet.errors import CellnetError, ConfigError, UnknownNameError
from cellnet.registry import Registry, check_name


def test_every_error_is_a_cellnet_error() -> None:
    raised = [one for _, one in inspect.getmembers(errors, inspect.isclass)]
    assert len(raised) >= 6
    assert all(issubclass(one, CellnetError) and one.__doc__ for one in raised)
    assert issubclass(errors.ImageError, errors.DataError)


class TestCheckName:
    def test_returns_a_known_name(self) -> None:
        assert check_name("optimizer", "sgd", iter(["adam", "sgd"])) == "sgd"

    @pytest.mark.parametrize(("typed", "meant"), [("adm", "adam"), ("ADAM", "adam"), ("adamW", "adamw")])
    def test_hints_at_the_nearest(self, typed: str, meant: str) -> None:
        with pytest.raises(UnknownNameError) as caught:
            check_name("optimizer", typed, ["sgd", "adamw", "adam"])
        assert str(caught.value).startswith(f"Unknown optimizer {typed!r}. Did you mean {meant!r}")
        assert str(caught.value).endswith("Known: adam, adamw, sgd.")

    def test_names_in_capitals_are_hinted_at_as_they_are_written(self) -> None:
        with pytest.raises(UnknownNameError, match="Did you mean 'RBC'"):
            check_name("class", "rbcs", ["RBC", "WBC", "Platelets"])

    def test_no_hint_where_nothing_is_near(self) -> None:
        with pytest.raises(UnknownNameError, match=r"^Unknown optimizer 'qqq'\. Known: adam, sgd\.$"):
            check_name("optimizer", "qqq", ["adam", "sgd"])

    @pytest.mark.parametrize("typed", [None, 3, ["adam"]])
    def test_things_that_are_no_names(self, typed: Any) -> None:
        with pytest.raises(UnknownNameError, match="Unknown optimizer"):
            check_name("optimizer", typed, ["adam"])

    def test_nothing_known(self) -> None:
        with pytest.raises(UnknownNameError, match="Known: none"):
            check_name("weights", "a", [])


class TestRegistry:
    @pytest.fixture
    def shapes(self) -> Registry[type]:
        shapes = Registry[type]("shape", "cellnet.test_shapes")
        shapes.register("disc")(int)
        shapes.register("ball")(float)
        return shapes

    def test_get_and_list(self, shapes: Registry[type]) -> None:
        assert shapes.get("disc") is int
        assert shapes.list() == ["ball", "disc"]

    def test_register_hands_the_thing_back(self, shapes: Registry[type]) -> None:
        @shapes.register("cube")
        class Cube: ...

        assert shapes.get("cube") is Cube

    def test_a_taken_name(self, shapes: Registry[type]) -> None:
        with pytest.raises(ConfigError, match="shape name 'disc' is taken"):
            shapes.register("disc")(str)
        assert shapes.get("disc") is int

    def test_an_unknown_name(self, shapes: Registry[type]) -> None:
        with pytest.raises(UnknownNameError, match=r"Unknown shape 'disk'\. Did you mean 'disc'\?"):
            shapes.get("disk")

    def test_plug_ins(self, shapes: Registry[type], monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def installed(*, group: str) -> list[EntryPoint]:
            asked.append(group)
            return [
                EntryPoint("fraction", "fractions:Fraction", group),
                EntryPoint("broken", "no_such_module_anywhere:Thing", group),
            ]

        monkeypatch.setattr(registry, "entry_points", installed)
        assert shapes.list() == ["ball", "broken", "disc", "fraction"]  # listing loads nothing
        from fractions import Fraction

        assert shapes.get("fraction") is Fraction
        assert shapes.get("fraction") is Fraction
        assert set(asked) == {"cellnet.test_shapes"}

    def test_own_names_come_before_plug_ins(self, shapes: Registry[type], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint("disc", "fractions:Fraction", group)])
        assert shapes.get("disc") is int
        assert shapes.list() == ["ball", "disc"]
