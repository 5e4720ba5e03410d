"""One process or many: what each of them does, over Hugging Face Accelerate."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from torch import nn

from cellnet.errors import CellnetError
from cellnet.training.config import TrainConfig

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long processes wait for the first one, e.g. while it reads all images or writes a report."""


def create_accelerator(config: TrainConfig, device: str | None) -> Accelerator:
    """Accelerate for one run. bf16 is chosen by itself only on a GPU: processors without it are slower with it."""
    precision = config.precision
    if precision == "auto":
        on_gpu = device != "cpu" and torch.cuda.is_available()
        precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "fp32"
    # Accelerate remembers the precision of a process's first run, and would refuse another one.
    AcceleratorState._reset_state()
    return Accelerator(
        cpu=device == "cpu" or _without_gpu(),
        mixed_precision="no" if precision == "fp32" else precision,
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=PATIENCE),
            # A part of the model that is frozen for some epochs has no gradients to exchange.
            DistributedDataParallelKwargs(find_unused_parameters=config.freeze_epochs > 0),
        ],
    )


def is_main_process() -> bool:
    """Whether this is the only process, or the first of those that a launcher started."""
    return int(os.environ.get("RANK", "0")) == 0


def on_main_process(function: Callable[[], T]) -> T:
    """What ``function`` gives in the first process, in all of them; it is called in that one alone.

    Raises:
        CellnetError: As ``function`` raises it, in all processes.
    """
    state = PartialState(cpu=_without_gpu(), timeout=PATIENCE)
    answer: list[Any] = [None, None]
    if state.is_main_process:
        try:
            answer[0] = function()
        except CellnetError as error:
            answer[1] = error
    if state.num_processes > 1:
        broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]  # type: ignore[no-any-return]


def unwrap(accelerator: Accelerator, net: nn.Module, model: nn.Module) -> None:
    """Take back what `Accelerator.prepare` made of ``model``, so that its output is not mixed precision's any more."""
    accelerator.unwrap_model(net, keep_fp32_wrapper=False)
    vars(model).pop("forward", None)  # Accelerate leaves it on the instance, in the way of its class's own


def share_buffers(model: nn.Module, accelerator: Accelerator) -> None:
    """Give all processes the first one's buffers, e.g. the statistics of batch normalisation; weights are equal."""
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)


def _without_gpu() -> bool:
    # Accelerate must be told: on a machine without one, it would let each process of a launch work for itself.
    return not torch.accelerator.is_available()
