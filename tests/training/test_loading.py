"""Batches whose every random draw follows from (seed, epoch, image)."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from cellnet.augment import create_augmentation
from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, ImageError
from cellnet.images import Preprocess
from cellnet.labels import LabelSchema
from cellnet.training.loading import TrainingOrder, TrainingView, close, loading_errors, scoring_loader, training_loader

PREPROCESS = Preprocess(image_size=24, mean=(0.5,) * 3, std=(0.5,) * 3)


def epoch_of(dataset: CellDataset, epoch: int, workers: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    view = TrainingView(dataset, PREPROCESS, create_augmentation("strong"), seed)
    order = TrainingOrder(len(view), seed, batch_size=10)
    loader = training_loader(view, order, workers)
    view.set_epoch(epoch)
    order.start(epoch)
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
    view = TrainingView(synthetic, PREPROCESS, create_augmentation("strong"))
    loader = training_loader(view, TrainingOrder(len(view), 0, batch_size=10), workers)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    for _ in range(2):
        list(loader)
    assert torch.equal(torch.rand(1), expected)


def test_workers_live_on_and_see_each_epoch(synthetic: CellDataset) -> None:
    view = TrainingView(synthetic, PREPROCESS, create_augmentation("strong"))
    order = TrainingOrder(len(view), 0, batch_size=10)
    loader = training_loader(view, order, workers=1)
    processes = []
    for epoch in (0, 5, 1):
        view.set_epoch(epoch)
        order.start(epoch)
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


def test_the_order_is_a_permutation_that_changes() -> None:
    order = TrainingOrder(20, seed=1, batch_size=5)
    orders = []
    for epoch in range(3):
        order.start(epoch)
        orders.append(list(order))
    assert all(sorted(images) == list(range(20)) for images in orders)
    assert orders[0] != orders[1] != orders[2]
    assert orders[0] != list(TrainingOrder(20, seed=2, batch_size=5))


@pytest.mark.parametrize("batch", [0, 1, 4])
def test_the_order_starts_at_any_batch(batch: int) -> None:
    whole, rest = (TrainingOrder(23, seed=1, batch_size=5) for _ in range(2))
    whole.start(3)
    rest.start(3, batch)
    assert list(rest) == list(whole)[5 * batch :]
    assert len(rest) == 20 - 5 * batch
    assert whole.batches == 4


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_divide_one_global_order(processes: int) -> None:
    orders = [TrainingOrder(50, 4, 12 // processes, process, processes) for process in range(processes)]
    alone = TrainingOrder(50, 4, 12)
    for order in (*orders, alone):
        order.start(2, batch=1)
    shares = [torch.tensor(list(order)).view(3, -1) for order in orders]
    assert torch.equal(torch.cat(shares, dim=1), torch.tensor(list(alone)).view(3, 12))
    assert [order.batch(2, 1, p) for p, order in enumerate(orders)] == [share[0].tolist() for share in shares]


def test_a_batch_larger_than_the_set_is_the_set() -> None:
    assert sorted(TrainingOrder(7, 0, batch_size=100)) == list(range(7))
    assert [TrainingOrder(7, 0, 100, p, 2).batch_size for p in range(2)] == [3, 3]


def test_scoring_sees_every_image_once_and_training_full_batches(synthetic: CellDataset) -> None:
    view = TrainingView(synthetic, PREPROCESS)
    assert sum(len(images) for images, _ in scoring_loader(view, 10, 0)) == len(synthetic) == 48
    order = TrainingOrder(len(view), 0, batch_size=10)
    assert [len(images) for images, _ in training_loader(view, order, 0)] == [10] * 4


def test_an_unreadable_image_is_told_as_without_workers(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    dataset = CellDataset([tmp_path / "bad.png"], [0], LabelSchema.from_names(["a", "b"]))
    messages = []
    for workers in (0, 1):
        loader = scoring_loader(TrainingView(dataset, PREPROCESS), 1, workers)
        with pytest.raises(ImageError) as caught, loading_errors():
            list(loader)
        close(loader)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "bad.png" in messages[0]


class Deadly(TrainingView):
    """Its worker dies as when the system kills it for memory."""

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_killed_worker_is_one_clear_error(synthetic: CellDataset) -> None:
    with pytest.raises(ConfigError, match=r"loads images ended unexpectedly.*fewer workers"), loading_errors():
        list(scoring_loader(Deadly(synthetic, PREPROCESS), 10, workers=1))


def test_a_killed_worker_is_told_of_where_a_batch_is_asked_for(synthetic: CellDataset) -> None:
    loaders = [scoring_loader(TrainingView(synthetic, PREPROCESS), 4, workers=1) for _ in range(3)]
    iterators = [iter(loader) for loader in loaders]
    for iterator in iterators:
        next(iterator)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        sum(range(1000))  # wherever a signal handler would be run
    for iterator in iterators:
        with pytest.raises(ConfigError, match="ended unexpectedly"), loading_errors():
            list(iterator)
    for loader in loaders:
        close(loader)


class Signalled(TrainingView):
    """Its worker gets the Ctrl-C of the terminal."""

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        return super().__getitems__(indices)


def test_workers_leave_signals_to_the_main_process(synthetic: CellDataset) -> None:
    loader = scoring_loader(Signalled(synthetic, PREPROCESS), 10, workers=1)
    assert sum(len(images) for images, _ in loader) == 48
    (worker,) = loader._iterator._workers  # type: ignore[union-attr]
    close(loader)
    assert not worker.is_alive()


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(RuntimeError, match="shapes"), loading_errors():
        raise RuntimeError("shapes cannot be multiplied")
