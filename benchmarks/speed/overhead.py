"""What a training loop costs beside the computing.

    python benchmarks/speed/overhead.py

One very small model, so that the loop shows, trained by a bare PyTorch loop, Accelerate, cellnet, skorch and Lightning,
with AdamW on uint8 batches of eight images from memory. The time of a step is taken from the first batch of the second
epoch to the first one of the last, so what comes once an epoch counts and what comes once a run does not. It is
processor time on one thread, which other programs disturb less than the clock on the wall. Progress bars, loggers,
checkpoints, mixed precision and averaged weights are off, all else is each one's default; cellnet validates four images
an epoch, which it always does, steps a schedule, and decays no 1-D weights.

The peers are no dependencies of cellnet: pip install skorch lightning
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from harness import machine, versions, write
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cellnet.backbones import Backbone
from cellnet.datasets import CellDataset, create_loader, load_dataset
from cellnet.datasets.sources import ImageArray, Rows
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS
from cellnet.models import CellClassifier
from cellnet.training import TrainConfig, Trainer

BATCH, SIZE, STEPS = 8, 16, 100
EPOCHS, ROUNDS = 4, 40
CONFIG = TrainConfig(batch_size=BATCH, augmentation="none", channels_last=False, precision="fp32", schedule="constant")

Fit = Callable[[int], Any]
"""Trains for so many epochs."""

FETCHED: list[float] = []
"""When each batch of the run was fetched, in seconds of processor time."""


class Tiny(Backbone):
    """One convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.num_features, self.input_size = "tiny", 8, SIZE
        self.mean = self.std = (0.5, 0.5, 0.5)
        self.convolution = nn.Conv2d(3, 8, 4, stride=4)

    def feature_maps(self, images: Tensor) -> Tensor:
        """Bx3x16x16 -> Bx8x4x4."""
        return self.convolution(images)


def net() -> CellClassifier:
    """The model of all contestants."""
    return CellClassifier(Tiny(), PBC_LABELS, Preprocess(SIZE))


def bare(loader: DataLoader[Any]) -> Fit:
    """What one writes by hand."""

    def fit(epochs: int) -> None:
        model = net().train()
        optimizer = torch.optim.AdamW(model.parameters(), CONFIG.lr)
        for _ in range(epochs):
            total = torch.zeros(())
            for images, targets in loader:
                loss = F.cross_entropy(model(images), targets)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                total += loss.detach()

    return fit


def accelerate(loader: DataLoader[Any]) -> Fit:
    """The loop of its documentation."""
    from accelerate import Accelerator

    def fit(epochs: int) -> None:
        accelerator = Accelerator(cpu=True)
        model = net().train()
        model, optimizer, batches = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), CONFIG.lr), loader)
        for _ in range(epochs):
            total = torch.zeros(())
            for images, targets in batches:
                loss = F.cross_entropy(model(images), targets)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
                total += loss.detach()

    return fit


def cellnet(train: CellDataset, val: CellDataset) -> Fit:
    """Its trainer, in memory."""

    def fit(epochs: int) -> None:
        config = TrainConfig.from_dict(CONFIG.to_dict() | {"epochs": epochs})
        Trainer(net(), config, device="cpu").fit(train, val)

    return fit


def skorch(loader: DataLoader[Any]) -> Fit:
    """`NeuralNetClassifier` with its own callbacks, but for the one that prints."""
    from skorch import NeuralNetClassifier

    def fit(epochs: int) -> None:
        NeuralNetClassifier(
            net(),
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.AdamW,
            lr=CONFIG.lr,
            max_epochs=epochs,
            train_split=None,
            iterator_train=lambda dataset, **options: loader,
            callbacks__print_log=None,
            verbose=0,
        ).fit(loader.dataset, None)

    return fit


def lightning(loader: DataLoader[Any]) -> Fit:
    """`Trainer` without bar, logger, checkpoints and summary."""
    from lightning import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), CONFIG.lr)

    def fit(epochs: int) -> None:
        Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(Module(), loader)

    return fit


def main(rounds: int = ROUNDS, steps: int = STEPS, without_missing: bool = False) -> None:
    """Measure and write ``speed_trainer.csv``.

    Args:
        rounds: Of measuring, at least two.
        steps: Of an epoch.
        without_missing: Go on where a peer is not installed.
    """
    missing = [name for name in ("skorch", "lightning") if find_spec(name) is None]
    if missing and not without_missing:
        sys.exit(f"A peer is not installed: pip install {' '.join(missing)}")
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    parts = load_dataset("synthetic", per_class=max(10, BATCH * steps // 8 + 1), image_size=SIZE).split((0.01, 0.99))
    train = parts[1].subset(range(BATCH * steps), "train").preload(Preprocess(SIZE))
    val = parts[0].subset(range(BATCH // 2), "val").preload(Preprocess(SIZE))
    loader = create_loader(train, BATCH, shuffle=True, drop_last=True)
    fits = {
        "bare loop": bare(loader),
        "Accelerate": accelerate(loader),
        "cellnet": cellnet(train, val),
    }
    for name, make in {"skorch": skorch, "Lightning": lightning}.items():
        if name.lower() in missing:
            print(f"{name} is not installed and is left out.")
        else:
            fits[name] = make(loader)
    names = list(fits)
    times: dict[str, list[float]] = {name: [] for name in names}
    with noted_batches():
        for round_ in range(rounds + 1):
            first = round_ % len(names)
            for name in names[first:] + names[:first]:  # nobody always comes after the same one
                microseconds = step_time(fits[name], steps)
                if round_:
                    times[name].append(microseconds)
    over = {name: [t - b for t, b in zip(ts, times["bare loop"], strict=True)] for name, ts in times.items()}
    beside = statistics.median(over.get("Lightning", [float("nan")]))
    packages = [name for name in ("torch", "accelerate", "skorch", "lightning") if name not in missing]
    write(
        "speed_trainer",
        [
            {
                "what": name,
                "microseconds_a_step": f"{statistics.median(values):.0f}",
                "overhead": f"{statistics.median(over[name]):.0f}",
                "lower_quartile": f"{statistics.quantiles(over[name])[0]:.0f}",
                "upper_quartile": f"{statistics.quantiles(over[name])[2]:.0f}",
                "overhead_beside_lightning": f"{statistics.median(over[name]) / beside:.2f}",
                "load": f"{os.getloadavg()[0]:.1f}",
                "machine": machine(),
                "versions": versions(*packages),
            }
            for name, values in times.items()
        ],
    )


@contextlib.contextmanager
def noted_batches() -> Iterator[None]:
    """Note when a batch of the training part is fetched; all contestants fetch theirs from images in memory."""
    fetch = ImageArray.batch

    def batch(self: ImageArray, rows: Rows) -> Tensor:
        if len(rows) == BATCH:  # not one of the validation part
            FETCHED.append(time.process_time())
        return fetch(self, rows)

    ImageArray.batch = batch  # type: ignore[method-assign]
    try:
        yield
    finally:
        ImageArray.batch = fetch  # type: ignore[method-assign]


def step_time(fit: Fit, steps: int) -> float:
    """Microseconds of a step."""
    gc.collect()  # nobody pays for what another one left behind
    FETCHED.clear()
    fit(EPOCHS)
    if len(FETCHED) != EPOCHS * steps:
        sys.exit(f"{len(FETCHED)} batches were fetched, not {EPOCHS * steps}.")
    return 1e6 * (FETCHED[(EPOCHS - 1) * steps] - FETCHED[steps]) / ((EPOCHS - 2) * steps)


if __name__ == "__main__":
    main()
