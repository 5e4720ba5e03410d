"""The learning-rate finder finds a rate that trains, and leaves everything as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.experiments import LearningRates, find_learning_rate
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier, create_model
from cellnet.training import TrainConfig, Trainer

CONFIG = TrainConfig(batch_size=8, optimizer="sgd", label_smoothing=0.05)


def net() -> CellClassifier:
    torch.manual_seed(0)
    return create_model("cnn", image_size=32)


@pytest.fixture(scope="module")
def found(cells: CellDataset) -> LearningRates:
    return find_learning_rate(net(), cells, CONFIG, lowest=1e-5, highest=10, steps=40, device="cpu")


def test_rates_rise_and_the_search_ends_where_the_loss_explodes(found: LearningRates) -> None:
    assert np.allclose(found.rates, np.geomspace(1e-5, 10, 40)[: len(found.rates)])
    assert len(found.losses) == len(found.rates)
    lowest = found.losses.argmin()
    assert found.suggestion == found.rates[lowest] / 10
    assert found.losses[lowest] < found.losses[0]
    assert 1e-4 < found.suggestion < 1


def test_the_suggestion_trains_faster_than_a_hundredth_of_it(cells: CellDataset, found: LearningRates) -> None:
    train, val = cells.folds(2)[0]
    losses = []
    for lr in (found.suggestion, found.suggestion / 100):
        config = TrainConfig(epochs=3, batch_size=8, optimizer="sgd", lr=lr, schedule="constant", warmup_epochs=0)
        losses.append(Trainer(net(), config, device="cpu").fit(train, val).history[-1]["train_loss"])
    assert losses[0] < losses[1]


def test_model_and_generator_are_left_as_they_were(cells: CellDataset, found: LearningRates) -> None:
    model = net().eval()
    model.backbone.blocks[0].requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trained = [p.requires_grad for p in model.parameters()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = find_learning_rate(model, cells, CONFIG, lowest=1e-3, highest=10, steps=40, device="cpu")
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == trained
    assert all(p.grad is None for p in model.parameters())
    assert not any(module.training for module in model.modules())
    assert again.suggestion > 1e-3


def test_it_follows_from_the_seed(cells: CellDataset, found: LearningRates) -> None:
    again = find_learning_rate(net(), cells, CONFIG, lowest=1e-5, highest=10, steps=40, device="cpu")
    assert again.losses.tolist() == found.losses.tolist()


def test_the_loss_is_the_configs(cells: CellDataset) -> None:
    focal = replace(CONFIG, focal_gamma=2.0, class_weights="effective")
    plain, other = (
        find_learning_rate(net(), cells, config, lowest=1e-3, highest=10, steps=30, device="cpu").losses[0]
        for config in (CONFIG, focal)
    )
    assert other < 0.9 * plain  # what is right already counts less


def test_it_is_shown(found: LearningRates, tmp_path: Path) -> None:
    assert str(found).startswith(f"lr={found.suggestion:.1e}, a tenth of")
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["suggestion"] == found.suggestion
    found.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_used(cells: CellDataset) -> None:
    train, val = cells.folds(2)[0]
    with pytest.raises(DataError, match="'val' part must not choose the learning rate"):
        find_learning_rate(net(), val)
    for rows in ([], [0]):
        with pytest.raises(DataError, match=f"{len(rows)} images are too few"):
            find_learning_rate(net(), train.subset(rows))
    with pytest.raises(LabelError, match="make the model with labels"):
        find_learning_rate(create_model("cnn", LabelSchema.from_names(["a", "b"]), image_size=32), train)
    with pytest.raises(ConfigError, match="rising rates"):
        find_learning_rate(net(), train, lowest=1, highest=0.1)
    with pytest.raises(ConfigError, match="at least 10 steps"):
        find_learning_rate(net(), train, steps=3)
    broken, frozen = net(), net().requires_grad_(False)
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(ConfigError, match="The first loss is not finite"):
        find_learning_rate(broken, train, CONFIG, steps=10, device="cpu")
    with pytest.raises(ConfigError, match="all are frozen"):
        find_learning_rate(frozen, train)
    with pytest.raises(ConfigError, match="trains a SegmentingClassifier"):
        find_learning_rate(net(), train, TrainConfig(mask_weight=0.5))
    with pytest.raises(ConfigError, match="falls at no rate from 1000"):
        find_learning_rate(net(), train, CONFIG, lowest=1000, highest=10000, steps=10)
