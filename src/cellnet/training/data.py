"""The three streams of images of a run: what is learned, what is judged, and what statistics are measured on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cellnet.augment import create_augmentation
from cellnet.datasets import CellDataset
from cellnet.images import Preprocess
from cellnet.models import CellClassifier
from cellnet.training.config import TrainConfig
from cellnet.training.loading import TrainingView, close, create_order, scoring_loader, training_loader
from cellnet.training.sizes import shrink

Batch = tuple[Tensor, Tensor]
"""Images and labels."""


class TrainingData(ABC):
    """The parts of a run as batches, for one of its processes.

    Args:
        train: Training part.
        val: Validation part; process p of P scores every P-th image from its number on.
        preprocess: The model's own.
        config: Options of the run.
        device: Where the model is.
        process: Which process this is, from 0.
        processes: How many train together.
        views: How many views of an image are learned at once.
        prepared: Whether the images of the training part have gone through `before_augmentation` already.

    Attributes:
        order: Which image is learned when.
        val_batches: The images that this process scores, in order, with their labels.
    """

    val_batches: Iterable[Batch]

    def __init__(
        self,
        train: CellDataset,
        val: CellDataset,
        preprocess: Preprocess,
        config: TrainConfig,
        device: torch.device,
        process: int,
        processes: int,
        *,
        views: int = 1,
        prepared: bool = False,
    ) -> None:
        self.order = create_order(config, train.targets, process, processes)
        self.config, self.preprocess, self.device = config, preprocess, device
        self.process, self.views = process, views
        # Images as they are, the same ones in all epochs and processes.
        batches = range(min(config.norm_batches, self.order.batches))
        self._plain = [row for batch in batches for row in self.order.batch(0, batch, 0)]
        judged = val.subset(np.arange(process, len(val), processes))
        self._open(train, None if prepared else before_augmentation(preprocess, config), judged)

    @abstractmethod
    def _open(self, train: CellDataset, first: Preprocess | None, judged: CellDataset) -> None:
        """Get ready.

        Args:
            train: Training part.
            first: What its images have to go through; None where they have.
            judged: The images that this process scores.
        """

    @abstractmethod
    def epoch(self, epoch: int, first: int) -> Iterator[tuple[int, Batch]]:
        """The batches of an epoch with their numbers, from ``first`` on: uint8 N×3×S×S (or N×V×3×S×S) and int64 N."""

    @abstractmethod
    def plain(self) -> Iterator[Tensor]:
        """``norm_batches`` batches of training images that are not augmented, of the model's size, on its device."""

    @abstractmethod
    def close(self) -> None:
        """End the processes that load images."""


class LoadedData(TrainingData):
    """Images that are read, and augmented one by one, by the processor while the device computes."""

    def _open(self, train: CellDataset, first: Preprocess | None, judged: CellDataset) -> None:
        config, preprocess = self.config, self.preprocess
        if config.preload:
            train, judged = train if first is None else train.preload(first), judged.preload(preprocess)
            first = None
        augmentation = None if config.augmentation == "none" else create_augmentation(config.augmentation)
        self._view = TrainingView(train, first, augmentation, config.seed, self.views)
        self._loader = training_loader(self._view, self.order, config.workers)
        self._val_loader = scoring_loader(
            TrainingView(judged, None if config.preload else preprocess), config.batch_size, config.workers
        )
        self.val_batches = self._val_loader
        sample = TrainingView(train.subset(self._plain), first)
        self._norm_loader = scoring_loader(sample, self.order.batch_size, config.workers)

    def epoch(self, epoch: int, first: int) -> Iterator[tuple[int, Batch]]:
        """See `TrainingData`."""
        self._view.set_epoch(epoch)
        self.order.start(epoch, batch=first)
        return enumerate(self._loader, start=first)

    def plain(self) -> Iterator[Tensor]:
        """See `TrainingData`."""
        return (shrink(images.to(self.device), self.preprocess.image_size) for images, _ in self._norm_loader)

    def close(self) -> None:
        """See `TrainingData`."""
        for loader in (self._loader, self._val_loader, self._norm_loader):
            close(loader)


def before_augmentation(preprocess: Preprocess, config: TrainConfig) -> Preprocess:
    """How training images are cut and resized before they are augmented."""
    return preprocess if config.load_size is None else replace(preprocess, image_size=config.load_size)


def balance_part(train: CellDataset, sampler: Any, model: CellClassifier, config: TrainConfig) -> CellDataset:
    """The training part balanced; its images have gone through `before_augmentation`.

    Args:
        train: Training part.
        sampler: What `cellnet.balancing.balance` takes; None takes the one that the config names.
        model: The model as its training begins, on the device that computes; it is put into evaluation mode.
        config: Also says whether images are held in memory, and the seed of a sampler that has none.

    Raises:
        ConfigError: No sampler, or one that cannot balance these data.
        DataError: The result would not fit into memory.
    """
    from cellnet.balancing import balance, create_sampler  # takes a second

    if sampler is None:
        sampler = create_sampler(str(config.balance), model.eval().features)
    first = before_augmentation(model.preprocess, config)
    if config.preload:
        return balance(train.preload(first), sampler, seed=config.seed)
    return balance(train, sampler, first, config.seed)
