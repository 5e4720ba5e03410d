"""What a model learned from is no test image of it, whatever became of the model since."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cellnet.cards import WeightsCard
from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import DataError
from cellnet.experiments.lineage import check_unseen
from cellnet.models import CellClassifier, create_model


@pytest.fixture
def parts() -> tuple[CellDataset, ...]:
    return load_dataset("synthetic", per_class=10, image_size=16).split((0.6, 0.2, 0.2), seed=0)


@pytest.fixture
def model(parts: tuple[CellDataset, ...]) -> CellClassifier:
    net = create_model("cnn", image_size=16)
    net.weights_card = WeightsCard(
        "net", training_data="synthetic", training_data_hash=parts[0].fingerprint(), split="by donor, split abc"
    )
    return net


def test_the_parts_of_its_own_split_are_unseen(model: CellClassifier, parts: tuple[CellDataset, ...]) -> None:
    train, val, test = parts
    assert check_unseen(model, val, train) == check_unseen(model, test, train) == ""


def test_other_splits_are_refused(model: CellClassifier) -> None:
    train, _, test = load_dataset("synthetic", per_class=10, image_size=16).split((0.6, 0.2, 0.2), seed=1)
    copies = [model, model.restrict(["ig", "monocyte"]), model.transfer()]
    for copied in copies:
        with pytest.raises(DataError, match=r"net learned from images of 'synthetic' .*\(by donor, split abc\)"):
            check_unseen(copied, test, train)


def test_without_a_split_there_is_a_warning(model: CellClassifier, parts: tuple[CellDataset, ...]) -> None:
    assert "the figures are too good" in check_unseen(model, parts[2], None)


def test_other_data_and_models_without_card_pass(model: CellClassifier, parts: tuple[CellDataset, ...]) -> None:
    model.weights_card = replace(model.weights_card, training_data="another") if model.weights_card else None
    assert check_unseen(model, parts[2], None) == check_unseen(model, parts[2], parts[1]) == ""
    assert check_unseen(create_model("cnn", image_size=16), parts[2], parts[1]) == ""
