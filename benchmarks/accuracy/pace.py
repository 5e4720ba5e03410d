"""How many epochs a budget of time allows: the pace of each row is measured first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from benchmarks.accuracy.tasks import Task

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError
from cellnet.experiments.hybrid import fuse
from cellnet.losses import SupConLoss
from cellnet.models import ContrastiveClassifier
from cellnet.training import Trainer
from cellnet.training.objectives import Contrastive

BATCHES = 3
"""Batches of an epoch that is timed; it is the second one, since the first warms up."""

FORWARD = 1 / 3
"""What an image costs that is only looked at, beside one that is learned."""

Parts = tuple[CellDataset, ...]
Announce = Callable[[str], None]


def images_per_second(task: Task, parts: Parts, tasks: Sequence[Task]) -> float:
    """Images a second in the first stage of a row, loading and augmentation included.

    Args:
        task: The row.
        parts: Its training, validation and test part.
        tasks: Where those are that it is made of.
    """
    train, val, _ = parts
    (config, *_), objective = task.configs(task.setting.epochs), None
    if task.row.kind == "fused":
        model = fuse(*(branch.maker(train.labels)() for branch in task.branches(tasks)))
    else:
        model = task.maker(train.labels)()
    if task.row.kind == "contrast":
        model, objective = ContrastiveClassifier(model), Contrastive(SupConLoss())
    images = min(BATCHES * config.batch_size, len(train))
    some = train.subset(np.linspace(0, len(train) - 1, images).astype(int))
    few = val.subset(np.arange(min(config.batch_size, len(val))))
    short = replace(config, epochs=2, balance=None)  # too few images of a class to mix
    fit = Trainer(model, short, objective=objective, device=task.setting.trainer_device).fit(some, few)
    return float(fit.history[-1]["images_per_second"])


def seconds_of(task: Task, parts: Parts, rate: float, epochs: int) -> float:
    """About how long a row takes: its epochs, and looking at all images to judge it.

    Args:
        task: The row.
        parts: Its parts.
        rate: Images a second in its first stage.
        epochs: Beside those of the protocol.
    """
    train, val, test = map(len, parts)
    first, *second = task.configs(epochs)
    learned = balanced_size(parts[0]) if first.balance else train
    images = first.epochs * (learned + FORWARD * val)
    images += sum(FORWARD * config.epochs * (train + val) for config in second)  # the head alone
    return (images + FORWARD * (2 * train + 2 * val + test)) / rate


def balanced_size(part: CellDataset) -> int:
    """Images of a part when each class that it has is as large as the largest."""
    counts = np.bincount(part.targets)
    return int(counts.max()) * int(np.count_nonzero(counts))


def epochs_within(
    minutes: float, tasks: Sequence[Task], parts_of: Callable[[Task], Parts], everything: Sequence[Task], say: Announce
) -> int:
    """The most epochs, up to those of the protocol, that let all rows end in time: the same for all.

    Args:
        minutes: The budget of all rows together.
        tasks: What has to be trained.
        parts_of: Gives the parts of a row.
        everything: Where the rows are that others are made of.
        say: Told the pace of each row.

    Raises:
        ConfigError: One epoch takes longer; the message says how long.
    """
    start = time.perf_counter()
    rates: dict[str, float] = {}
    for task in tasks:
        if task.row.name not in rates:  # with and without shuffling alike
            torch.manual_seed(0)
            rates[task.row.name] = images_per_second(task, parts_of(task), everything)
            say(f"{task.row.name}: {rates[task.row.name]:.0f} images/s")
    spent = time.perf_counter() - start

    def needed(epochs: int) -> float:
        return (spent + sum(seconds_of(task, parts_of(task), rates[task.row.name], epochs) for task in tasks)) / 60

    for epochs in range(tasks[0].setting.epochs, 0, -1):
        if needed(epochs) <= minutes:
            say(f"{epochs} epochs, about {needed(epochs):.0f} of {minutes:g} minutes")
            return epochs
    raise ConfigError(
        f"One epoch of each of these rows takes about {needed(1):.0f} minutes, --budget allows {minutes:g}; give more, "
        "or fewer rows, or smaller images (--rows, --image-size)."
    )
