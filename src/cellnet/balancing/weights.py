"""Weights of classes in a loss, from how many images they have."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellnet.errors import ConfigError


def balanced_class_weights(targets: NDArray[np.int64], num_classes: int) -> Tensor:
    """Weights inverse to the class counts: n / (number of classes × count), as scikit-learn's ``balanced``.

    Args:
        targets: Integer labels of the training part.
        num_classes: Number of classes of the schema.

    Returns:
        float32 tensor of shape (num_classes,).

    Raises:
        ConfigError: A class is absent, so that its weight would be infinite, or a label is of none.

    Example:
        >>> balanced_class_weights(np.array([0, 0, 0, 1]), 2)
        tensor([0.6667, 2.0000])
    """
    counts = _counts(targets, num_classes)
    return torch.tensor(len(targets) / (num_classes * counts), dtype=torch.float32)


def effective_number_weights(targets: NDArray[np.int64], num_classes: int, beta: float = 0.999) -> Tensor:
    """Weights inverse to the effective numbers of images, (1 - βⁿ) / (1 - β) (Cui et al. 2019, arXiv 1901.05555).

    The n-th image of a class adds less than the first. With β = 0 all classes weigh the same; the nearer β is to 1,
    the nearer the weights are to the inverse counts.

    Args:
        targets: Integer labels of the training part.
        num_classes: Number of classes of the schema.
        beta: In [0, 1); the paper tries 0.9, 0.99, 0.999 and 0.9999.

    Returns:
        float32 tensor of shape (num_classes,), with the sum num_classes, as in the paper.

    Raises:
        ConfigError: ``beta`` is out of range, a class is absent, so that its weight would be infinite, or a label is of
            none.

    Example:
        >>> effective_number_weights(np.array([0, 0, 0, 1]), 2, beta=0.5)
        tensor([0.7273, 1.2727])
    """
    if not 0 <= beta < 1:
        raise ConfigError(f"beta={beta!r} must be at least 0 and below 1; 0.999 is usual.")
    counts = _counts(targets, num_classes)
    # expm1 and log1p: 1 - βⁿ loses digits where β is near 1.
    inverse = (1 - beta) / -np.expm1(counts * np.log1p(beta - 1)) if beta else np.ones(num_classes)
    return torch.tensor(inverse * num_classes / inverse.sum(), dtype=torch.float32)


def _counts(targets: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Images of each class.

    Raises:
        ConfigError: A class has none, or a label is of none.
    """
    if len(targets) and not 0 <= np.min(targets) <= np.max(targets) < num_classes:
        raise ConfigError(
            f"Labels run from {np.min(targets)} to {np.max(targets)}, but there are {num_classes} classes; give labels "
            f"from 0 to {num_classes - 1}."
        )
    counts = np.bincount(targets, minlength=num_classes)
    if (counts == 0).any():
        absent = np.flatnonzero(counts == 0).tolist()
        raise ConfigError(
            f"Class weights need every class in the training part; classes {absent} have no image. "
            "Train without class weights, or on data with these classes."
        )
    return counts
