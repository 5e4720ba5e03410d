"""Statistics of batch normalisation, measured anew for weights that no batch has seen: averaged or quickly changing."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def measure_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set mean and variance of each batch normalisation to their average over batches.

    As `torch.optim.swa_utils.update_bn`, but layers that stay in evaluation when the model trains, because they are
    frozen, keep their statistics.

    Args:
        model: The network, which is left in the mode it was in.
        batches: Images as the model takes them, on its device.

    Example:
        >>> norm = nn.BatchNorm2d(1)
        >>> measure_statistics(norm, [torch.full((2, 1, 4, 4), 3.0), torch.full((2, 1, 4, 4), 5.0)])
        >>> norm.running_mean
        tensor([4.])
    """
    was_training = model.training
    model.train()
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.training]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # an average of all batches in equal shares
    for images in batches:
        model(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.train(was_training)
