"""Balancing in a training: the training part alone, in each fold anew, and exact after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imblearn.over_sampling import RandomOverSampler
from torch import Tensor, nn

from cellnet.balancing import SMOTE, ClassBalancedSampler, MPerClassSampler, list_samplers
from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import ConfigError, DataError, UnknownNameError
from cellnet.experiments import cross_validate
from cellnet.losses import FocalLoss
from cellnet.models import CellClassifier, create_model
from cellnet.training import Callback, TrainConfig, Trainer
from cellnet.training.loading import TrainingOrder, create_order
from cellnet.training.objectives import create_objective

Parts = tuple[CellDataset, CellDataset]


@pytest.fixture(scope="module")
def parts() -> Parts:
    """A training part of 8 images of five classes and 3 of three others; 8 of each to judge on."""
    train, val = load_dataset("synthetic", per_class=16, image_size=24, seed=1).folds(2)[0]
    seen: dict[int, int] = {}
    kept = []
    for row, label in enumerate(train.targets.tolist()):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= (8 if label < 5 else 3):
            kept.append(row)
    return train.subset(kept), val


def net() -> CellClassifier:
    torch.manual_seed(7)
    return create_model("cnn", image_size=24)


class Watch:
    """An objective that notes the classes it sees, as cross-entropy goes on."""

    def __init__(self) -> None:
        self.targets: list[int] = []

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        self.targets += targets.tolist()
        return nn.functional.cross_entropy(model(images).float(), targets)


def seen(parts: Parts, config: TrainConfig, **options: Any) -> list[int]:
    """How many images of each class an epoch shows."""
    watch = Watch()
    Trainer(net(), config, objective=watch, device="cpu", **options).fit(*parts)
    return np.bincount(watch.targets, minlength=8).tolist()


@pytest.mark.parametrize("preload", [True, False])
@pytest.mark.parametrize("sampler", [SMOTE(k_neighbors=2), RandomOverSampler()])
def test_a_sampler_fills_the_training_part_up(parts: Parts, sampler: Any, preload: bool) -> None:
    config = TrainConfig(epochs=1, batch_size=8, preload=preload)
    assert max(seen(parts, config)[5:]) <= 3
    assert seen(parts, config, balance=sampler) == [8] * 8
    assert sampler.random_state is None


@pytest.mark.parametrize("name", ["SMOTE", "EmbeddingSMOTE", "RandomUnderSampler"])
def test_a_config_names_its_sampler(parts: Parts, name: str) -> None:
    with pytest.warns(UserWarning, match="has 3 images") if "SMOTE" in name else pytest.MonkeyPatch.context():
        assert seen(parts, TrainConfig(epochs=1, batch_size=8, balance=name)) == [3 if "Under" in name else 8] * 8


def test_class_balanced_sampling_shows_classes_alike(parts: Parts) -> None:
    counts = seen(parts, TrainConfig(epochs=1, batch_size=8, sampling="class_balanced"))
    assert counts == [6] * 8


def test_a_balanced_run_continues_to_the_same_bits(parts: Parts, tmp_path: Path) -> None:
    class Stop(Callback):
        def on_step(self, epoch: int, images: int) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    config = TrainConfig(epochs=2, batch_size=8, checkpoint_minutes=0, sampling="class_balanced", augmentation="strong")
    balance = SMOTE(k_neighbors=2)
    whole = Trainer(net(), config, balance=balance, device="cpu").fit(*parts)
    with pytest.raises(KeyboardInterrupt):
        Trainer(net(), config, balance=balance, out=tmp_path, callbacks=[Stop()], device="cpu").fit(*parts)
    rest = Trainer(net(), config, balance=balance, out=tmp_path, device="cpu").fit(*parts, resume=True)
    for a, b in zip(whole.model.state_dict().values(), rest.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ConfigError, match="cannot be continued: train was"):
        Trainer(net(), config, balance=SMOTE(k_neighbors=1), out=tmp_path, device="cpu").fit(*parts, resume=True)


def test_each_fold_is_balanced_anew(parts: Parts, tmp_path: Path) -> None:
    sizes: list[int] = []

    class Note(Callback):
        def on_fit_start(self, epochs: int, steps: int, done: int) -> None:
            sizes.append(steps)

    config = TrainConfig(epochs=1, batch_size=2, balance="RandomOverSampler")
    result = cross_validate(parts[0], net, config, tmp_path, k=3, callbacks=[Note()], device="cpu")
    assert result.report.n == 49  # each real image is judged once, and no other
    assert all(2 * steps > run.n_train and 2 * steps % 8 == 0 for steps, run in zip(sizes, result.folds, strict=True))


@pytest.mark.parametrize(
    ("sampling", "kind"),
    [("shuffled", TrainingOrder), ("class_balanced", ClassBalancedSampler), ("m_per_class", MPerClassSampler)],
)
def test_orders_by_name(sampling: str, kind: type) -> None:
    order = create_order(TrainConfig(batch_size=8, sampling=sampling), np.arange(32) % 4, 0, 1)
    assert type(order) is kind
    assert (order.batch_size, order.batches) == (8, 4)


def test_weights_by_effective_numbers(parts: Parts) -> None:
    weights = create_objective(TrainConfig(class_weights="effective"), parts[0]).class_weights
    assert weights is not None
    assert weights[5:].min() > weights[:5].max()


def test_the_focal_loss_by_name(parts: Parts) -> None:
    logits, targets = torch.randn(4, 8), torch.tensor([0, 1, 5, 5])
    objective = create_objective(TrainConfig(focal_gamma=1.5, label_smoothing=0.1, class_weights="balanced"), parts[0])
    expected = FocalLoss(1.5, objective.class_weights, 0.1)(logits, targets)
    assert torch.equal(objective.of_logits(logits, targets), expected)


def test_what_cannot_be_balanced(parts: Parts) -> None:
    config = TrainConfig(epochs=1, batch_size=8)
    with pytest.raises(ConfigError, match="is given beside the config's balance='SMOTE'; leave one out"):
        Trainer(net(), TrainConfig(balance="SMOTE"), balance=SMOTE())
    with pytest.raises(ConfigError, match="which is no sampler"):
        Trainer(net(), config, balance="SMOTE", device="cpu").fit(*parts)
    with pytest.raises(DataError, match="'val' part was given where the 'train' part belongs"):
        Trainer(net(), config, balance=SMOTE(), device="cpu").fit(parts[1].subset(range(32), "val"), parts[1])
    with pytest.raises(UnknownNameError, match="Did you mean 'RandomOverSampler'"):
        TrainConfig(balance="RandomOver")
    with pytest.raises(ConfigError, match="no multiple of m=4"):
        Trainer(net(), TrainConfig(batch_size=10, sampling="m_per_class"), device="cpu").fit(*parts)
    assert "SMOTEN" not in list_samplers()  # for tables of categories
