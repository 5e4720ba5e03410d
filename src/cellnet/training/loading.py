"""From a data set to batches, such that every random draw follows from (seed, epoch, image)."""

from __future__ import annotations

import contextlib
import hashlib
import signal
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from cellnet.datasets import CellDataset
from cellnet.datasets.loading import Batches, make_loader
from cellnet.datasets.orders import EpochOrder, Indices
from cellnet.errors import CellnetError, ConfigError
from cellnet.images import Preprocess
from cellnet.training.config import TrainConfig


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part: independent streams from one seed.

    Example:
        >>> derive_seed(0, "order", 1) == derive_seed(0, "order", 1), derive_seed(0, 1) == derive_seed(1, 0)
        (True, False)
    """
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8]) >> 1


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the global generators that a step draws from, e.g. in dropout: the CPU's and the device's.

    `torch.manual_seed` takes a hundred times as long, since it notes where it was called from for every kind of
    device that is not in use.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


class TrainingOrder(EpochOrder):
    """All images in an order that is drawn from (seed, epoch).

    Images left over at the end are not seen in this epoch: a batch of one image would have no variance for batch
    normalisation.

    Args:
        size: Number of images.
        seed: Seed of the run.
        batch_size: Images a process and batch; fewer where the images do not suffice for one batch.
        process: Which process this is, from 0.
        processes: How many train together.

    Example:
        >>> order = TrainingOrder(5, seed=0, batch_size=2)
        >>> order.start(epoch=0, batch=1)
        >>> list(order) == order.batch(epoch=0, batch=1, process=0)
        True
    """

    def __init__(self, size: int, seed: int, batch_size: int, process: int = 0, processes: int = 1) -> None:
        self.size = size
        self.seed = seed
        batch_size = min(batch_size, size // processes)
        super().__init__(batch_size, size // (batch_size * processes), process, processes)

    def _epoch(self, epoch: int) -> Indices:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        order = torch.randperm(self.size, generator=generator).numpy()
        return order[: self.batches * self.processes * self.batch_size]


def create_order(config: TrainConfig, targets: Indices, process: int, processes: int) -> EpochOrder:
    """The order of training that a config names.

    Args:
        config: Says which, and the images a batch.
        targets: Labels of the training part.
        process: Which process this is, from 0.
        processes: How many train together.

    Raises:
        ConfigError: The batch is no multiple of ``images_per_class``.
    """
    seed, size = config.seed, config.batch_size
    if config.sampling == "shuffled":
        return TrainingOrder(len(targets), seed, size, process, processes)
    from cellnet.balancing import ClassBalancedSampler, MPerClassSampler  # takes a second

    if config.sampling == "class_balanced":
        return ClassBalancedSampler(targets, seed, size, process, processes)
    return MPerClassSampler(targets, seed, size, config.images_per_class, process, processes)


class TrainingView(Batches):
    """A data set as the training loop sees it: preprocessed, then augmented anew in each epoch.

    The augmentation of an image depends on (seed, epoch, index) alone, hence not on the number of workers,
    nor on where a run was interrupted.

    Args:
        dataset: Images and labels; its own transform is not used.
        preprocess: The model's own; None where the images have gone through it already.
        augmentation: uint8 3×S×S -> uint8 3×S×S drawing from torch's global generator, or None.
        seed: Seed of the run.
        views: How many augmented views to make of each image; where there are several, an image is V×3×S×S.
    """

    def __init__(
        self,
        dataset: CellDataset,
        preprocess: Preprocess | None,
        augmentation: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
        views: int = 1,
    ) -> None:
        super().__init__(dataset)
        self.preprocess = preprocess
        self.augmentation = augmentation
        self.seed = seed
        self.views = views
        self.epoch = torch.zeros((), dtype=torch.int64)  # a tensor, so that living workers see it change

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of this epoch."""
        self.epoch.fill_(epoch)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """The batch, already put together."""
        if self.preprocess is None and self.augmentation is None and self.views == 1:
            return self.dataset.batch(indices)
        return self.together(map(self._image, indices), indices)

    def _image(self, index: int) -> Tensor:
        image = self.dataset.image(index)
        if self.preprocess is not None:
            image = self.preprocess(image)
        if self.augmentation is None:
            return image if self.views == 1 else image.expand(self.views, -1, -1, -1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed(self.seed, "augment", int(self.epoch), index))
            views = [self.augmentation(image) for _ in range(self.views)]
        return views[0] if self.views == 1 else torch.stack(views)


def training_loader(view: TrainingView, order: EpochOrder, workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """Full batches in the given order, from where it starts."""
    if workers:
        view.epoch.share_memory_()  # type: ignore[no-untyped-call]
    return _deaf(make_loader(view, order.batch_size, workers, sampler=order))


def scoring_loader(view: TrainingView, batch_size: int, workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """Every image once, in order."""
    return _deaf(make_loader(view, batch_size, workers))


@contextlib.contextmanager
def loading_errors() -> Iterator[None]:
    """What goes wrong in the processes that load images, as one clear error.

    Raises:
        ConfigError: One of them ended, e.g. because memory ran out.
        CellnetError: As raised there, e.g. `ImageError`.
    """
    try:
        yield
    except RuntimeError as error:
        # torch has no class for it.
        if "DataLoader worker" not in str(error):
            raise
        raise ConfigError(
            "A process that loads images ended unexpectedly; mostly memory, or shared memory (/dev/shm), has run "
            "out. Load with fewer workers, or with workers=0, and continue with resume (--resume)."
        ) from error
    except CellnetError as error:
        # torch puts the whole traceback of the other process into the message.
        if "in DataLoader worker process" not in str(error):
            raise
        message = str(error).rstrip().splitlines()[-1].partition(": ")[2]
        raise type(error)(message) from error


def close(loader: DataLoader[tuple[Tensor, Tensor]]) -> None:
    """End the processes of a loader, which nothing else would do where an exception still holds its iterator."""
    if isinstance(loader._iterator, _MultiProcessingDataLoaderIter):
        loader._iterator._shutdown_workers()


def _deaf(loader: DataLoader[tuple[Tensor, Tensor]]) -> DataLoader[tuple[Tensor, Tensor]]:
    """A loader whose processes leave signals to the main one, which finishes its step and then calls `close`."""
    loader.worker_init_fn = _ignore_signals
    return loader


def _ignore_signals(worker: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
