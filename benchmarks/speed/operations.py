"""What a network computes, and matrix products that compute as much and nothing else: a limit of its rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from cellnet.models import CellClassifier

PASSES = 3
"""A forward and a backward pass compute this many times what a forward pass does."""

SIDE = 256
"""Of the matrices, so that all three stay in the cache of one core."""


def flops(run: Callable[[], Any]) -> int:
    """Floating-point operations of the convolutions and matrix products of a pass, without gradients.

    One multiplication and addition are two.
    """
    counter: Any = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        run()
    return int(counter.get_total_flops())


def training_flops(model: CellClassifier) -> int:
    """Floating-point operations to learn from one image, with all layers trained: three times a forward pass."""
    size, device = model.preprocess.image_size, next(model.parameters()).device
    image = torch.zeros(1, 3, size, size, dtype=torch.uint8, device=device)
    was_training = model.training
    forward = flops(lambda: model.eval()(image))
    model.train(was_training)
    return PASSES * forward


def products(operations: int, side: int = SIDE) -> Callable[[], None]:
    """Products of fp32 matrices on the CPU, of so many operations, which use no fresh memory.

    Args:
        operations: As `flops` tells them; the last product has so many rows as are left.
        side: Of the matrices.
    """
    a, b = torch.randn(2, side, side)
    out = torch.empty(side, side)
    whole, rest = divmod(round(operations / (2 * side**2)), side)

    @torch.no_grad()
    def run() -> None:
        for _ in range(whole):
            torch.mm(a, b, out=out)
        torch.mm(a[:rest], b, out=out[:rest])

    return run
