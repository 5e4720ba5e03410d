"""From a data set to batches, such that every random draw follows from (seed, epoch, image)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from cellnet.datasets import CellDataset
from cellnet.datasets.loading import Batches, make_loader
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


class TrainingView(Batches):
    """A data set as the training loop sees it: preprocessed, then augmented anew in each epoch.

    The augmentation of an image depends on (seed, epoch, index) alone, hence not on the number of workers,
    nor on where a run was interrupted.

    Args:
        dataset: Images and labels; its own transform is not used.
        preprocess: The model's own; None where the images have gone through it already.
        augmentation: uint8 3×S×S -> uint8 3×S×S drawing from torch's global generator, or None.
        seed: Seed of the run.
    """

    def __init__(
        self,
        dataset: CellDataset,
        preprocess: Preprocess | None,
        augmentation: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset)
        self.preprocess = preprocess
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = torch.zeros((), dtype=torch.int64)  # a tensor, so that living workers see it change

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of this epoch."""
        self.epoch.fill_(epoch)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """The batch, already put together."""
        if self.preprocess is None and self.augmentation is None:
            return self.dataset.batch(indices)
        return self.together(map(self._image, indices), indices)

    def _image(self, index: int) -> Tensor:
        image = self.dataset.image(index)
        if self.preprocess is not None:
            image = self.preprocess(image)
        if self.augmentation is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derive_seed(self.seed, "augment", int(self.epoch), index))
                image = self.augmentation(image)
        return image


def training_loader(view: TrainingView, batch_size: int, workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """Shuffled full batches; a set smaller than a batch makes one batch of its own size."""
    if workers:
        view.epoch.share_memory_()  # type: ignore[no-untyped-call]
    return make_loader(
        view,
        min(batch_size, len(view)),
        workers,
        sampler=EpochSampler(len(view), view.seed),
        drop_last=True,  # a last batch of one image has no variance for batch normalisation
    )


def scoring_loader(view: TrainingView, batch_size: int, workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """Every image once, in order."""
    return make_loader(view, batch_size, workers)
