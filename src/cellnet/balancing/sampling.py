"""Orders of training that balance the classes: which images one process learns, from any batch of any epoch."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import ArrayLike

from cellnet.datasets.orders import EpochOrder, Indices
from cellnet.errors import ConfigError


class BalancedOrder(EpochOrder):
    """An `EpochOrder` that knows the classes. Its epochs follow from (seed, epoch), and have about N images.

    Args:
        targets: Integer labels of the N images.
        seed: Seed of the run.
        batch_size: Images a process and batch.
        process: Which process this is, from 0.
        processes: How many train together.

    Raises:
        ConfigError: There is no image, or a number out of range.
    """

    def __init__(self, targets: ArrayLike, seed: int, batch_size: int, process: int = 0, processes: int = 1) -> None:
        labels = np.asarray(targets)
        if not labels.size:
            raise ConfigError("There are no images to draw from; give the targets of the training part.")
        for name, value, least in (("seed", seed, 0), ("batch_size", batch_size, 1), ("processes", processes, 1)):
            if not isinstance(value, (int, np.integer)) or value < least:
                raise ConfigError(f"{name}={value!r} cannot be used; give a whole number of at least {least}.")
        if not 0 <= process < processes:
            raise ConfigError(f"process={process!r} cannot be used; give a number from 0 to {processes - 1}.")
        self.classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self.seed = seed
        super().__init__(batch_size, max(1, labels.size // (batch_size * processes)), process, processes)

    def _epoch(self, epoch: int) -> Indices:
        return self._order(np.random.default_rng([self.seed, epoch]))

    @abstractmethod
    def _order(self, generator: np.random.Generator) -> Indices:
        """All images of an epoch, batch after batch, process after process."""


class ClassBalancedSampler(BalancedOrder):
    """Each epoch has equally many images of each class, to one, in random order.

    A class of few images is gone through several times, one of many in part; no image is drawn again before all of
    its class were. It takes the place of `cellnet.training.loading.TrainingOrder`, and divides an epoch among
    processes as that does.

    Example:
        >>> order = ClassBalancedSampler([0, 0, 0, 0, 0, 1], seed=0, batch_size=3)
        >>> sorted(order)[-3:], order.batches
        ([5, 5, 5], 2)
    """

    def _order(self, generator: np.random.Generator) -> Indices:
        size = self.batches * self.processes * self.batch_size
        each, more = divmod(size, len(self.classes))
        counts = each + (generator.permutation(len(self.classes)) < more)
        decks = [_Deck(images, generator) for images in self.classes]
        return generator.permutation(np.concatenate([d.draw(n) for d, n in zip(decks, counts.tolist(), strict=True)]))


class MPerClassSampler(BalancedOrder):
    """Each batch has ``m`` images of each of ``batch_size / m`` classes, for losses that compare images.

    Where there are fewer classes, each comes several times. Every image of such a batch has another one of its class
    beside it, in the batch of its own process; no image comes twice, unless its class has too few.

    Args:
        targets: Integer labels of the N images.
        seed: Seed of the run.
        batch_size: Images a process and batch, a multiple of ``m``.
        m: Images of a class, at least 2.
        process: Which process this is, from 0.
        processes: How many train together.

    Raises:
        ConfigError: As `BalancedOrder`; ``m`` is below 2, or ``batch_size`` is no multiple of it.

    Example:
        >>> targets = np.array([0] * 9 + [1] * 5 + [2] * 4)
        >>> order = MPerClassSampler(targets, seed=0, batch_size=6, m=3)
        >>> [np.unique(targets[order.batch(0, batch, 0)], return_counts=True)[1].tolist() for batch in range(3)]
        [[3, 3], [3, 3], [3, 3]]
    """

    def __init__(
        self, targets: ArrayLike, seed: int, batch_size: int, m: int = 4, process: int = 0, processes: int = 1
    ) -> None:
        super().__init__(targets, seed, batch_size, process, processes)
        if not isinstance(m, (int, np.integer)) or m < 2:
            raise ConfigError(f"m={m!r} cannot be used; an image needs others of its class: give at least 2.")
        if batch_size % m:
            raise ConfigError(
                f"batch_size={batch_size} is no multiple of m={m}; give e.g. batch_size={max(1, batch_size // m) * m}."
            )
        self.m = m

    def _order(self, generator: np.random.Generator) -> Indices:
        kinds = _Deck(np.arange(len(self.classes)), generator)
        decks = [_Deck(images, generator) for images in self.classes]
        batches = []
        for _ in range(self.batches * self.processes):
            slots = np.bincount(kinds.draw(self.batch_size // self.m), minlength=len(decks))
            drawn = [deck.draw(self.m * n) for deck, n in zip(decks, slots.tolist(), strict=True) if n]
            batches.append(generator.permutation(np.concatenate(drawn)))
        return np.concatenate(batches)


class _Deck:
    """Cards that are dealt in random order, and shuffled anew when there are no more."""

    def __init__(self, cards: Indices, generator: np.random.Generator) -> None:
        self.cards = cards
        self.generator = generator
        self.left = generator.permutation(cards)

    def draw(self, count: int) -> Indices:
        """The next cards; none of them twice, unless there are fewer in all."""
        while len(self.left) < count:
            fresh = self.generator.permutation(self.cards)
            # What this draw has already comes last.
            self.left = np.concatenate([self.left, fresh[np.argsort(np.isin(fresh, self.left), kind="stable")]])
        drawn, self.left = self.left[:count], self.left[count:]
        return drawn
