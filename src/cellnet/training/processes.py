"""One process or many: what each of them does, over Hugging Face Accelerate."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from torch import nn

from cellnet.errors import CellnetError, ConfigError
from cellnet.inference import torch_device
from cellnet.training.config import TrainConfig

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long processes wait for the first one, e.g. while it reads all images or writes a report."""


def check_device(device: str | None) -> None:
    """Refuse a device that a training would not use: Accelerate takes the processor or the machine's own kind.

    Raises:
        ConfigError: There is none of that name, or it is one GPU of several.
    """
    if device is None:
        return
    best = torch.accelerator.current_accelerator(check_available=True)
    kinds = ["cpu", *([best.type] if best else [])]
    if str(torch_device(device)) not in kinds:
        raise ConfigError(
            f"A training cannot use the device {device!r}; give {' or '.join(map(repr, kinds))}, and choose one of "
            "several GPUs by the environment variable CUDA_VISIBLE_DEVICES, e.g. CUDA_VISIBLE_DEVICES=1."
        )


def create_accelerator(config: TrainConfig, device: str | None) -> Accelerator:
    """Accelerate for one run. bf16 is chosen by itself only on a GPU: processors without it are slower with it."""
    precision = config.precision
    if precision == "auto":
        on_gpu = device != "cpu" and torch.cuda.is_available()
        precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "fp32"
    # Accelerate remembers precision and device of a process's first run: it would refuse another precision, and
    # take the old device without a word.
    AcceleratorState._reset_state(reset_partial_state=True)
    _part_at_exit()
    return Accelerator(
        cpu=_on_cpu(device),
        mixed_precision="no" if precision == "fp32" else precision,
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=PATIENCE),
            # A part of the model that is frozen for some epochs has no gradients to exchange.
            DistributedDataParallelKwargs(find_unused_parameters=config.freeze_epochs > 0),
        ],
    )


def on_main_process(function: Callable[[], T], device: str | None = None) -> T:
    """What ``function`` gives in the first process, in all of them; it is called in that one alone.

    Args:
        function: Takes nothing and gives what can be pickled.
        device: That of the run, see `create_accelerator`; the first call joins the processes, over gloo for ``"cpu"``.

    Raises:
        CellnetError: As ``function`` raises it, in all processes. Of any other error the first process gets the
            original, and the others this one with its words, so that none of them waits for an answer.
    """
    _part_at_exit()
    state = PartialState(cpu=_on_cpu(device), timeout=PATIENCE)
    answer: list[Any] = [None, None]
    problem: Exception | None = None
    if state.is_main_process:
        try:
            answer[0] = function()
        except CellnetError as error:
            answer[1] = problem = error
        except Exception as error:  # the others might not be able to unpickle it
            problem = error
            answer[1] = CellnetError(f"The first process failed: {type(error).__name__}: {error}")
    if state.num_processes > 1:
        broadcast_object_list(answer)
    if answer[1] is not None:
        raise problem or answer[1]
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


def _part_at_exit() -> None:
    """Have the processes that are about to be joined part before Python ends."""
    if torch.distributed.is_available() and not torch.distributed.is_initialized():  # a caller's group is the caller's
        atexit.unregister(_part)
        atexit.register(_part)


def _part() -> None:
    # A thread of gloo may hold what the last exchange sent, and would need Python to give it back: without one, the
    # process aborts (pytorch/pytorch#179291). NCCL has no such threads, and would wait for a process that failed.
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo":
        torch.distributed.destroy_process_group()


def _on_cpu(device: str | None) -> bool:
    # Accelerate must be told: on a machine without a GPU, it would let each process of a launch work for itself.
    return device == "cpu" or not torch.accelerator.is_available()
