"""The training loop."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError
from cellnet.models import CellClassifier
from cellnet.models.normalisation import measure_statistics
from cellnet.tensors import hash_tensors
from cellnet.training.callbacks import Callback, HistoryCSV, Row
from cellnet.training.config import MONITORS, TrainConfig
from cellnet.training.data import LoadedData, balance_part
from cellnet.training.distillation import Teacher
from cellnet.training.interrupts import Interrupted, deferred_signals
from cellnet.training.learner import Learner
from cellnet.training.loading import derive_seed, loading_errors, seed_generators
from cellnet.training.lookout import Lookout
from cellnet.training.memory import (
    fitting_batch_size,
    is_out_of_memory,
    out_of_memory_error,
    training_pass,
    with_batch,
    with_fitting_batch,
)
from cellnet.training.objectives import Objective, check_objective, create_objective, in_words, views_of
from cellnet.training.parts import check_parts
from cellnet.training.processes import create_accelerator, on_main_process, share_buffers
from cellnet.training.progress import Progress
from cellnet.training.provenance import run_identity, run_session
from cellnet.training.resident import ResidentData
from cellnet.training.run_folder import RunFolder
from cellnet.training.scoring import all_logits, scores
from cellnet.training.sizes import check_sizes, image_size_at


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
        distill: A trained model whose soft labels are learned beside the true ones, see `Teacher`; the config says in
            which shares. It must not have seen the images that the new model will be tested on.
        balance: Balances the training part, never another one: `cellnet.SMOTE`, `cellnet.EmbeddingSMOTE`, or any
            sampler of imbalanced-learn; draws that it leaves open follow from the config's seed. None does what the
            config says.
        callbacks: Things that watch, e.g. `ProgressBar`.
        device: ``"cpu"``, or None for the best device there is.
        facts: What ``run.json`` shall say of the run besides, in JSON types, e.g. the hash of its split.

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
        distill: CellClassifier | None = None,
        balance: Any = None,
        callbacks: Sequence[Callback] = (),
        device: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.config = config or TrainConfig()
        self.folder = RunFolder(out) if out is not None else None
        self.objective = objective
        self.teacher = None
        if distill is not None:
            self.teacher = Teacher(distill, self.config.distill_weight, self.config.distill_temperature)
        if balance is not None and self.config.balance is not None:
            raise ConfigError(
                f"balance={balance!r} is given beside the config's balance={self.config.balance!r}; leave one out."
            )
        self.balance = balance
        self.callbacks = [*callbacks, *([HistoryCSV(self.folder.history)] if self.folder else [])]
        self.device = device
        self.facts = dict(facts or {})

    def fit(self, train: CellDataset, val: CellDataset, *, resume: bool = False) -> Fit:
        """Train on one part, choose the best epoch on another.

        With a folder, the run is saved after each epoch and every ``checkpoint_minutes``; on Ctrl-C or SIGTERM it
        finishes its step, saves and ends, and a second Ctrl-C stops it at once. Started by ``torchrun`` or
        ``accelerate launch``, the processes train one model together; the first one writes.

        Args:
            train: Training part.
            val: Validation part; it chooses the epoch and stops early, and is never trained on.
            resume: Continue the run in ``out`` after its last checkpoint, on a CPU bit for bit; start where there
                is none.

        Returns:
            The model with its best weights, and the history.

        Raises:
            DataError: An empty part, the wrong part, or one image in both.
            LabelError: The labels of a part are not the model's.
            ConfigError: The folder holds another run or cannot be written, the loss is not finite (the message
                names the images), memory does not suffice (it names the batch that would fit), a batch is too small to
                have a variance, the images do not fit on the device, or a process that loads images ended.
            WeightsError: No checkpoint of the run can be used.
            Interrupted: The run was asked to end; it can be continued.
        """
        try:
            return self._fit(train, val, resume)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ConfigError(
                f"A batch of {self.config.batch_size} gives batch normalisation one value, which has no variance; set "
                "batch_size to 2 or more (--batch-size)."
            ) from error
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Now that the error is forgotten, with all that the failed batch had computed.
        batch_size = min(self.config.batch_size, len(train))
        objective = self.objective or create_objective(self.config, train)
        compute = training_pass(self.model, objective, create_accelerator(self.config, self.device))
        fits = fitting_batch_size(compute, batch_size)
        size, accumulation = self.model.preprocess.image_size, self.config.gradient_accumulation
        raise out_of_memory_error(batch_size, fits, size, accumulation)

    def _fit(self, train: CellDataset, val: CellDataset, resume: bool) -> Fit:
        config, model = self.config, self.model
        check_parts(model, train, val)
        model.risk_control, model.sets = None, None  # what was promised, was promised of other weights
        full_size = model.preprocess.image_size
        check_sizes(model, config.load_size, config.start_size)
        if self.teacher is not None:
            self.teacher.check(model.labels, model.preprocess)
        accelerator = create_accelerator(config, self.device)
        process, processes = accelerator.process_index, accelerator.num_processes
        if len(train) < 2 * processes:
            raise DataError(
                f"{len(train)} images are too few to train on in {processes} processes; each needs at least two, "
                "for batch normalisation."
            )
        balanced = self.balance is not None or config.balance is not None
        if balanced:
            train = balance_part(train, self.balance, model.to(accelerator.device), config)
        objective = self.objective or create_objective(config, train)
        check_objective(objective, model, config, teacher=self.teacher is not None)
        if config.fit_batch:
            before = self.folder.config() if self.folder is not None else None
            self.config = config = (
                with_fitting_batch(config, model, objective, accelerator)
                if before is None
                else with_batch(config, before.batch_size)
            )
        with ExitStack() as stack:
            state = self._claim(stack, accelerator, train, val, resume)
            data = (ResidentData if config.on_device else LoadedData)(
                train,
                val,
                model.preprocess,
                config,
                accelerator.device,
                process,
                processes,
                views=views_of(objective),
                prepared=balanced,
            )
            stack.callback(data.close)
            order = data.order
            steps = math.ceil(order.batches / config.gradient_accumulation)  # updates of the weights an epoch
            accumulation, classes, device = config.gradient_accumulation, len(model.labels), accelerator.device

            learner = Learner(model, config, accelerator, objective, steps, self.teacher)
            stack.callback(learner.close)
            judged = learner.judged
            at, best_weights = Progress(), dict[str, Tensor]()
            if state is not None:
                learner.restore(state)
                at, best_weights = Progress(**state["progress"]), state["best_weights"]

            callbacks = self.callbacks if accelerator.is_main_process else []
            for callback in callbacks:
                stack.callback(callback.on_fit_end)
                callback.on_fit_start(config.epochs, steps, at.epoch * steps + at.step)
            stack.enter_context(loading_errors())
            request = stack.enter_context(deferred_signals(active=self.folder is not None))
            lookout = Lookout(accelerator, request, 60 * config.checkpoint_minutes)

            def save(new_best: dict[str, Tensor] | None = None) -> None:
                if not all_finite(model):
                    raise self._not_finite(f"model after step {at.step} of epoch {at.epoch + 1}")
                if self.folder is not None and accelerator.is_main_process:
                    states = {name: thing.state_dict() for name, thing in learner.stateful.items()}
                    self.folder.save(states | {"progress": asdict(at)}, new_best)
                lookout.saved()

            def interrupt(number: int) -> Interrupted:
                save()
                # A launcher ends all processes once one has ended, so the first one must have saved by then.
                accelerator.wait_for_everyone()
                return Interrupted(
                    f"Stopped by {signal.Signals(number).name} after step {at.step} of {steps} of epoch "
                    f"{at.epoch + 1}; all is saved. Continue with resume=True (--resume).",
                    number,
                )

            for epoch in range(at.epoch, config.epochs):
                if config.patience is not None and epoch - at.best_epoch >= config.patience:
                    break
                start = time.perf_counter() - at.seconds
                learner.train(freeze=epoch < config.freeze_epochs if config.freeze_epochs else None)
                size = image_size_at(epoch, config.epochs, config.start_size or full_size, full_size)
                lookout.start()

                for batch, (images, targets) in data.epoch(epoch, first=at.step * accumulation):
                    # Dropout and mixing draw from the global generators. Seeded for each batch, these need no place
                    # in the checkpoint.
                    seed_generators(derive_seed(config.seed, "batch", epoch, batch, process), device)
                    last = batch + 1 == order.batches
                    complete = last or (batch + 1) % accumulation == 0
                    in_step = min(accumulation, order.batches - at.step * accumulation)
                    lookout.note(learner.learn(images, targets, size, share=1 / in_step, last=complete))
                    if not complete:
                        continue
                    learner.update()
                    at.step += 1
                    for callback in callbacks:
                        callback.on_step(epoch, in_step * order.batch_size * processes)

                    orders = lookout.look(last=last)
                    if orders.bad is not None:
                        ago, culprit = orders.bad
                        what = f"loss of epoch {epoch + 1}, batch {batch - ago + 1},"
                        raise self._not_finite(what, train, order.batch(epoch, batch - ago, culprit))
                    for value in orders.losses:  # not sum(), which rounds otherwise than one by one
                        at.loss_sum += value
                    if orders.losses:
                        for callback in callbacks:
                            callback.on_loss(at.loss_sum / (batch + 1))
                    at.seconds = time.perf_counter() - start
                    if orders.stop:
                        raise interrupt(orders.stop)
                    if orders.save:
                        save()

                if config.norm_batches:
                    seed_generators(derive_seed(config.seed, "norm", epoch), device)
                    measure_statistics(judged, data.plain())
                share_buffers(judged, accelerator)
                logits = all_logits(
                    judged,
                    data.val_batches,
                    accelerator,
                    (len(val), classes),
                    # Several processes must agree, which they do at their next step.
                    stop=lambda: processes == 1 and request.number > 0,
                )
                if logits is None:
                    raise interrupt(request.number)
                row: Row = {
                    "epoch": epoch + 1,
                    "train_loss": at.loss_sum / order.batches,
                    **scores(logits, val.targets),
                    "lr": learner.scheduler.get_last_lr()[0],
                    "images_per_second": order.batches * order.batch_size * processes / at.seconds,
                    "seconds": time.perf_counter() - start,
                }
                if not math.isfinite(row["val_loss"]):
                    raise self._not_finite(f"validation loss of epoch {epoch + 1}")
                improved = at.end_epoch(row, MONITORS[config.monitor] * row[config.monitor])
                if improved:
                    best_weights = copy_weights(judged)
                save(best_weights if improved else None)
                for callback in callbacks:
                    callback.on_epoch_end(row, at.history, improved)

            if self.folder is not None and accelerator.is_main_process:
                self.folder.finish(judged.state_dict(), at.history)
            model.load_state_dict(best_weights)
            model.eval()
        return Fit(model, at.history, at.best_epoch, self.folder.path if self.folder else None)

    def _claim(
        self, stack: ExitStack, accelerator: Accelerator, train: CellDataset, val: CellDataset, resume: bool
    ) -> dict[str, Any] | None:
        """The state to continue from, where there is a folder with one."""
        folder = self.folder
        if folder is None:
            if resume:
                raise ConfigError("Nothing to resume from: give the run's folder, out=... (--out).")
            return None
        stack.callback(folder.release)

        def claim() -> dict[str, Any] | None:
            identity = run_identity(self.model, train, val, accelerator)
            identity["objective"] = None if self.objective is None else in_words(self.objective)
            identity["teacher"] = None if self.teacher is None else hash_tensors(self.teacher.model.state_dict())
            session = run_session(train, val, self.config.seed, accelerator.device)
            return folder.claim(self.config, identity, session | self.facts, resume)

        return on_main_process(claim)

    def _not_finite(self, what: str, train: CellDataset | None = None, indices: Sequence[int] = ()) -> ConfigError:
        where = f" on the images {', '.join(train.files[i] for i in indices)}" if train is not None else ""
        kept = f" The checkpoint in {self.folder.path} is from before." if self.folder is not None else ""
        return ConfigError(
            f"The {what} is not finite{where}. Lower the learning rate (lr={self.config.lr:g}), or set "
            f"gradient_clip=1.0{'; look at these images too' if where else ''}.{kept}"
        )


def all_finite(model: nn.Module) -> bool:
    """Whether no weight is NaN or infinite."""
    return all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights and buffers as they are now, on the CPU."""
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
