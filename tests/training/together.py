"""What the processes of test_processes.py do; each writes what it saw into the folder that is given."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cellnet.backbones import Backbone
from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import CellnetError
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS
from cellnet.losses import SupConLoss
from cellnet.models import CellClassifier, ContrastiveClassifier
from cellnet.models.heads import LinearHead
from cellnet.training import Callback, Fit, Interrupted, TrainConfig, Trainer
from cellnet.training.loading import TrainingView, scoring_loader
from cellnet.training.objectives import Contrastive
from cellnet.training.processes import create_accelerator
from cellnet.training.scoring import all_logits

COMMON: dict[str, Any] = {"epochs": 3, "optimizer": "sgd", "lr": 0.05, "ema": 0.9, "warmup_epochs": 0}


class NormFree(Backbone):
    """Small, and without batch normalisation: an image's output does not depend on the others of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.num_features, self.input_size = "norm_free", 8, 16
        self.mean = self.std = (0.5, 0.5, 0.5)
        self.convolution = nn.Conv2d(3, 8, 5, stride=4)
        self.norm = nn.GroupNorm(2, 8)

    def feature_maps(self, images: Tensor) -> Tensor:
        return self.norm(self.convolution(images)).relu()


def net() -> CellClassifier:
    torch.manual_seed(3)
    return CellClassifier(NormFree(), PBC_LABELS, Preprocess(16), LinearHead(8, 8, dropout=0.0))


def parts() -> tuple[CellDataset, CellDataset]:
    """53 and 21 images: neither divides by the processes, nor by a batch."""
    cells = load_dataset("synthetic", per_class=10, image_size=16, seed=1)
    rows = np.random.default_rng(0).permutation(len(cells))
    return cells.subset(rows[:53], "train"), cells.subset(rows[53:74], "val")


def train(out: Path | None = None, callback: Callback | None = None, resume: bool = False, **options: Any) -> Fit:
    config = TrainConfig(**COMMON | options)
    callbacks = [callback] if callback else []
    return Trainer(net(), config, out=out, callbacks=callbacks, device="cpu").fit(*parts(), resume=resume)


def contrast(batch_size: int) -> Fit:
    """Train by contrast with the images of all processes."""
    torch.manual_seed(5)
    model = ContrastiveClassifier(net(), dim=4)
    config = TrainConfig(**COMMON, batch_size=batch_size)
    objective = Contrastive(SupConLoss(temperature=0.5, gather=True))
    return Trainer(model, config, objective=objective, device="cpu").fit(*parts())


def curve(fit: Fit) -> list[list[float]]:
    return [
        [row[key] for key in ("train_loss", "val_loss", "val_accuracy", "val_macro_f1", "lr")] for row in fit.history
    ]


def fingerprint(fit: Fit) -> float:
    return sum(float(weight.double().sum()) for weight in fit.model.state_dict().values())


class Signals(nn.Module):
    """An objective that sends SIGTERM to its own process in the fifth batch."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return nn.functional.cross_entropy(model(images), targets)


class Counts(Callback):
    steps = 0

    def on_step(self, epoch: int, images: int) -> None:
        self.steps += 1


def score(processes: int) -> dict[str, Any]:
    """Logits of 21 images, and how many this process computed."""
    val = parts()[1]
    accelerator = create_accelerator(TrainConfig(), "cpu")
    model = net()
    computed = []
    model.register_forward_hook(lambda module, inputs, output: computed.append(len(output)))
    share = val.subset(np.arange(accelerator.process_index, len(val), processes))
    logits = all_logits(model, scoring_loader(TrainingView(share, Preprocess(16)), 4, 0), accelerator, (21, 8))
    assert logits is not None
    return {"logits": logits.tolist(), "computed": sum(computed)}


def main(folder: Path) -> None:
    rank = int(os.environ["RANK"])
    atexit.register(lambda: (folder / f"{rank}.end").write_text(f"joined: {torch.distributed.is_initialized()}"))
    saw: dict[str, Any] = {"scores": score(2)}
    counts = Counts()
    fit = train(folder / "run", counts, batch_size=8)
    saw |= {"curve": curve(fit), "fingerprint": fingerprint(fit), "steps": counts.steps}
    saw["accumulated"] = curve(train(batch_size=4, gradient_accumulation=2))
    saw["balanced"] = curve(train(batch_size=8, balance="RandomOverSampler", sampling="class_balanced"))
    saw["contrast"] = curve(contrast(batch_size=8))
    saw["early"] = len(train(batch_size=8, epochs=20, lr=1e-9, patience=2, monitor="val_accuracy").history)
    try:
        train(folder / "run", batch_size=8)
    except CellnetError as error:
        saw["refusal"] = str(error)

    # The second process alone is asked to end.
    trainer = Trainer(net(), TrainConfig(**COMMON, batch_size=8), out=folder / "cut", device="cpu")
    trainer.objective = Signals() if rank == 1 else None
    try:
        trainer.fit(*parts())
    except Interrupted as stop:
        saw["stop"] = [str(stop), stop.exit_code]
    saw["resumed"] = curve(train(folder / "cut", batch_size=8, resume=True))
    (folder / f"{rank}.json").write_text(json.dumps(saw))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
