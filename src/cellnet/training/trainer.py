"""What trains a model: the checks before a run, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError
from cellnet.models import CellClassifier
from cellnet.tensors import hash_tensors
from cellnet.training.callbacks import Callback, HistoryCSV, Row
from cellnet.training.config import TrainConfig
from cellnet.training.data import LoadedData, balance_part
from cellnet.training.distillation import Teacher
from cellnet.training.interrupts import deferred_signals
from cellnet.training.learner import Learner
from cellnet.training.loading import loading_errors
from cellnet.training.loop import Loop
from cellnet.training.memory import (
    batch_unit,
    fitting_batch_size,
    is_out_of_memory,
    out_of_memory_error,
    training_pass,
    with_batch,
    with_fitting_batch,
)
from cellnet.training.objectives import Objective, check_objective, create_objective, in_words, views_of
from cellnet.training.parts import check_parts
from cellnet.training.processes import check_device, create_accelerator, on_main_process
from cellnet.training.provenance import run_identity, run_session
from cellnet.training.resident import ResidentData
from cellnet.training.run_folder import RunFolder
from cellnet.training.sizes import check_sizes


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
        device: ``"cpu"``, ``"cuda"``, or None for the best device there is; one of several GPUs is chosen by the
            environment variable CUDA_VISIBLE_DEVICES.
        starting_weights: Where the model's weights start from, in words; a run that began otherwise is not continued.
        facts: What ``run.json`` shall say of the run besides, in JSON types, e.g. the hash of its split.

    Raises:
        ConfigError: Balanced twice, or a device that a training cannot use.

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
        starting_weights: str = "",
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
        check_device(device)
        self.device = device
        self.starting_weights = starting_weights
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
            ConfigError: No weight of the model can be trained, the folder holds another run or cannot be written, the
                loss is not finite (the message names the images), memory does not suffice (it names the batch that
                would fit), a batch is too small to have a variance, the images do not fit on the device, or a process
                that loads images ended.
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
        fits = fitting_batch_size(compute, batch_size, unit := batch_unit(self.config))
        size, accumulation = self.model.preprocess.image_size, self.config.gradient_accumulation
        raise out_of_memory_error(batch_size, fits, size, accumulation, unit)

    def _fit(self, train: CellDataset, val: CellDataset, resume: bool) -> Fit:
        config, model = self.config, self.model
        check_parts(model, train, val)
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
        model.forget_weights()
        with ExitStack() as stack:
            # Each batch seeds the global generators; the caller's go on as if nothing had been drawn.
            place = accelerator.device
            stack.enter_context(torch.random.fork_rng(devices=[place] if place.type == "cuda" else []))
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
            steps = math.ceil(data.order.batches / config.gradient_accumulation)  # updates of the weights an epoch
            learner = Learner(model, config, accelerator, objective, steps, self.teacher)
            stack.callback(learner.close)
            callbacks = self.callbacks if accelerator.is_main_process else []
            stack.enter_context(loading_errors())
            request = stack.enter_context(deferred_signals(active=self.folder is not None))
            loop = Loop(learner, data, train, val, config, accelerator, self.folder, callbacks, request)
            if state is not None:
                loop.restore(state)
            loop.run()
            model.load_state_dict(loop.best_weights)
            model.eval()
        return Fit(model, loop.at.history, loop.at.best_epoch, self.folder.path if self.folder else None)

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
            identity |= in_words(self.objective) | {"starting_weights": self.starting_weights}
            identity["teacher"] = None if self.teacher is None else hash_tensors(self.teacher.model.state_dict())
            session = run_session(train, val, self.config.seed, accelerator.device)
            return folder.claim(self.config, identity, session | self.facts, resume)

        return on_main_process(claim)
