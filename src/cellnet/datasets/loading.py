"""From a data set to batches: many images read at once, kept as bytes until they are where the model computes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch._C import _remove_worker_pids
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, default_collate
from torch.utils.data.dataloader import _BaseDataLoaderIter, _MultiProcessingDataLoaderIter

from cellnet.datasets.base import CellDataset
from cellnet.errors import ConfigError, DataError
from cellnet.images import stack_images


def create_loader(
    dataset: CellDataset,
    batch_size: int = 32,
    *,
    shuffle: bool = False,
    seed: int = 0,
    workers: int = 0,
    drop_last: bool = False,
) -> DataLoader[tuple[Any, Tensor]]:
    """A `DataLoader` over a data set that reads whole batches, each image copied once.

    Scaling and normalising are left to the model (`CellClassifier` does both) or to `Preprocess.normalise`: bytes
    are a quarter of the memory and of the way to the device. Memory is pinned where there is a GPU.

    Args:
        dataset: Images of one size, or with a transform that brings them to one, such as `Preprocess`.
        batch_size: Images a batch.
        shuffle: A new order in each pass.
        seed: The orders follow from it, and from nothing else.
        workers: Processes that read, which live as long as the loader; 0 reads in this one.
        drop_last: Leave out a last batch that is not full.

    Returns:
        Batches of images, uint8 N×3×H×W that lies channels-last (or what the transform gives, stacked), and of
        labels, int64 N.

    Raises:
        ConfigError: A number out of range.
        DataError: There is no image. While reading: two images of a batch differ in size; the message names them.

    Example:
        >>> from cellnet.datasets import SyntheticCells
        >>> loader = create_loader(SyntheticCells(per_class=5, image_size=32), batch_size=16, shuffle=True)
        >>> [(images.dtype, len(targets)) for images, targets in loader]
        [(torch.uint8, 16), (torch.uint8, 16), (torch.uint8, 8)]
    """
    if not len(dataset):
        raise DataError("There are no images to load; check how the data set was made.")
    # The sampler has a generator of its own: a loader draws from the one it holds, and not equally often with workers.
    order = RandomSampler(dataset.files, generator=torch.Generator().manual_seed(seed)) if shuffle else None
    return make_loader(Batches(dataset), batch_size, workers, sampler=order, drop_last=drop_last, seed=seed)


class Batches(Dataset[tuple[Any, Tensor]]):
    """A data set as a loader asks it: for all images of a batch at once."""

    def __init__(self, dataset: CellDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: list[int]) -> tuple[Any, Tensor]:
        """The batch, already put together."""
        if self.dataset.transform is None:
            return self.dataset.batch(indices)
        return self.together((self.dataset[index][0] for index in indices), indices)

    def together(self, images: Iterable[Any], indices: list[int]) -> tuple[Any, Tensor]:
        """Images and their labels, int64 N; what a transform made that is no tensor goes torch's usual way.

        Raises:
            DataError: The images differ in size; the message names two of them.
        """
        targets = torch.from_numpy(self.dataset.targets[indices])
        iterator = iter(images)
        first = next(iterator)
        if not isinstance(first, Tensor):
            return default_collate([first, *iterator]), targets
        names = [self.dataset.files[index] for index in indices]
        return stack_images(chain([first], iterator), names), targets


def make_loader(
    batches: Batches,
    batch_size: int,
    workers: int,
    *,
    sampler: Sampler[int] | None = None,
    drop_last: bool = False,
    seed: int = 0,
) -> DataLoader[tuple[Any, Tensor]]:
    """A `DataLoader` with the choices that suit batches put together by the data set; see `create_loader`."""
    for name, value, least in (("batch_size", batch_size, 1), ("workers", workers, 0)):
        if not isinstance(value, int) or value < least:
            raise ConfigError(f"{name}={value!r} cannot be used; give a whole number of at least {least}.")
    return _Loader(
        batches,
        batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_as_they_are,
        pin_memory=torch.cuda.is_available(),
        drop_last=drop_last,
        # A generator of its own: reading leaves torch's global one alone.
        generator=torch.Generator().manual_seed(seed),
        persistent_workers=workers > 0,
    )


class _Loader(DataLoader[tuple[Any, Tensor]]):
    """A loader that tells of a dead process where the next batch is asked for, and nowhere else.

    torch tells by a signal handler as well, which raises wherever the main process happens to be, once for each
    loader: within another loader, within the handling of the first error, or long after the work was done.
    """

    def _get_iterator(self) -> _BaseDataLoaderIter:
        iterator = super()._get_iterator()
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            _remove_worker_pids(id(iterator))
            iterator._worker_pids_set = False
        return iterator


def _as_they_are(batch: Any) -> Any:
    return batch
