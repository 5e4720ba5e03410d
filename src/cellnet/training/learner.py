"""What changes the weights: one batch forward and backward, one step of the optimizer, the average of the weights."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from cellnet.augment import BatchMixing
from cellnet.errors import ConfigError
from cellnet.models import CellClassifier
from cellnet.training.config import TrainConfig
from cellnet.training.distillation import Teacher
from cellnet.training.objectives import Objective
from cellnet.training.processes import unwrap
from cellnet.training.schedules import create_optimizer, create_scheduler, update_weights
from cellnet.training.sizes import shrink


class Learner:
    """A model with all that trains it, on its device.

    Args:
        model: The model; trained in place.
        config: Options of the run.
        accelerator: Device, precision and processes.
        objective: What is minimised.
        steps: Steps an epoch.
        teacher: Whose labels are learned beside the true ones, or None.

    Attributes:
        steps: Steps an epoch.
        judged: The model whose weights count: the average of the weights where there is one.
        stateful: What a checkpoint must hold, by name.
    """

    def __init__(
        self,
        model: CellClassifier,
        config: TrainConfig,
        accelerator: Accelerator,
        objective: Objective,
        steps: int,
        teacher: Teacher | None = None,
    ) -> None:
        self.model, self.steps = model, steps
        self.device = accelerator.device
        self._config = config
        self._accelerator = accelerator
        self._objective = objective
        self._layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self._classes, self._frozen = len(model.labels), model.frozen
        self._mixing = BatchMixing(config.mixup, config.cutmix) if config.mixup or config.cutmix else None
        self._teacher = teacher
        if teacher is not None:
            teacher.model.to(self.device).to(memory_format=self._layout)

        if isinstance(objective, nn.Module):
            objective.to(self.device)
        model.to(self.device).to(memory_format=self._layout)
        self.optimizer = create_optimizer(model, config)
        # Before Accelerate wraps the model's forward, which a copy would share.
        self._ema = ModelEmaV3(model, decay=config.ema, use_warmup=True) if config.ema else None
        # The model alone: Accelerate's optimizer looks for uninstalled packages in every step.
        self._net, self._scaler = accelerator.prepare(model), accelerator.scaler
        if config.compile:
            check_compiler(self.device)
            self._net.compile()
        self.scheduler = create_scheduler(self.optimizer, config, steps)
        self.judged: CellClassifier = model if self._ema is None else self._ema.module
        parts = {
            "model": model,
            "ema": None if self._ema is None else self.judged,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "scaler": self._scaler,
            "objective": objective if isinstance(objective, nn.Module) and objective.state_dict() else None,
        }
        self.stateful: dict[str, Any] = {name: part for name, part in parts.items() if part is not None}

    def close(self) -> None:
        """Give the model back as it was, but for its weights."""
        unwrap(self._accelerator, self._net, self.model)
        self.model._compiled_call_impl = None
        if self._config.freeze_epochs:
            self.model.unfreeze_backbone()
            self.model.freeze(*self._frozen)

    def train(self, *, freeze: bool | None) -> None:
        """An epoch begins.

        Args:
            freeze: Whether the backbone is frozen in it; None leaves that as it is.
        """
        self._net.train()
        for model in {self.model, self.judged}:  # both, since statistics of what is frozen are not measured
            if freeze:
                model.freeze_backbone()
            elif freeze is not None:
                model.unfreeze_backbone()

    def learn(self, images: Tensor, targets: Tensor, size: int, *, share: float = 1.0, last: bool = True) -> Tensor:
        """One batch forward and backward; its gradient is added to those of the batches since the last `update`.

        Args:
            images: uint8 N×3×S×S, or N×V×3×S×S for V views of each, on any device.
            targets: int64 N.
            size: Side at which the model sees the images, pixels.
            share: Weight of this batch among those of a step.
            last: Whether it is the last one before an `update`: the processes exchange their gradients then.

        Returns:
            The mean loss of the batch, a scalar without gradient that may still be on its way.
        """
        images, targets = (each.to(self.device, non_blocking=True) for each in (images, targets))
        if images.ndim == 5:
            images = images.flatten(0, 1)
        if self._mixing is not None:
            images, targets = self._mixing(images, targets, self._classes)
        if self._teacher is not None:
            shares = targets if targets.is_floating_point() else F.one_hot(targets, self._classes).float()
            with self._accelerator.autocast():
                targets = self._teacher(images, shares)
        images = shrink(images, size).contiguous(memory_format=self._layout)
        with nullcontext() if last else self._accelerator.no_sync(self._net):
            with self._accelerator.autocast():
                loss = self._objective(self._net, images, targets)
            scaled = loss if share == 1 else loss * share
            (scaled if self._scaler is None else self._scaler.scale(scaled)).backward()
        return loss.detach()

    def update(self) -> None:
        """One step along the gradients so far."""
        update_weights(self.optimizer, self._scaler, self._config.gradient_clip)
        self.scheduler.step()
        if self._ema is not None:
            self._ema.update(self.model, step=self.scheduler.last_epoch)

    def restore(self, states: dict[str, Any]) -> None:
        """Be as the checkpoint says that holds ``states``."""
        for name, part in self.stateful.items():
            part.load_state_dict(states[name])


def check_compiler(device: torch.device) -> None:
    """Try ``torch.compile`` on something small.

    Raises:
        ConfigError: It does not work here, e.g. because there is no C++ compiler.
    """
    try:
        torch.compile(torch.exp)(torch.zeros(2, device=device))
    except Exception as error:  # torch has many classes for it, all private
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"torch.compile does not work here ({reason}); install a C++ compiler, such as g++, or leave out "
            "compile=True (--set compile=true)."
        ) from error
