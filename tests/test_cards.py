"""`cellnet.cards`: cards survive JSON and refuse what is not theirs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from cellnet.cards import Card, DatasetCard, WeightsCard
from cellnet.errors import ConfigError, UnknownNameError

DATASET = DatasetCard("pbc", "Peripheral blood cells", licence="CC-BY-4.0", num_images=17092, known_defects=("a", "b"))
WEIGHTS = WeightsCard(
    "hybrid", metrics={"accuracy": {"value": 0.98, "low": 0.97, "high": 0.99}}, limits=("one scanner",)
)


@pytest.mark.parametrize("card", [DATASET, WEIGHTS, DatasetCard("x", "X", microns_per_pixel=0.1)])
def test_round_trip_through_json(card: Card) -> None:
    assert type(card).from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_to_dict_is_plain_json() -> None:
    data = DATASET.to_dict()
    assert data["known_defects"] == ["a", "b"]
    assert data["microns_per_pixel"] is None


def test_defaults_fill_in() -> None:
    assert WeightsCard.from_dict({"name": "a"}) == WeightsCard("a")


def test_cards_do_not_share_their_metrics() -> None:
    WeightsCard("a").metrics["accuracy"] = {"value": 1.0}
    assert WeightsCard("b").metrics == {}


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DATASET.name = "other"  # type: ignore[misc]


def test_unknown_field() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown DatasetCard field 'license'\. Did you mean 'licence'"):
        DatasetCard.from_dict({"name": "a", "title": "A", "license": "MIT"})


def test_missing_field() -> None:
    with pytest.raises(ConfigError, match=r"DatasetCard is incomplete: .*'title'"):
        DatasetCard.from_dict({"name": "a"})


@pytest.mark.parametrize("data", [None, [], "name", 3])
def test_no_dictionary(data: Any) -> None:
    with pytest.raises(ConfigError, match="is read from a dictionary"):
        DatasetCard.from_dict(data)
