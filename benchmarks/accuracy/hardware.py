"""What a training takes of a machine: its memory, and the share of the rate at which it can multiply matrices."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from cellnet.models import CellClassifier
from cellnet.training import Callback

PASSES = 3
"""A forward and a backward pass compute this many times what a forward pass does."""


class PeakMemory(Callback):
    """The most memory in use at the end of any step: of the GPU what tensors took, else what the process held.

    Of a training that was continued, that of its last start.

    Args:
        device: ``cuda`` or ``cpu``.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._process = psutil.Process()
        self._most = 0
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def on_fit_start(self, epochs: int, steps_per_epoch: int, first_step: int) -> None:
        """Look at the start, which may be all that is left to do."""
        self.on_step(0, 0)

    def on_step(self, epoch: int, images: int) -> None:
        """Look."""
        if self.device != "cuda":  # which counts by itself
            self._most = max(self._most, self._process.memory_info().rss)

    @property
    def gib(self) -> float:
        """In GiB."""
        return (torch.cuda.max_memory_allocated() if self.device == "cuda" else self._most) / 2**30


@cache
def matrix_rate(device: str, dtype: torch.dtype, size: int | None = None, repeats: int = 20) -> float:
    """Floating-point operations a second of a product of two square matrices: the median of some.

    Args:
        device: ``cuda`` or ``cpu``.
        dtype: Of the matrices.
        size: Their side; None takes 8192 on a GPU and 1024 elsewhere.
        repeats: How often it is timed.
    """
    side = size or (8192 if device == "cuda" else 1024)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(repeats + 1):
        _wait(device)
        start = time.perf_counter()
        a @ b
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / float(torch.tensor(seconds[1:]).median())


def training_flops(model: CellClassifier) -> int:
    """Floating-point operations to learn from one image, with all layers trained: three times a forward pass.

    Convolutions and matrix products are counted, one multiplication and addition as two operations.
    """
    size, device = model.preprocess.image_size, next(model.parameters()).device
    counter: Any = FlopCounterMode(display=False)
    was_training = model.training
    with torch.no_grad(), counter:
        model.eval()(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=device))
    model.train(was_training)
    return PASSES * int(counter.get_total_flops())


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
