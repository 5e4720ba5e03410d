"""Images that lie on the device that computes: the same batches as images that are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellnet.balancing import SMOTE
from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError
from cellnet.images import Preprocess
from cellnet.losses import SupConLoss
from cellnet.models import CellClassifier, ContrastiveClassifier
from cellnet.training import TrainConfig, Trainer
from cellnet.training.data import LoadedData, TrainingData
from cellnet.training.objectives import Contrastive
from cellnet.training.resident import ResidentData, check_room

CPU = torch.device("cpu")
PREPROCESS = Preprocess(image_size=24, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.fixture
def parts(synthetic: CellDataset) -> tuple[CellDataset, CellDataset]:
    return synthetic.folds(3)[0]


def data_of(
    kind: type[LoadedData | ResidentData], parts: tuple[CellDataset, CellDataset], views: int = 1, **options: object
) -> TrainingData:
    config = TrainConfig.from_dict({"batch_size": 7, "norm_batches": 3, **options})
    return kind(*parts, PREPROCESS, config, CPU, 0, 1, views=views)


@pytest.mark.parametrize("options", [{}, {"preload": False}, {"load_size": 30}, {"workers": 1}])
def test_without_augmentation_all_batches_are_those_that_are_read(
    parts: tuple[CellDataset, CellDataset], options: dict[str, object]
) -> None:
    loaded, resident = (data_of(kind, parts, augmentation="none", **options) for kind in (LoadedData, ResidentData))
    streams = [
        (loaded.epoch(4, first=1), resident.epoch(4, first=1)),
        (enumerate(loaded.val_batches), enumerate(resident.val_batches)),
        (enumerate([(images, images) for images in loaded.plain()]), enumerate((i, i) for i in resident.plain())),
    ]
    for expected, given in streams:
        for (number, batch), (same, other) in zip(expected, given, strict=True):
            assert number == same
            assert all(torch.equal(a, b) for a, b in zip(batch, other, strict=True))
    loaded.close()
    resident.close()


def test_an_epoch_is_augmented_anew_and_can_begin_at_any_batch(parts: tuple[CellDataset, CellDataset]) -> None:
    data = data_of(ResidentData, parts, augmentation="strong")
    whole, rest, next_epoch = list(data.epoch(0, first=0)), list(data.epoch(0, first=2)), list(data.epoch(1, first=0))
    assert [number for number, _ in rest] == [number for number, _ in whole][2:]
    for (_, (images, _)), (_, (again, _)) in zip(whole[2:], rest, strict=True):
        assert torch.equal(images, again)
    assert not torch.equal(whole[0][1][0], next_epoch[0][1][0])


def test_views_differ(parts: tuple[CellDataset, CellDataset]) -> None:
    _, (images, targets) = next(data_of(ResidentData, parts, views=2, augmentation="strong").epoch(0, first=0))
    assert images.shape == (7, 2, 3, 24, 24)
    assert targets.shape == (7,)
    assert not torch.equal(images[:, 0], images[:, 1])


@pytest.mark.parametrize("sampling", ["shuffled", "class_balanced"])
def test_balanced_parts_and_orders(
    parts: tuple[CellDataset, CellDataset], tiny_model: CellClassifier, sampling: str
) -> None:
    train, val = parts
    config = TrainConfig(epochs=1, batch_size=8, on_device=True, sampling=sampling)
    rare = train.subset(np.concatenate([np.flatnonzero(train.targets != 0), np.flatnonzero(train.targets == 0)[:2]]))
    assert len(Trainer(tiny_model, config, balance=SMOTE(k_neighbors=1)).fit(rare, val).history) == 1


def test_contrastive_views(parts: tuple[CellDataset, CellDataset], tiny_model: CellClassifier) -> None:
    config = TrainConfig(epochs=1, batch_size=16, augmentation="strong", on_device=True)
    model = ContrastiveClassifier(tiny_model)
    assert len(Trainer(model, config, objective=Contrastive(SupConLoss())).fit(*parts).history) == 1


@pytest.mark.parametrize("augmentation", ["mixed", "domain"])
def test_augmentations_of_one_image_at_a_time_are_refused(augmentation: str) -> None:
    with pytest.raises(ConfigError, match=r"RandomCutOut.*give augmentation='strong', or leave out on_device"):
        TrainConfig(augmentation=augmentation, on_device=True)


def test_images_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**31))
    check_room(2**29, torch.device("cuda"))
    with pytest.raises(ConfigError, match=r"holds 0\.9 GiB of images on a GPU with 1\.0 GiB free.*70%"):
        check_room(9 * 2**30 // 10, torch.device("cuda"))
    check_room(2**50, CPU)
