"""One look at a run every few steps, by all processes at the same step: the losses, signals and the clock."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from cellnet.training.interrupts import StopRequest

LOOK_STEPS = 50
LOOK_SECONDS = 2.0
"""To read a number from a GPU is to wait for it, so a look comes after so many steps or so much time."""


@dataclass(frozen=True)
class Orders:
    """What a look says; the same in all processes.

    Args:
        losses: Losses of the batches since the look before, each the mean over the processes.
        bad: How many batches ago, and in which process, a loss was not finite; None if all were.
        stop: The signal that asks a process to end, or 0.
        save: Whether it is time for a checkpoint.
    """

    losses: tuple[float, ...] = ()
    bad: tuple[int, int] | None = None
    stop: int = 0
    save: bool = False


GO_ON = Orders()


class Lookout:
    """Keeps the losses where they are computed, and reads them a few at a time.

    Args:
        accelerator: The processes.
        request: Whether this process was asked to end.
        save_seconds: Time between checkpoints within an epoch.
    """

    def __init__(self, accelerator: Accelerator, request: StopRequest, save_seconds: float) -> None:
        self._accelerator = accelerator
        self._request = request
        self._save_seconds = save_seconds
        self._losses: list[Tensor] = []
        self._steps = 0
        self._wait = 1  # the first look comes at once, and measures how long a step takes
        self._looked = self._saved = time.perf_counter()

    def start(self) -> None:
        """The steps of an epoch begin."""
        self._looked = time.perf_counter()

    def note(self, loss: Tensor) -> None:
        """Keep the loss of a batch, without waiting for it."""
        self._losses.append(loss.detach())

    def saved(self) -> None:
        """A checkpoint was written."""
        self._saved = time.perf_counter()

    def look(self, *, last: bool) -> Orders:
        """What to do after a step; after the last one of an epoch, a look is due in any case."""
        self._steps += 1
        alone = self._accelerator.num_processes == 1
        if not (last or self._steps >= self._wait or (alone and self._request.number)):
            return GO_ON
        now = time.perf_counter()
        step_seconds = max((now - self._looked) / self._steps, 1e-9)
        wait = max(1, min(LOOK_STEPS, int(min(LOOK_SECONDS, self._save_seconds) / step_seconds)))
        due = now - self._saved >= self._save_seconds
        losses = torch.stack(self._losses).float()
        mine = torch.tensor([self._request.number, due, wait], dtype=torch.float32, device=losses.device)
        table = self._accelerator.gather(torch.cat([losses, mine])[None]).tolist()
        self._looked, self._steps, self._losses = time.perf_counter(), 0, []

        *columns, stops, dues, waits = zip(*table, strict=True)
        # The processes' clocks differ: the first one's counts.
        self._wait = int(waits[0])
        bad = (
            (len(columns) - 1 - batch, process)
            for batch, values in enumerate(columns)
            for process, value in enumerate(values)
            if not math.isfinite(value)
        )
        return Orders(
            losses=tuple(sum(values) / len(values) for values in columns),
            bad=next(bad, None),
            stop=int(max(stops)),
            save=bool(dues[0]),
        )
