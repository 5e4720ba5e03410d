"""Time and memory of the supervised contrastive loss, forward and backward, beside pytorch-metric-learning.

    python benchmarks/speed/supcon.py

Rows are two views of 1,024 and of 4,096 samples of eight classes, 128 numbers each, on one core. ``dense formula`` is
the paper's, over matrices of rows × rows; ``three matrix products`` is the least that any exact loss must compute.
Times are interleaved in one process; memory is what a process of its own takes at its peak, once it has computed
sixteen rows.

The peer is no dependency of cellnet: pip install pytorch-metric-learning
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from harness import extra_memory, in_fresh_process, interleave, rows, write
from torch import Tensor

from cellnet.losses import SupConLoss

TEMPERATURE, VIEWS, DIM, CLASSES = 0.1, 2, 128, 8
SAMPLES = (1024, 4096)
PEER = "pytorch-metric-learning"

Loss = Callable[[Tensor, Tensor], Tensor]


def peer(features: Tensor, labels: Tensor) -> Tensor:
    """pytorch-metric-learning's loss, of all views as one batch."""
    from pytorch_metric_learning.losses import SupConLoss as Peer

    loss: Tensor = Peer(TEMPERATURE)(features.flatten(0, 1), labels.repeat_interleave(VIEWS))
    return loss


def dense(features: Tensor, labels: Tensor) -> Tensor:
    """The paper's formula, with a matrix of all pairs."""
    z = F.normalize(features.flatten(0, 1), dim=1)
    y = labels.repeat_interleave(VIEWS)
    itself = torch.eye(len(z), dtype=torch.bool)
    near = (z @ z.T / TEMPERATURE).masked_fill(itself, -torch.inf)
    positive = (y[:, None] == y) & ~itself
    likely = near - near.logsumexp(1, keepdim=True)
    return -(likely.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()


def products(features: Tensor, labels: Tensor) -> Tensor:
    """Three products of the loss's size, in blocks, and no loss."""
    z = features.detach().flatten(0, 1)
    total = torch.zeros_like(z)
    for block in z.split(512):
        near = block @ z.T
        total[: len(block)] += near @ z
        total += near.T @ block
    return (features * 0).sum()


LOSSES: dict[str, Loss] = {
    PEER: peer,
    "dense formula": dense,
    "cellnet": SupConLoss(TEMPERATURE),
    "three matrix products": products,
}


def batch(samples: int) -> tuple[Tensor, Tensor]:
    """Features that need a gradient, and labels."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(samples, VIEWS, DIM, generator=generator).requires_grad_()
    return features, torch.randint(CLASSES, (samples,), generator=generator)


def work(loss: Loss, samples: int) -> Callable[[], int]:
    """Forward and backward of one batch."""
    features, labels = batch(samples)

    def run() -> int:
        features.grad = None
        loss(features, labels).backward()
        return samples * VIEWS

    return run


def measure_peak(name: str, samples: int) -> str:
    """In this process: MiB that one batch takes."""
    work(LOSSES[name], 8)()  # what is loaded on first use
    extra = extra_memory(lambda: work(LOSSES[name], samples)())
    return "" if extra is None else f"{extra:.0f}"


def main(
    samples: tuple[int, ...] = SAMPLES, rounds: int = 5, fresh: bool = True, without_missing: bool = False
) -> None:
    """Measure and write ``speed_supcon.csv``.

    Args:
        samples: Numbers of samples.
        rounds: Of measuring.
        fresh: Measure memory in processes of their own.
        without_missing: Go on where the peer is not installed.
    """
    losses, packages = dict(LOSSES), ("torch", PEER)
    if find_spec("pytorch_metric_learning") is None:
        if not without_missing:
            sys.exit(f"The peer is not installed: pip install {PEER}")
        print(f"{PEER} is not installed and is left out.")
        del losses[PEER]
        packages = ("torch",)
    torch.set_num_threads(1)
    table = []
    for count in samples:
        rates = interleave({name: work(loss, count) for name, loss in losses.items()}, rounds)
        for row in rows(rates, next(iter(losses)), packages):
            wanted = (row["what"], count)
            extra = in_fresh_process(__file__, "peak", *wanted).strip() if fresh else measure_peak(*wanted)
            table.append({"rows": f"{VIEWS}×{count:,}"} | row | {"extra_mib": extra})
    write("speed_supcon", table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        torch.set_num_threads(1)
        print(measure_peak(sys.argv[2], int(sys.argv[3])))
    else:
        main()
