"""What a training takes of a machine: its memory, beside the rate at which it multiplies matrices."""

from __future__ import annotations

import time
from functools import cache

import torch
from benchmarks.speed.harness import forget_peak, peak_memory


class PeakMemory:
    """The most memory in use from now on: of the GPU what tensors took, else what the process held.

    Args:
        device: ``cuda`` or ``cpu``.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self._known = device == "cuda" or forget_peak()

    def __str__(self) -> str:
        """In GiB; empty where it cannot be told."""
        if not self._known:
            return ""
        gib = torch.cuda.max_memory_allocated() / 2**30 if self.device == "cuda" else peak_memory() / 2**10
        return f"{gib:.2f}"


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


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
