"""Batches whose every random draw follows from (seed, epoch, image)."""

from __future__ import annotations

import pytest
import torch

from cellnet.augment import create_augmentation
from cellnet.datasets import CellDataset
from cellnet.images import Preprocess
from cellnet.training.loading import EpochSampler, TrainingView, scoring_loader, training_loader

PREPROCESS = Preprocess(image_size=24, mean=(0.5,) * 3, std=(0.5,) * 3)


def epoch_of(dataset: CellDataset, epoch: int, workers: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    view = TrainingView(dataset, PREPROCESS, create_augmentation("strong"), seed)
    loader = training_loader(view, batch_size=10, workers=workers)
    view.set_epoch(epoch)
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    batches = list(loader)
    return torch.cat([images for images, _ in batches]), torch.cat([targets for _, targets in batches])


def test_workers_do_not_change_what_is_seen(synthetic: CellDataset) -> None:
    here, there = epoch_of(synthetic, 3, workers=0), epoch_of(synthetic, 3, workers=2)
    assert torch.equal(here[0], there[0])
    assert torch.equal(here[1], there[1])
    assert here[0].dtype == torch.uint8


def test_epochs_and_seeds_differ(synthetic: CellDataset) -> None:
    first = epoch_of(synthetic, 0, 0)[0]
    assert not torch.equal(first, epoch_of(synthetic, 1, 0)[0])
    assert not torch.equal(first, epoch_of(synthetic, 0, 0, seed=1)[0])


def test_augmentation_leaves_the_global_generator_alone(synthetic: CellDataset) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    _ = TrainingView(synthetic, PREPROCESS, create_augmentation("strong")).__getitems__([0])
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_leaves_the_global_generator_alone(synthetic: CellDataset, workers: int) -> None:
    loader = training_loader(TrainingView(synthetic, PREPROCESS, create_augmentation("strong")), 10, workers)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    for _ in range(2):
        list(loader)
    assert torch.equal(torch.rand(1), expected)


def test_workers_live_on_and_see_each_epoch(synthetic: CellDataset) -> None:
    view = TrainingView(synthetic, PREPROCESS, create_augmentation("strong"))
    loader = training_loader(view, batch_size=10, workers=1)
    processes = []
    for epoch in (0, 5, 1):
        view.set_epoch(epoch)
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        seen = torch.cat([images for images, _ in loader])
        processes.append(loader._iterator._workers[0].pid)  # type: ignore[union-attr]
        assert torch.equal(seen, epoch_of(synthetic, epoch, workers=0)[0])
    assert len(set(processes)) == 1


def test_images_that_are_ready_are_gathered(synthetic: CellDataset) -> None:
    ready = synthetic.preload(PREPROCESS)
    gathered = list(scoring_loader(TrainingView(ready, None), 10, 0))
    one_by_one = list(scoring_loader(TrainingView(synthetic, PREPROCESS), 10, 0))
    for (images, targets), (expected, labels) in zip(gathered, one_by_one, strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(targets, labels)
    augment = create_augmentation("strong")
    views = TrainingView(ready, None, augment, seed=3), TrainingView(synthetic, PREPROCESS, augment, seed=3)
    assert torch.equal(*(view.__getitems__([4, 7])[0] for view in views))


def test_the_order_is_a_permutation() -> None:
    sampler = EpochSampler(20, seed=1)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_scoring_sees_every_image_once_and_training_full_batches(synthetic: CellDataset) -> None:
    view = TrainingView(synthetic, PREPROCESS)
    assert sum(len(images) for images, _ in scoring_loader(view, 10, 0)) == len(synthetic) == 48
    assert [len(images) for images, _ in training_loader(view, 10, 0)] == [10] * 4
    assert [len(images) for images, _ in training_loader(view, 100, 0)] == [48]
