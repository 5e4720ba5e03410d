"""Images that lie on the device that computes, as bytes, and are augmented there in whole batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cellnet.augment import create_augmentation
from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError
from cellnet.images import Preprocess
from cellnet.training.config import TrainConfig
from cellnet.training.data import Batch, TrainingData
from cellnet.training.loading import TrainingView, close, derive_seed, scoring_loader
from cellnet.training.sizes import shrink

ROOM = 0.7
"""Share of a GPU's free memory that images may take; the rest is left to the model."""


class ResidentData(TrainingData):
    """Images that are read once, and never leave the device again (``on_device`` of `TrainConfig`).

    The draws of a batch follow from (seed, epoch, batch, process), so an interrupted run goes on as if it had not been.

    Raises:
        ConfigError: The images do not fit on the device.
    """

    def _open(self, train: CellDataset, first: Preprocess | None, judged: CellDataset) -> None:
        config, size = self.config, self.preprocess.image_size
        check_room(3 * (len(train) * (config.load_size or size) ** 2 + len(judged) * size**2), self.device)
        self._augment = create_augmentation(config.augmentation).of_batch
        self._images, self._targets = to_device(TrainingView(train, first), self.device, config)
        scored = to_device(TrainingView(judged, self.preprocess), self.device, config)
        self.val_batches = list(zip(*(torch.split(each, config.batch_size) for each in scored), strict=True))

    def epoch(self, epoch: int, first: int) -> Iterator[tuple[int, Batch]]:
        """See `TrainingData`."""
        self.order.start(epoch, batch=first)
        parts = torch.split(self._rows(list(self.order)), self.order.batch_size)
        for batch, rows in enumerate(parts, start=first):
            seed = derive_seed(self.config.seed, "augment", epoch, batch, self.process)
            generator, images = torch.Generator().manual_seed(seed), self._images[rows]
            views = [self._augment(images, generator) for _ in range(self.views)]
            yield batch, (views[0] if self.views == 1 else torch.stack(views, dim=1), self._targets[rows])

    def plain(self) -> Iterator[Tensor]:
        """See `TrainingData`."""
        for rows in torch.split(self._rows(self._plain), self.order.batch_size):
            yield shrink(self._images[rows], self.preprocess.image_size)

    def close(self) -> None:
        """See `TrainingData`; no process loads images."""

    def _rows(self, rows: list[int]) -> Tensor:
        return torch.tensor(rows, device=self._images.device)


def to_device(view: TrainingView, device: torch.device, config: TrainConfig) -> Batch:
    """All images of a view on a device, uint8 N×3×S×S, and their labels, int64 N; read by the config's workers."""
    loader = scoring_loader(view, config.batch_size, config.workers)
    images, done = torch.empty(0), 0
    try:
        for part, _ in loader:
            if not done:  # one array from the start, since joining parts would take twice the room
                shape = (len(view), *part.shape[1:])
                images = torch.empty(shape, dtype=part.dtype, device=device, memory_format=torch.channels_last)
            images[done : done + len(part)] = part.to(device)
            done += len(part)
    finally:
        close(loader)
    return images, torch.from_numpy(view.dataset.targets).to(device)


def check_room(size: int, device: torch.device) -> None:
    """Refuse images that would leave a GPU no memory to compute in.

    Args:
        size: Bytes of the images.
        device: Where they shall lie; the processor's memory is not looked at.

    Raises:
        ConfigError: They take too much of what is free.
    """
    if device.type != "cuda":
        return
    free, _ = torch.cuda.mem_get_info(device)
    if size > ROOM * free:
        raise ConfigError(
            f"on_device=True holds {size / 2**30:.1f} GiB of images on a GPU with {free / 2**30:.1f} GiB free, of "
            f"which they may take {ROOM:.0%}; leave it out, or give a smaller image size."
        )
