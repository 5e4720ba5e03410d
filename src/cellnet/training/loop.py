"""The loop itself: epochs of steps, each epoch judged, all of it saved, and ended where somebody asks for it."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError
from cellnet.models.normalisation import measure_statistics
from cellnet.training.callbacks import Callback, Row
from cellnet.training.config import MONITORS, TrainConfig
from cellnet.training.data import TrainingData
from cellnet.training.interrupts import Interrupted, StopRequest
from cellnet.training.learner import Learner
from cellnet.training.loading import derive_seed, seed_generators
from cellnet.training.lookout import Lookout
from cellnet.training.processes import share_buffers
from cellnet.training.progress import Progress
from cellnet.training.run_folder import RunFolder
from cellnet.training.scoring import all_logits, scores
from cellnet.training.sizes import image_size_at


class Loop:
    """A run that goes on from where it stands to its end.

    Args:
        learner: The model with all that trains it.
        data: Its images.
        train: Training part, to name images that spoil a loss.
        val: Validation part, which chooses the epoch.
        config: Options of the run.
        accelerator: Device, precision and processes.
        folder: Where it is saved, or None.
        callbacks: Things that watch; none but in the first process.
        request: Whether this process was asked to end.

    Attributes:
        at: Where the run stands.
        best_weights: Those of the best epoch so far, on the CPU.
        judged: The model that is judged.
    """

    def __init__(
        self,
        learner: Learner,
        data: TrainingData,
        train: CellDataset,
        val: CellDataset,
        config: TrainConfig,
        accelerator: Accelerator,
        folder: RunFolder | None,
        callbacks: Sequence[Callback],
        request: StopRequest,
    ) -> None:
        self.at, self.best_weights = Progress(), dict[str, Tensor]()
        self.judged = learner.judged
        self._learner, self._data, self._train, self._val = learner, data, train, val
        self._config, self._accelerator, self._folder, self._callbacks = config, accelerator, folder, callbacks
        self._request = request
        self._lookout = Lookout(accelerator, request, 60 * config.checkpoint_minutes)
        self._full_size = learner.model.preprocess.image_size

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint says."""
        self._learner.restore(state)
        self.at, self.best_weights = Progress(**state["progress"]), state["best_weights"]

    def run(self) -> None:
        """Train to the end, or until there was no better epoch for too long.

        Raises:
            ConfigError: A loss or a weight is not finite; the message names the images.
            Interrupted: The run was asked to end, and is saved.
        """
        epochs, patience, steps = self._config.epochs, self._config.patience, self._learner.steps
        with ExitStack() as stack:
            for callback in self._callbacks:
                stack.callback(callback.on_fit_end)
                callback.on_fit_start(epochs, steps, self.at.epoch * steps + self.at.step)
            for epoch in range(self.at.epoch, epochs):
                if patience is not None and epoch - self.at.best_epoch >= patience:
                    break
                start = time.perf_counter() - self.at.seconds
                self._learn(epoch, start)
                self._judge(epoch, start)
        if self._folder is not None and self._accelerator.is_main_process:
            self._folder.finish(self.judged.state_dict(), self.at.history)

    def _learn(self, epoch: int, start: float) -> None:
        """The steps that are left of an epoch."""
        config, at, order = self._config, self.at, self._data.order
        process, processes = self._accelerator.process_index, self._accelerator.num_processes
        accumulation = config.gradient_accumulation
        self._learner.train(freeze=epoch < config.freeze_epochs if config.freeze_epochs else None)
        if at.step >= self._learner.steps:  # stopped between its last step and its judgement
            return
        size = image_size_at(epoch, config.epochs, config.start_size or self._full_size, self._full_size)
        self._lookout.start()

        for batch, (images, targets) in self._data.epoch(epoch, first=at.step * accumulation):
            # Dropout and mixing draw from the global generators. Seeded for each batch, these need no place in the
            # checkpoint.
            seed_generators(derive_seed(config.seed, "batch", epoch, batch, process), self._accelerator.device)
            last = batch + 1 == order.batches
            complete = last or (batch + 1) % accumulation == 0
            in_step = min(accumulation, order.batches - at.step * accumulation)
            self._lookout.note(self._learner.learn(images, targets, size, share=1 / in_step, last=complete))
            if not complete:
                continue
            self._learner.update()
            at.step += 1
            for callback in self._callbacks:
                callback.on_step(epoch, in_step * order.batch_size * processes)

            orders = self._lookout.look(last=last)
            if orders.bad is not None:
                ago, culprit = orders.bad
                what = f"loss of epoch {epoch + 1}, batch {batch - ago + 1},"
                raise self._not_finite(what, order.batch(epoch, batch - ago, culprit))
            for value in orders.losses:  # not sum(), which rounds otherwise than one by one
                at.loss_sum += value
            if orders.losses:
                for callback in self._callbacks:
                    callback.on_loss(at.loss_sum / (batch + 1))
            at.seconds = time.perf_counter() - start
            if orders.stop:
                raise self._interrupted(orders.stop)
            if orders.save:
                self._save()

    def _judge(self, epoch: int, start: float) -> None:
        """How good the model is after an epoch, which is saved."""
        config, at, order, accelerator = self._config, self.at, self._data.order, self._accelerator
        if config.norm_batches:
            seed_generators(derive_seed(config.seed, "norm", epoch), accelerator.device)
            measure_statistics(self.judged, self._data.plain())
        share_buffers(self.judged, accelerator)
        logits = all_logits(
            self.judged,
            self._data.val_batches,
            accelerator,
            (len(self._val), len(self.judged.labels)),
            # Several processes must agree, which they do at their next step.
            stop=lambda: accelerator.num_processes == 1 and self._request.number > 0,
        )
        if logits is None:
            raise self._interrupted(self._request.number)
        row: Row = {
            "epoch": epoch + 1,
            "train_loss": at.loss_sum / order.batches,
            **scores(logits, self._val.targets),
            "lr": self._learner.scheduler.get_last_lr()[0],
            "images_per_second": order.batches * order.batch_size * accelerator.num_processes / at.seconds,
            "seconds": time.perf_counter() - start,
        }
        if not math.isfinite(row["val_loss"]):
            raise self._not_finite(f"validation loss of epoch {epoch + 1}")
        improved = at.end_epoch(row, MONITORS[config.monitor] * row[config.monitor])
        if improved:
            self.best_weights = copy_weights(self.judged)
        self._save(self.best_weights if improved else None)
        for callback in self._callbacks:
            callback.on_epoch_end(row, at.history, improved)

    def _save(self, new_best: dict[str, Tensor] | None = None) -> None:
        if not all_finite(self._learner.model):
            raise self._not_finite(f"model after step {self.at.step} of epoch {self.at.epoch + 1}")
        if self._folder is not None and self._accelerator.is_main_process:
            states = {name: thing.state_dict() for name, thing in self._learner.stateful.items()}
            self._folder.save(states | {"progress": asdict(self.at)}, new_best)
        self._lookout.saved()

    def _interrupted(self, number: int) -> Interrupted:
        """Save; and what to raise then."""
        self._save()
        # A launcher ends all processes once one has ended, so the first one must have saved by then.
        self._accelerator.wait_for_everyone()
        return Interrupted(
            f"Stopped by {signal.Signals(number).name} after step {self.at.step} of {self._learner.steps} of epoch "
            f"{self.at.epoch + 1}; all is saved. Continue with resume=True (--resume).",
            number,
        )

    def _not_finite(self, what: str, indices: Sequence[int] = ()) -> ConfigError:
        where = f" on the images {', '.join(self._train.files[i] for i in indices)}" if indices else ""
        kept = f" The checkpoint in {self._folder.path} is from before." if self._folder is not None else ""
        return ConfigError(
            f"The {what} is not finite{where}. Lower the learning rate (lr={self._config.lr:g}), or set "
            f"gradient_clip=1.0{'; look at these images too' if where else ''}.{kept}"
        )


def all_finite(model: nn.Module) -> bool:
    """Whether no weight is NaN or infinite."""
    return all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights and buffers as they are now, on the CPU."""
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
