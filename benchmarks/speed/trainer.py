"""What a training loop costs beside the computing, and how many images a second a model learns from.

    python benchmarks/speed/trainer.py overhead
    python benchmarks/speed/trainer.py models [--device cuda]

``overhead``: one very small model, so that the loop shows, trained by a bare PyTorch loop, Accelerate, cellnet, skorch
and Lightning, with the same optimizer on the same batches from the same loader. A run of many epochs less a run of one,
by the number of further steps, is the time of a step: what comes once a run is left out. Progress bars, loggers and
checkpoints are off; cellnet validates eight images an epoch, which it always does, and steps a schedule.

``models``: steps of cellnet's trainer with MobileNet-V2 and the hybrid, in each precision and memory layout.

The peers are no dependencies of cellnet: pip install skorch lightning
"""

from __future__ import annotations

import copy
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
import torch.nn.functional as F
from harness import interleave, machine, rows, write
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cellnet.backbones import Backbone
from cellnet.datasets import CellDataset, create_loader, load_dataset
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS
from cellnet.models import CellClassifier, create_model
from cellnet.training import TrainConfig, Trainer
from cellnet.training.learner import Learner
from cellnet.training.objectives import Classification
from cellnet.training.processes import create_accelerator

BATCH, SIZE, STEPS = 8, 16, 100
EPOCHS, ROUNDS = 6, 9
CONFIG = TrainConfig(batch_size=BATCH, augmentation="none", channels_last=False, precision="fp32", schedule="constant")

Fit = Callable[[int], Any]
"""Trains for so many epochs."""


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


def overhead() -> None:
    """Measure and write ``speed_trainer.csv``."""
    try:
        peers = [version(name) for name in ("skorch", "lightning")]
    except ImportError:
        sys.exit("The peers are not installed: pip install skorch lightning")
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    parts = load_dataset("synthetic", per_class=BATCH * STEPS // 8 + 1, image_size=SIZE).split((0.01, 0.99))
    train = parts[1].subset(range(BATCH * STEPS), "train").preload(Preprocess(SIZE))
    val = parts[0].subset(range(8), "val").preload(Preprocess(SIZE))
    loader = create_loader(train, BATCH, shuffle=True, drop_last=True)
    fits = {
        "bare loop": bare(loader),
        "Accelerate": accelerate(loader),
        "cellnet": cellnet(train, val),
        "skorch": skorch(loader),
        "Lightning": lightning(loader),
    }
    times: dict[str, list[float]] = {name: [] for name in fits}
    for round_ in range(ROUNDS + 1):
        for name, fit in fits.items():
            seconds = [timed(fit, epochs) for epochs in (1, EPOCHS)]
            if round_:
                times[name].append(1e6 * (seconds[1] - seconds[0]) / (STEPS * (EPOCHS - 1)))
    over = {name: [t - b for t, b in zip(ts, times["bare loop"], strict=True)] for name, ts in times.items()}
    beside = statistics.median(over["Lightning"])
    versions = ", ".join(
        [f"torch {version('torch')}", f"accelerate {version('accelerate')}"]
        + [f"{name} {number}" for name, number in zip(("skorch", "lightning"), peers, strict=True)]
    )
    write(
        "speed_trainer",
        [
            {
                "what": name,
                "microseconds_a_step": f"{statistics.median(values):.0f}",
                "overhead": f"{statistics.median(over[name]):.0f}",
                "lowest": f"{min(over[name]):.0f}",
                "highest": f"{max(over[name]):.0f}",
                "overhead_beside_lightning": f"{statistics.median(over[name]) / beside:.2f}",
                "load": f"{os.getloadavg()[0]:.1f}",
                "machine": machine(),
                "versions": versions,
            }
            for name, values in times.items()
        ],
    )


def timed(fit: Fit, epochs: int) -> float:
    """Seconds that a run takes."""
    start = time.perf_counter()
    fit(epochs)
    return time.perf_counter() - start


MODES: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32", "channels_last": False},
    "fp32, channels-last": {"precision": "fp32"},
    "bf16, channels-last": {"precision": "bf16"},
    "fp32, channels-last, compiled": {"precision": "fp32", "compile": True},
    "bf16, channels-last, compiled": {"precision": "bf16", "compile": True},
}


def steps(model: CellClassifier, mode: dict[str, Any], device: str | None, batch: int, count: int) -> Callable[[], int]:
    """Some steps of training on random images, which lie on the device."""
    config = TrainConfig(batch_size=batch, warmup_epochs=0, **mode)
    accelerator = create_accelerator(config, device)
    learner = Learner(model, config, accelerator, Classification(), steps=10**6)
    size = model.preprocess.image_size
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8).to(accelerator.device)
    targets = torch.randint(0, 8, (batch,)).to(accelerator.device)

    def run() -> int:
        learner.train(freeze=None)
        for _ in range(count):
            learner.learn(images, targets, size)
            learner.update()
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        return count * batch

    return run


def models(device: str | None) -> None:
    """Measure and write ``speed_training.csv``."""
    on_gpu = device != "cpu" and torch.cuda.is_available()
    table = []
    for name, size in (("mobilenet_v2", 128), ("hybrid", 96)):
        original = create_model(name, image_size=size)
        batch, count = (256, 20) if on_gpu else (16, 1)
        work = {mode: steps(copy.deepcopy(original), options, device, batch, count) for mode, options in MODES.items()}
        rates = interleave(work, rounds=7 if on_gpu else 3)
        for row in rows(rates, "fp32", ("torch", "timm", "accelerate")):
            place = torch.cuda.get_device_name() if on_gpu else machine(torch.get_num_threads())
            table.append({"model": name, "image_size": str(size), "batch": str(batch)} | row | {"machine": place})
    write("speed_training" + ("_gpu" if on_gpu else ""), table)


if __name__ == "__main__":
    what, *rest = sys.argv[1:] or [""]
    if what == "overhead":
        overhead()
    elif what == "models":
        models(rest[1] if rest[:1] == ["--device"] else None)
    else:
        sys.exit(__doc__)
