"""Supervised contrastive loss: cells of one class together, all others apart, in memory that does not grow squared."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cellnet.errors import ConfigError, DataError, LabelError

BLOCK_ELEMENTS = 2**21
"""Similarities held at once, at most: 8 MiB in float32."""

SMALL = 2**18
"""So many are held at once whatever their share of all; of more, a sixteenth."""


class SupConLoss(nn.Module):
    """Supervised contrastive loss (Khosla et al. 2020, arXiv 2004.11362, equation 2, the sum outside the logarithm).

    Each view of each sample is an anchor. Its positives are all other views of its class, and it is contrasted with all
    views but itself. Anchors without a positive, which there are with one view only, are left out of the mean.

    Nothing of the size anchors × anchors is held: similarities are formed block by block, the positives enter
    through the sums of their classes, and the gradient is formed in the same pass. All of it is in float32 (or in
    float64 for float64 features), under autocast too.

    Args:
        temperature: What the cosines are divided by, above 0; the paper takes 0.1.
        gather: Contrast with the samples of all processes of ``torch.distributed``, each of which must have as many.
            Every process gets the loss of the whole batch, and once `DistributedDataParallel` has averaged the
            gradients of the processes, they are those of one process with the whole batch.
        memory: How many views of earlier batches to contrast with as well, a queue without gradients as in MoCo
            (He et al. 2020, arXiv 1911.05722); for small batches, and not together with ``gather``. It is part of the
            module's state.
        dim: Length of a feature vector; needed for ``memory`` only.

    Raises:
        ConfigError: A value out of range, ``memory`` without ``dim``, or ``gather`` with ``memory``.

    Example:
        >>> loss = SupConLoss(temperature=0.1)
        >>> features = torch.eye(4).view(2, 2, 4)  # two samples, two views each, all at right angles
        >>> round(float(loss(features, torch.tensor([0, 1]))), 4)  # the logarithm of 3
        1.0986
    """

    queue: Tensor
    queue_labels: Tensor
    queued: Tensor

    def __init__(
        self, temperature: float = 0.1, *, gather: bool = False, memory: int = 0, dim: int | None = None
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigError(f"temperature={temperature!r} must be above 0, e.g. 0.1.")
        if memory < 0 or (memory and not dim):
            raise ConfigError(
                f"memory={memory!r} needs dim=..., the length of a feature vector, and must not be negative."
            )
        if gather and memory:
            raise ConfigError(
                f"gather=True and memory={memory} exclude each other: each process would have a queue of its own; "
                "give one of them."
            )
        self.temperature = float(temperature)
        self.gather = gather
        self.register_buffer("queue", torch.zeros(memory, dim or 0))
        self.register_buffer("queue_labels", torch.zeros(memory, dtype=torch.int64))
        self.register_buffer("queued", torch.zeros((), dtype=torch.int64))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of a batch.

        Args:
            features: float B×V×D, V views of each of B samples, of any length: they are normalised here.
            labels: int64 B.

        Returns:
            A scalar with gradient, float32 (float64 for float64 features).

        Raises:
            DataError: Features of another shape or type, or fewer than two views in all.
            LabelError: Labels that do not fit them, one class only, or no anchor with a positive.
        """
        _check(features, labels)
        samples, views, dim = features.shape
        with torch.autocast(features.device.type, enabled=False):
            precise = features if features.dtype == torch.float64 else features.float()
            z = F.normalize(precise.reshape(samples * views, dim), dim=1)
            y = labels.long().repeat_interleave(views)
            old, old_y = z[:0].detach(), y[:0]
            if len(self.queue):
                count = min(int(self.queued), len(self.queue))
                old, old_y = self.queue[:count].to(z.dtype), self.queue_labels[:count]
            loss: Tensor = _SupCon.apply(z, y, old, old_y, self.temperature, self.gather)
        if len(self.queue) and self.training:
            self._remember(z.detach(), y)
        return loss

    def extra_repr(self) -> str:
        """Its options, for ``print(model)``."""
        return f"temperature={self.temperature:g}, gather={self.gather}, memory={len(self.queue)}"

    @torch.no_grad()
    def _remember(self, z: Tensor, y: Tensor) -> None:
        """Put the newest views over the oldest ones."""
        z, y = z[-len(self.queue) :], y[-len(self.queue) :]
        places = (torch.arange(len(z), device=z.device) + self.queued) % len(self.queue)
        self.queue[places] = z.to(self.queue.dtype)
        self.queue_labels[places] = y
        self.queued += len(z)


class _SupCon(torch.autograd.Function):
    """The loss of normalised rows, and their gradient, in one pass over blocks of anchors."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, y: Tensor, old: Tensor, old_y: Tensor, temperature: float, gather: bool) -> Tensor:
        processes = dist.get_world_size() if gather and dist.is_available() and dist.is_initialized() else 1
        rows, first = len(z), 0
        everything, labels = z, y
        if processes > 1:
            everything, labels, first = _gathered(z, y, processes)
        contrast, labels = torch.cat([everything, old]), torch.cat([labels, old_y])

        classes, which = labels.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        if len(classes) < 2:
            raise LabelError(
                f"All {len(labels)} views are of one class, so there is nothing to contrast them with; draw batches "
                "of several classes, e.g. with cellnet.balancing.MPerClassSampler."
            )
        sizes = which.bincount(minlength=len(classes))
        sums = torch.zeros(len(classes), z.shape[1], dtype=z.dtype, device=z.device).index_add_(0, which, contrast)
        mine = which[first : first + rows]
        positives = sizes[mine] - 1
        # Anchors of all processes that have positives: over them the mean is taken.
        anchors = int((sizes[which[: len(everything)]] > 1).sum())
        if anchors == 0:
            raise LabelError(
                "No class has two views in this batch, so no anchor has a positive; make two views of each sample, "
                "or draw several samples a class, e.g. with cellnet.balancing.MPerClassSampler."
            )
        if anchors < len(everything):
            warnings.warn(
                f"{len(everything) - anchors} of {len(everything)} anchors have no positive and are left out of the "
                "supervised contrastive loss; two views of each sample give every anchor one.",
                stacklevel=4,
            )

        weight = (positives > 0).to(z.dtype) / anchors
        pull = (weight / (positives.clamp(min=1).to(z.dtype) * temperature))[:, None]  # of a positive on its anchor
        others = sums[mine] - z
        loss = -(pull * z * others).sum()
        grad = -pull * others
        pulled = torch.zeros_like(sums).index_add_(0, mine, pull * z)
        grad_contrast = -pulled[which]
        grad_contrast[first : first + rows] += pull * z

        elements = min(BLOCK_ELEMENTS, max(SMALL, rows * len(contrast) // 16))
        size = max(1, elements // len(contrast))
        for start in range(0, rows, size):
            block = z[start : start + size]
            near = block @ contrast.T
            near /= temperature
            index = torch.arange(len(block), device=z.device)
            near[index, first + start + index] = -torch.inf
            top = near.amax(1, keepdim=True)
            near -= top
            near.exp_()
            total = near.sum(1, keepdim=True)
            share = weight[start : start + size, None]
            loss += (share * (top + total.log())).sum()
            near *= share / (total * temperature)
            grad[start : start + size] += near @ contrast
            grad_contrast += near.T @ block

        if processes > 1:
            dist.all_reduce(loss)
            dist.all_reduce(grad_contrast)
        grad += grad_contrast[first : first + rows]
        ctx.save_for_backward(grad * processes)  # which averaging over the processes takes back
        return loss  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = ctx.saved_tensors
        return upstream * grad, None, None, None, None, None


def _gathered(z: Tensor, y: Tensor, processes: int) -> tuple[Tensor, Tensor, int]:
    """The rows and labels of all processes, and where this one's begin."""
    sizes: list[Any] = [None] * processes
    dist.all_gather_object(sizes, len(z))
    if len(set(sizes)) > 1:
        raise DataError(f"The processes have {sizes} views; with gather=True each must have as many.")
    rows = [torch.empty_like(z) for _ in range(processes)]
    labels = [torch.empty_like(y) for _ in range(processes)]
    dist.all_gather(rows, z.contiguous())
    dist.all_gather(labels, y.contiguous())
    return torch.cat(rows), torch.cat(labels), dist.get_rank() * len(z)


def _check(features: Tensor, labels: Tensor) -> None:
    if features.ndim != 3 or not features.is_floating_point():
        raise DataError(
            f"Features must be float B×V×D, samples × views × length, not {features.dtype} {tuple(features.shape)}; "
            "for one view, give features[:, None]."
        )
    samples, views, _ = features.shape
    if samples * views < 2:
        raise DataError(f"{samples} sample with {views} view has nothing to be contrasted with; give larger batches.")
    if labels.shape != (samples,) or labels.is_floating_point():
        raise LabelError(
            f"Labels must be {samples} whole numbers, one a sample, not {labels.dtype} {tuple(labels.shape)}."
        )
