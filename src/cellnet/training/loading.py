"""From a data set to batches, such that every random draw follows from (seed, epoch, image)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cellnet.datasets import CellDataset
from cellnet.images import Preprocess


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part: independent streams from one seed.

    Example:
        >>> derive_seed(0, "order", 1) == derive_seed(0, "order", 1), derive_seed(0, 1) == derive_seed(1, 0)
        (True, False)
    """
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8]) >> 1


class EpochSampler(Sampler[int]):
    """A new order of all images for each epoch, the same for the same (seed, epoch)."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", self.epoch))
        yield from torch.randperm(self.size, generator=generator).tolist()


class TrainingView(Dataset[tuple[Tensor, int]]):
    """A data set as the training loop sees it: preprocessed, then augmented anew in each epoch.

    The augmentation of an image depends on (seed, epoch, index) alone, hence not on the number of workers,
    nor on where a run was interrupted.

    Args:
        dataset: Images and labels; its own transform is not used.
        preprocess: The model's own.
        augmentation: uint8 3×S×S -> uint8 3×S×S drawing from torch's global generator, or None.
        seed: Seed of the run.
    """

    def __init__(
        self,
        dataset: CellDataset,
        preprocess: Preprocess,
        augmentation: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        self.dataset = dataset
        self.preprocess = preprocess
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.preprocess(self.dataset.image(index))
        if self.augmentation is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derive_seed(self.seed, "augment", self.epoch, index))
                image = self.augmentation(image)
        return image, int(self.dataset.targets[index])


def training_loader(view: TrainingView, batch_size: int, workers: int) -> DataLoader[tuple[Tensor, int]]:
    """Shuffled full batches; a set smaller than a batch makes one batch of its own size."""
    return DataLoader(
        view,
        batch_size=min(batch_size, len(view)),
        sampler=EpochSampler(len(view), view.seed),
        drop_last=True,  # a last batch of one image has no variance for batch normalisation
        num_workers=workers,
    )


def scoring_loader(view: TrainingView, batch_size: int, workers: int) -> DataLoader[tuple[Tensor, int]]:
    """Every image once, in order."""
    return DataLoader(view, batch_size=batch_size, num_workers=workers)
