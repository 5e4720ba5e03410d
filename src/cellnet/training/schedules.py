"""Optimizers and learning-rate schedules, made from a `TrainConfig`."""

from __future__ import annotations

import math

import torch
from torch import nn, optim

from cellnet.models import CellClassifier
from cellnet.training.config import TrainConfig
from cellnet.training.layers import depths


def create_optimizer(model: CellClassifier, config: TrainConfig) -> optim.Optimizer:
    """The optimizer of a config: one group of parameters for each rate and weight decay.

    Weight decay spares 1-D parameters (biases and normalisation); the rates fall with the depth below the head.
    """
    depth = depths(model) if config.layer_decay < 1 else dict.fromkeys(dict(model.named_parameters()), 0)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((depth[name], parameter.ndim <= 1), []).append(parameter)
    options = [
        {
            "params": parameters,
            "lr": config.lr * config.layer_decay**below,
            "weight_decay": 0.0 if spared else config.weight_decay,
        }
        for (below, spared), parameters in sorted(groups.items(), key=lambda item: item[0])  # the head first
    ]
    match config.optimizer:
        case "adam":
            return optim.Adam(options, lr=config.lr)
        case "adamw":
            return optim.AdamW(options, lr=config.lr)
        case "rmsprop":
            return optim.RMSprop(options, lr=config.lr, momentum=config.momentum)
        case _:
            return optim.SGD(options, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def update_weights(
    optimizer: optim.Optimizer, scaler: torch.amp.GradScaler | None, gradient_clip: float | None
) -> None:
    """One step along the gradients, which are clipped before and forgotten after it.

    Args:
        optimizer: The optimizer.
        scaler: What scaled the loss in fp16, or None. It leaves out a step whose gradients overflowed.
        gradient_clip: Largest norm of the gradient of all weights together, or None.
    """
    if gradient_clip is not None:
        if scaler is not None:
            scaler.unscale_(optimizer)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(parameters, gradient_clip)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
    optimizer.zero_grad()


def learning_rate_factor(step: int, steps: int, warmup: int, schedule: str) -> float:
    """Share of the peak rate at a step; a function of the step alone, so that it needs no state.

    Args:
        step: Update number, from 0.
        steps: Number of updates of the whole run.
        warmup: Updates in which the rate rises linearly.
        schedule: One of `cellnet.training.config.SCHEDULES`.

    Returns:
        A factor in [0, 1].

    Example:
        >>> [round(learning_rate_factor(s, 10, 2, "cosine"), 2) for s in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
    match schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "linear":
            return 1 - progress
        case "step":
            return 0.1 ** min(int(progress * 3), 2)
        case _:
            return 1.0


def create_scheduler(
    optimizer: optim.Optimizer, config: TrainConfig, steps_per_epoch: int
) -> optim.lr_scheduler.LambdaLR:
    """The schedule of a config, stepped once an update."""
    steps = config.epochs * steps_per_epoch
    warmup = min(round(config.warmup_epochs * steps_per_epoch), steps)
    return optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, steps, warmup, config.schedule)
    )
