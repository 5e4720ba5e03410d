"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cellnet.augment import BatchMixing, create_augmentation
from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.evaluation.metrics import accuracy, confusion_matrix, macro_f1
from cellnet.images import Preprocess
from cellnet.models import CellClassifier
from cellnet.tensors import write_tensors
from cellnet.training.callbacks import Callback, HistoryCSV, Row
from cellnet.training.checkpoint import save_state
from cellnet.training.config import MONITORS, TrainConfig
from cellnet.training.loading import TrainingView, derive_seed, scoring_loader, training_loader
from cellnet.training.objectives import Classification, Objective, balanced_class_weights
from cellnet.training.run_folder import RunFolder
from cellnet.training.schedules import create_optimizer, create_scheduler


@dataclass(frozen=True)
class Fit:
    """What a training run gives back.

    Args:
        model: The model with the weights of its best epoch, in eval mode.
        history: One row an epoch.
        best_epoch: The epoch (from 1) whose weights these are.
        out: The run's folder, or None.
    """

    model: CellClassifier
    history: list[Row]
    best_epoch: int
    out: Path | None


class Trainer:
    """Trains a `CellClassifier`, over Hugging Face Accelerate.

    Args:
        model: The model; it is trained in place.
        config: Options of the run.
        out: Folder for checkpoint, weights and history; None keeps everything in memory.
        objective: What is minimised; None is cross-entropy as the config says.
        callbacks: Things that watch, e.g. `ProgressBar`.
        device: ``"cpu"``, or None for the best device there is.

    Example:
        >>> import cellnet
        >>> cells = cellnet.load_dataset("synthetic", per_class=4, image_size=32)
        >>> train, val = cells.folds(2)[0]
        >>> net = cellnet.create_model("cnn", labels=cells.labels, image_size=32)
        >>> fit = Trainer(net, TrainConfig(epochs=1, batch_size=8)).fit(train, val)
        >>> fit.best_epoch, len(fit.history)
        (1, 1)
    """

    def __init__(
        self,
        model: CellClassifier,
        config: TrainConfig | None = None,
        *,
        out: str | PathLike[str] | None = None,
        objective: Objective | None = None,
        callbacks: Sequence[Callback] = (),
        device: str | None = None,
    ) -> None:
        self.model = model
        self.config = config or TrainConfig()
        self.folder = RunFolder(out) if out is not None else None
        self.objective = objective
        self.callbacks = [*callbacks, *([HistoryCSV(self.folder.history)] if self.folder else [])]
        self.device = device

    def fit(self, train: CellDataset, val: CellDataset, *, resume: bool = False) -> Fit:
        """Train on one part, choose the best epoch on another.

        Args:
            train: Training part.
            val: Validation part; it chooses the epoch and stops early, and is never trained on.
            resume: Continue the run in ``out`` after its last finished epoch, bit for bit; start where there
                is none.

        Returns:
            The model with its best weights, and the history.

        Raises:
            DataError: An empty part, the wrong part, or one image in both.
            LabelError: The labels of a part are not the model's.
            ConfigError: The folder holds another run, or the loss is not finite.
        """
        config, model = self.config, self.model
        check_parts(model, train, val)
        state = self._claim(train, val, resume)

        torch.manual_seed(derive_seed(config.seed, "fit"))
        accelerator = create_accelerator(config, self.device)
        preprocess: Preprocess | None = model.preprocess
        if config.preload:
            train, val = train.preload(model.preprocess), val.preload(model.preprocess)
            preprocess = None
        view = TrainingView(train, preprocess, create_augmentation(config.augmentation), config.seed)
        batches = training_loader(view, config.batch_size, config.workers)
        val_batches = scoring_loader(TrainingView(val, preprocess), config.batch_size, config.workers)
        if config.channels_last:
            model.to(memory_format=torch.channels_last)
        optimizer = create_optimizer(model, config)
        model.to(accelerator.device)
        # Before Accelerate wraps the model's forward, which a copy would share.
        ema = ModelEmaV3(model, decay=config.ema, use_warmup=True) if config.ema else None
        net, optimizer, loader, val_loader = accelerator.prepare(model, optimizer, batches, val_batches)
        steps = math.ceil(len(loader) / config.gradient_accumulation)
        scheduler = create_scheduler(optimizer.optimizer, config, steps)
        objective = self.objective or self._classification(train)
        mixing = BatchMixing(config.mixup, config.cutmix) if config.mixup or config.cutmix else None

        history: list[Row] = []
        best: dict[str, Any] = {"epoch": 0, "score": -math.inf, "weights": copy_weights(model)}
        if state is not None:
            model.load_state_dict(state["model"])
            optimizer.optimizer.load_state_dict(state["optimizer"])
            scheduler.load_state_dict(state["scheduler"])
            if ema is not None:
                ema.module.load_state_dict(state["ema"])
            if accelerator.scaler is not None:
                accelerator.scaler.load_state_dict(state["scaler"])
            history, best = state["history"], state["best"]

        with ExitStack() as stack:
            for callback in self.callbacks:
                stack.callback(callback.on_fit_end)
                callback.on_fit_start(config.epochs, len(loader), len(history))
            for epoch in range(len(history), config.epochs):
                if config.patience is not None and epoch - best["epoch"] >= config.patience:
                    break
                start = time.perf_counter()
                # Dropout draws from the global generator: seeded an epoch, it needs no place in the checkpoint.
                torch.manual_seed(derive_seed(config.seed, "epoch", epoch))
                mixing_draws = torch.Generator().manual_seed(derive_seed(config.seed, "mix", epoch))
                view.set_epoch(epoch)
                loader.set_epoch(epoch)  # Accelerate's own count, which would start at 0 after a resume
                net.train()
                if epoch < config.freeze_epochs:
                    model.freeze_backbone()
                elif config.freeze_epochs:
                    model.unfreeze_backbone()

                # Sums stay on the device: reading one each step would wait for the device each step.
                loss_sum = torch.zeros((), device=accelerator.device)
                for images, targets in loader:
                    if mixing is not None:
                        images, targets = mixing(images, targets, len(model.labels), generator=mixing_draws)
                    layout = torch.channels_last if config.channels_last else torch.contiguous_format
                    images = images.contiguous(memory_format=layout)
                    with accelerator.accumulate(net), accelerator.autocast():
                        loss = objective(net, images, targets)
                        accelerator.backward(loss)
                        if accelerator.sync_gradients and config.gradient_clip is not None:
                            accelerator.clip_grad_norm_(net.parameters(), config.gradient_clip)
                        optimizer.step()
                        if accelerator.sync_gradients:
                            scheduler.step()
                            if ema is not None:
                                ema.update(model, step=scheduler.last_epoch)
                        optimizer.zero_grad()
                    loss_sum += loss.detach()
                    for callback in self.callbacks:
                        callback.on_step(epoch, len(images))

                train_seconds = time.perf_counter() - start
                train_loss = float(loss_sum) / len(loader)
                if not math.isfinite(train_loss):
                    raise ConfigError(
                        f"The training loss of epoch {epoch + 1} is not finite. Lower the learning rate "
                        f"(lr={config.lr:g}), or set gradient_clip=1.0."
                    )
                judged = ema.module if ema is not None else model
                row: Row = {
                    "epoch": epoch + 1,
                    "train_loss": train_loss,
                    **score(judged, val_loader, accelerator),
                    "lr": scheduler.get_last_lr()[0],
                    "images_per_second": len(loader) * loader.total_batch_size / train_seconds,
                    "seconds": time.perf_counter() - start,
                }
                history.append(row)
                better = MONITORS[config.monitor] * row[config.monitor]
                improved = better > best["score"]
                if improved:
                    best = {"epoch": epoch + 1, "score": better, "weights": copy_weights(judged)}
                if self.folder is not None and accelerator.is_main_process:
                    if improved:
                        write_tensors(self.folder.best, best["weights"])
                    write_tensors(self.folder.last, judged.state_dict())
                    save_state(
                        self.folder.checkpoint,
                        {
                            "model": model.state_dict(),
                            "optimizer": optimizer.optimizer.state_dict(),
                            "scheduler": scheduler.state_dict(),
                            "ema": ema.module.state_dict() if ema is not None else None,
                            "scaler": accelerator.scaler.state_dict() if accelerator.scaler else None,
                            "history": history,
                            "best": best,
                        },
                    )
                for callback in self.callbacks:
                    callback.on_epoch_end(row, history, improved)

        accelerator.unwrap_model(net, keep_fp32_wrapper=False)
        model.load_state_dict(best["weights"])
        model.eval()
        return Fit(model, history, best["epoch"], self.folder.path if self.folder else None)

    def _claim(self, train: CellDataset, val: CellDataset, resume: bool) -> dict[str, Any] | None:
        """The state to continue from, where there is a folder with one."""
        if self.folder is None:
            if resume:
                raise ConfigError("Nothing to resume from: give the run's folder, out=... (--out).")
            return None
        identity = {
            "architecture": self.model.architecture,
            "preprocess": self.model.preprocess.to_dict(),
            "train": train.fingerprint(),
            "val": val.fingerprint(),
        }
        return self.folder.claim(self.config, identity, resume)

    def _classification(self, train: CellDataset) -> Classification:
        weights = None
        if self.config.class_weights == "balanced":
            weights = balanced_class_weights(train.targets, len(train.labels))
        return Classification(self.config.label_smoothing, weights)


def check_parts(model: CellClassifier, train: CellDataset, val: CellDataset) -> None:
    """Refuse parts that would make a result worthless.

    Raises:
        DataError: An empty part, a part in the wrong place, or one image in both.
        LabelError: The labels of a part are not the model's.
    """
    for dataset, place, wrong in ((train, "train", ("val", "test")), (val, "val", ("train", "test"))):
        if len(dataset) == 0:
            raise DataError(f"The {place} part is empty; give it images, e.g. dataset.split((0.7, 0.1, 0.2)).")
        if dataset.part in wrong:
            raise DataError(
                f"The {dataset.part!r} part was given where the {place!r} part belongs; "
                "use train, val, test = dataset.split((0.7, 0.1, 0.2))."
            )
        if dataset.labels.hash != model.labels.hash:
            raise LabelError(
                f"The {place} part has the labels {', '.join(dataset.labels.names)}, the model has "
                f"{', '.join(model.labels.names)}; make the model with labels=dataset.labels, "
                "or map the data with dataset.harmonise(model.labels)."
            )
    if len(train) < 2:
        raise DataError("The train part has one image; batch normalisation needs at least two.")
    if shared := set(train.content_hashes()) & set(val.content_hashes()):
        raise DataError(
            f"{len(shared)} images stand in both the train and the val part; split with dataset.split(...), "
            "which keeps identical images together."
        )


def create_accelerator(config: TrainConfig, device: str | None) -> Accelerator:
    """Accelerate for one run. bf16 is chosen by itself only on a GPU: processors without it are slower with it."""
    precision = config.precision
    if precision == "auto":
        on_gpu = device != "cpu" and torch.cuda.is_available()
        precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "fp32"
    # Accelerate remembers the precision of a process's first run, and would refuse another one.
    AcceleratorState._reset_state()
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision="no" if precision == "fp32" else precision,
        gradient_accumulation_steps=config.gradient_accumulation,
        step_scheduler_with_optimizer=False,
    )


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights and buffers as they are now, on the CPU."""
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}


@torch.inference_mode()
def score(model: nn.Module, loader: DataLoader[tuple[Tensor, int]], accelerator: Accelerator) -> dict[str, float]:
    """Loss, accuracy and macro F1 over a loader, every image counted once."""
    was_training = model.training
    model.eval()
    outputs = []
    for images, targets in loader:
        with accelerator.autocast():
            logits = model(images)
        outputs.append(accelerator.gather_for_metrics((logits.float(), targets)))
    model.train(was_training)
    logits = torch.cat([logits for logits, _ in outputs]).cpu()
    targets = torch.cat([targets for _, targets in outputs]).cpu()
    confusion = confusion_matrix(targets.numpy(), logits.argmax(1).numpy(), logits.shape[1])
    return {
        "val_loss": float(F.cross_entropy(logits, targets)),
        "val_accuracy": float(accuracy(confusion)),
        "val_macro_f1": float(np.asarray(macro_f1(confusion))),
    }
