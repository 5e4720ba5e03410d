"""Time and memory of the supervised contrastive loss, forward and backward, beside pytorch-metric-learning.

    python benchmarks/speed/supcon.py

Rows are two views of 1,024 and of 4,096 samples of eight classes, 128 numbers each, on one core. ``dense formula`` is
the paper's, over matrices of rows × rows; ``three matrix products`` is the least that any exact loss must compute.
Times are interleaved in one process; memory is the peak of a process of its own, beside that with sixteen rows.

The peer is no dependency of cellnet: pip install pytorch-metric-learning
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from harness import interleave, rows, write
from torch import Tensor

from cellnet.losses import SupConLoss

TEMPERATURE, VIEWS, DIM, CLASSES = 0.1, 2, 128, 8
SAMPLES = (1024, 4096)

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
    "pytorch-metric-learning": peer,
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


def peak(name: str, samples: int) -> int:
    """Peak memory, in KiB, of a process that computes the loss of one small batch, then of one of this size."""
    command = [sys.executable, __file__, "peak", name, str(samples)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure and write ``speed_supcon.csv``."""
    if find_spec("pytorch_metric_learning") is None:
        sys.exit("The peer is not installed: pip install pytorch-metric-learning")
    torch.set_num_threads(1)
    table = []
    for samples in SAMPLES:
        rates = interleave({name: work(loss, samples) for name, loss in LOSSES.items()}, rounds=5)
        for row in rows(rates, "pytorch-metric-learning", ("torch", "pytorch-metric-learning")):
            extra = (peak(row["what"], samples) - peak(row["what"], 8)) / 1024
            table.append({"rows": f"{VIEWS}×{samples:,}"} | row | {"extra_mib": f"{extra:.0f}"})
    write("speed_supcon", table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        torch.set_num_threads(1)
        work(LOSSES[sys.argv[2]], 8)()
        work(LOSSES[sys.argv[2]], int(sys.argv[3]))()
        # Not getrusage, whose maximum a process takes over from its parent.
        status = Path("/proc/self/status").read_text().splitlines()
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
    else:
        main()
