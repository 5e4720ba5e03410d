"""In which order images are learned: from any batch of any epoch, divided among processes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Indices = NDArray[np.int64]


class EpochOrder(Sampler[int]):
    """The images that one process learns, in order, from any batch of any epoch.

    An epoch follows from its number alone. It is cut into global batches, and each of them into one batch a process:
    two processes with batches of 8 learn the same 16 images in a step as one process with batches of 16. A subclass
    says which images an epoch has.

    Args:
        batch_size: Images a process and batch.
        batches: Batches a process and epoch.
        process: Which process this is, from 0.
        processes: How many train together.
    """

    def __init__(self, batch_size: int, batches: int, process: int = 0, processes: int = 1) -> None:
        self.batch_size = batch_size
        self.batches = batches
        self.process = process
        self.processes = processes
        self.start(0)

    def start(self, epoch: int, batch: int = 0) -> None:
        """Choose where the next pass begins: in ``epoch``, at ``batch``."""
        self._start = (epoch, batch)

    def batch(self, epoch: int, batch: int, process: int) -> list[int]:
        """The images of one batch of any process."""
        images: list[int] = self._shares(epoch)[batch, process].tolist()
        return images

    def __len__(self) -> int:
        return (self.batches - self._start[1]) * self.batch_size

    def __iter__(self) -> Iterator[int]:
        epoch, batch = self._start
        yield from self._shares(epoch)[batch:, self.process].ravel().tolist()

    def _shares(self, epoch: int) -> Indices:
        """Image numbers: batches × processes × images."""
        return self._epoch(epoch).reshape(self.batches, self.processes, self.batch_size)

    @abstractmethod
    def _epoch(self, epoch: int) -> Indices:
        """All images of an epoch, batch after batch, process after process."""
