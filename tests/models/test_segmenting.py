"""A classifier that finds the nucleus as well: it learns it, keeps it in its weights, and says so when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import cellnet
from cellnet.cards import WeightsCard
from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import ConfigError
from cellnet.images import nucleus_masks
from cellnet.models import SegmentingClassifier, create_model
from cellnet.training import TrainConfig, Trainer
from cellnet.training.objectives import Classification, WithNucleus, create_objective


def unet() -> SegmentingClassifier:
    torch.manual_seed(0)
    return SegmentingClassifier(create_model("unet", image_size=32))


@pytest.fixture(scope="module")
def parts() -> tuple[CellDataset, CellDataset]:
    return load_dataset("synthetic", per_class=8, image_size=32, seed=1).folds(2)[0]


def test_it_remembers_what_its_classifier_learned_from() -> None:
    model = create_model("unet", image_size=32)
    model.origins, model.weights_card = (WeightsCard("older"),), WeightsCard("old")
    assert [card.name for card in SegmentingClassifier(model).origins if card] == ["older", "old"]


def test_masks_beside_the_same_logits() -> None:
    model = unet().eval()
    images = torch.randint(0, 256, (3, 3, 33, 30), dtype=torch.uint8)
    logits, places = model(images, masks=True)
    assert torch.equal(logits, model(images))
    assert places.shape == (3, 17, 15)
    assert torch.equal(model.segment(images), places.sigmoid())


@pytest.mark.slow
def test_it_learns_where_the_nucleus_is(parts: tuple[CellDataset, CellDataset]) -> None:
    train, val = parts
    images = val.batch(range(len(val)))[0]
    truth = nn.functional.avg_pool2d(nucleus_masks(images).float(), 2) > 0.5

    def overlap(model: SegmentingClassifier) -> float:
        found = model.eval().segment(images) > 0.5
        return float((found & truth).sum() / (found | truth).sum())

    config = TrainConfig(epochs=40, batch_size=8, lr=1e-2, mask_weight=1.0, warmup_epochs=0)
    model = Trainer(unet(), config, device="cpu").fit(train, val).model
    assert isinstance(model, SegmentingClassifier)
    assert overlap(model) > 0.6 > overlap(unet())


def test_it_comes_back_from_a_checkpoint(tmp_path: Path) -> None:
    model = unet().eval()
    loaded = cellnet.load_pretrained(model.save(tmp_path / "model"))
    assert isinstance(loaded, SegmentingClassifier)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert loaded.segment(images) == pytest.approx(model.segment(images), abs=2e-3)  # stored in half precision


def test_the_loss_is_the_sum_of_both(parts: tuple[CellDataset, CellDataset]) -> None:
    model = unet().eval()
    images, targets = parts[0].batch(range(8))
    places = model(images, masks=True)[1]
    shares = nn.functional.avg_pool2d(nucleus_masks(images).float(), 2)
    expected = Classification(0.1)(model, images, targets) + 0.5 * nn.functional.binary_cross_entropy_with_logits(
        places, shares
    )
    objective = create_objective(TrainConfig(mask_weight=0.5, label_smoothing=0.1), parts[0])
    assert isinstance(objective, WithNucleus)
    assert objective(model, images, targets).item() == pytest.approx(expected.item(), rel=1e-5)


def test_who_makes_no_masks(parts: tuple[CellDataset, CellDataset]) -> None:
    with pytest.raises(ConfigError, match=r"'cnn' makes no masks; use create_model\('unet'\)"):
        SegmentingClassifier(create_model("cnn"))
    config = TrainConfig(epochs=1, batch_size=8, mask_weight=0.5)
    with pytest.raises(ConfigError, match="trains a SegmentingClassifier"):
        Trainer(create_model("unet", image_size=32), config, device="cpu").fit(*parts)
