"""`cellnet.cards`: cards survive JSON and refuse what is not theirs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from cellnet.cards import Card, DatasetCard, RemoteFile, WeightsCard
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


def test_remote_files_round_trip_inside_a_dataset_card() -> None:
    file = RemoteFile("cells.zip", ("https://example.org/cells.zip",), md5="0" * 32, size=5)
    card = DatasetCard("mine", "My cells", files=(file, RemoteFile("by_hand.zip", instructions="Write to us.")))
    assert DatasetCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card


@pytest.mark.parametrize("name", ["", ".", "..", "a/b.zip", "..\\b.zip", "C:b.zip", "a\0.zip"])
def test_a_remote_file_is_a_name_without_folders(name: str) -> None:
    with pytest.raises(ConfigError, match="not the name of a file"):
        RemoteFile(name)


@pytest.mark.parametrize("url", ["ftp://example.org/a", "file:///etc/passwd", "example.org/a"])
def test_a_remote_file_comes_by_http(url: str) -> None:
    with pytest.raises(ConfigError, match="not an http or https address"):
        RemoteFile("a", (url,))
