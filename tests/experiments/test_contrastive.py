"""Supervised contrastive training: two stages that end in an ordinary classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import cellnet
from cellnet.cards import WeightsCard
from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import ConfigError, DataError
from cellnet.experiments import classifier_config, train_contrastive
from cellnet.losses import SupConLoss
from cellnet.models import CellClassifier, ContrastiveClassifier, create_model
from cellnet.training import Callback, TrainConfig, Trainer
from cellnet.training.loading import TrainingView
from cellnet.training.objectives import Contrastive

CONFIG = TrainConfig(epochs=2, batch_size=16, lr=3e-3, augmentation="strong", checkpoint_minutes=0)


@pytest.fixture(scope="module")
def parts() -> list[CellDataset]:
    return list(load_dataset("synthetic", per_class=12, image_size=24, seed=3).split((0.6, 0.2, 0.2), seed=0))


def net() -> CellClassifier:
    return create_model("cnn", image_size=24)


def contrastive() -> ContrastiveClassifier:
    torch.manual_seed(7)
    return ContrastiveClassifier(net(), dim=16)


def test_two_stages_end_in_an_ordinary_classifier(parts: list[CellDataset], tmp_path: Path) -> None:
    told: list[str] = []
    configs = (CONFIG, classifier_config(CONFIG))
    result = train_contrastive(parts, net, configs, tmp_path, dim=16, device="cpu", announce=told.append)
    assert [words.partition(":")[0] for words in told] == ["encoder", "classifier"]
    assert type(result.fit.model) is CellClassifier
    assert len(result.fit.history) == 5
    assert result.checkpoint == tmp_path / "classifier" / "model"
    loaded = cellnet.load_pretrained(result.checkpoint)
    stored = loaded.predict(parts[2]).logits  # in half precision
    assert stored == pytest.approx(result.report.predictions.logits, abs=1e-3)
    assert loaded.weights_card is not None
    assert loaded.weights_card.starting_weights == "supervised contrastive training from random initialisation"
    assert result.report.predictions.features is not None  # for the plot of the embedding


def test_a_start_must_not_have_seen_test_images(parts: list[CellDataset], tmp_path: Path) -> None:
    def start(training_data: str) -> CellClassifier:
        model = net()
        model.weights_card = WeightsCard("old", training_data=training_data, training_data_hash="0" * 16)
        return model.transfer()

    configs = (replace(CONFIG, epochs=1), replace(classifier_config(CONFIG), epochs=1))
    with pytest.raises(DataError, match="old, which this training starts from, was trained on other images"):
        train_contrastive(parts, lambda: start("synthetic"), configs, tmp_path / "refused", device="cpu")
    assert not (tmp_path / "refused").exists()
    result = train_contrastive(parts, lambda: start("another set"), configs, tmp_path / "run", device="cpu")
    card = cellnet.load_pretrained(result.checkpoint).weights_card
    assert card is not None
    assert card.seen == {"another set": "0" * 16}


@pytest.mark.parametrize("fine_tune", [False, True])
def test_the_second_stage_leaves_the_encoder_alone_unless_told(
    parts: list[CellDataset], tmp_path: Path, fine_tune: bool
) -> None:
    config = classifier_config(CONFIG, fine_tune=fine_tune)
    result = train_contrastive(parts, net, (CONFIG, config), tmp_path, fine_tune=fine_tune, dim=16, device="cpu")
    encoder = contrastive()
    encoder.load_state_dict(cellnet.tensors.read_tensors(tmp_path / "encoder" / "best.safetensors"))
    trained, before = result.fit.model.backbone.state_dict(), encoder.backbone.state_dict()
    assert all(torch.equal(trained[key], before[key]) for key in before) is not fine_tune


def test_the_head_that_looks_on_changes_nothing_of_the_backbone() -> None:
    model = contrastive()
    images = torch.randint(0, 256, (8, 3, 24, 24), dtype=torch.uint8)
    model.eval()
    projections, logits = model(images, project=True)
    assert projections.shape == (8, 16)
    assert torch.equal(logits, model(images))
    logits.sum().backward()
    assert all(weights.grad is None for weights in (*model.backbone.parameters(), *model.projection.parameters()))
    assert all(weights.grad is not None for weights in model.head.parameters())


def test_the_loss_is_that_of_two_views_and_of_the_head(parts: list[CellDataset]) -> None:
    model = contrastive().eval()
    view = TrainingView(parts[0].preload(model.preprocess), None, lambda image: image.flip(-1), views=2)
    images, targets = view.__getitems__([0, 1, 30, 50])
    assert images.shape == (4, 2, 3, 24, 24)
    objective = Contrastive(SupConLoss(temperature=0.2))
    loss = objective(model, images.flatten(0, 1), targets)
    projections, logits = model(images.flatten(0, 1), project=True)
    expected = SupConLoss(temperature=0.2)(torch.stack([projections[0::2], projections[1::2]], dim=1), targets)
    head = nn.functional.cross_entropy(logits, torch.stack([targets, targets], dim=1).flatten())
    assert loss.item() == pytest.approx((expected + head).item(), rel=1e-6)


def test_views_of_an_image_differ_and_the_first_is_the_single_one(parts: list[CellDataset]) -> None:
    augment = cellnet.augment.create_augmentation("strong")
    one, two = (TrainingView(parts[0], None, augment, seed=1, views=views) for views in (1, 2))
    single, pair = one.__getitems__([3])[0][0], two.__getitems__([3])[0][0]
    assert torch.equal(pair[0], single)
    assert not torch.equal(pair[0], pair[1])


def test_an_interrupted_encoder_continues_to_the_same_bits_with_its_queue(
    parts: list[CellDataset], tmp_path: Path
) -> None:
    class Stop(Callback):
        def on_step(self, epoch: int, images: int) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    def trainer(out: Path | None, *callbacks: Callback) -> Trainer:
        loss = SupConLoss(memory=64, dim=16)
        return Trainer(contrastive(), CONFIG, out=out, objective=Contrastive(loss), callbacks=callbacks, device="cpu")

    whole = trainer(None).fit(*parts[:2]).model.state_dict()
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, Stop()).fit(*parts[:2])
    rest = trainer(tmp_path).fit(*parts[:2], resume=True).model.state_dict()
    assert all(torch.equal(whole[key], rest[key]) for key in whole)
    other = Trainer(contrastive(), CONFIG, out=tmp_path, objective=Contrastive(SupConLoss(0.5)), device="cpu")
    with pytest.raises(ConfigError, match="objective was"):
        other.fit(*parts[:2], resume=True)


def test_what_does_not_go_with_views_is_refused(parts: list[CellDataset], tmp_path: Path) -> None:
    objective = Contrastive(SupConLoss())
    with pytest.raises(ConfigError, match="trains a ContrastiveClassifier"):
        Trainer(net(), CONFIG, objective=objective, device="cpu").fit(*parts[:2])
    mixed = TrainConfig(epochs=1, batch_size=16, mixup=0.2)
    with pytest.raises(ConfigError, match="train without mixup and a teacher"):
        Trainer(contrastive(), mixed, objective=objective, distill=net(), device="cpu").fit(*parts[:2])
    with pytest.raises(ConfigError, match="dim=0 must be at least 1"):
        ContrastiveClassifier(net(), dim=0)
    masks = TrainConfig(epochs=1, mask_weight=0.5)
    with pytest.raises(ConfigError, match="leave out mask_weight"):
        train_contrastive(parts, net, (masks, masks), tmp_path)
    with pytest.raises(DataError, match="needs the parts train, val and test"):
        train_contrastive(parts[:2], net, (CONFIG, CONFIG), tmp_path)
