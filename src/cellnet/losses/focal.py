"""Focal loss: cross-entropy that looks away from what is right already."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellnet.errors import ConfigError


class FocalLoss(nn.Module):
    """Cross-entropy of which each term counts (1 - p)^γ of itself (Lin et al. 2017, arXiv 1708.02002).

    A class that is predicted with the probability p near 1 hardly counts, so that many easy images do not outweigh few
    hard ones. With γ = 0 it is the cross-entropy of torch, in class weights and label smoothing too.

    Args:
        gamma: γ, at least 0; the paper takes 2.
        weight: float tensor of C class weights, or None.
        label_smoothing: Share of the target given to all classes, in [0, 1).

    Raises:
        ConfigError: A value out of range.

    Example:
        >>> logits, targets = torch.tensor([[3.0, 0.0], [0.0, 0.1]]), torch.tensor([0, 0])
        >>> easy, hard = (float(FocalLoss(2.0)(logits[i : i + 1], targets[i : i + 1])) for i in range(2))
        >>> round(easy, 4), round(hard, 4)
        (0.0001, 0.2052)
    """

    weight: Tensor | None

    def __init__(self, gamma: float = 2.0, weight: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ConfigError(f"gamma={gamma!r} must be at least 0, e.g. 2; 0 is cross-entropy.")
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"label_smoothing={label_smoothing!r} must be at least 0 and below 1.")
        self.gamma = float(gamma)
        self.label_smoothing = float(label_smoothing)
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch, computed in float32 (float64 for float64 logits).

        Args:
            logits: float N×C.
            targets: int64 N; or float N×C, the share of each class.
        """
        logits = logits if logits.dtype == torch.float64 else logits.float()
        classes, hard = logits.shape[1], not targets.is_floating_point()
        shares = F.one_hot(targets, classes).to(logits.dtype) if hard else targets.to(logits.dtype)
        shares = torch.lerp(shares, torch.full_like(shares, 1 / classes), self.label_smoothing)
        log_p = logits.log_softmax(1)
        terms = -shares * log_p * (-torch.expm1(log_p)).clamp(min=0) ** self.gamma
        if self.weight is None:
            return terms.sum() / len(logits)
        terms = terms * self.weight.to(logits)
        # As torch does: the mean of labels is weighted, that of shares is not.
        return terms.sum() / (self.weight.to(logits)[targets].sum() if hard else len(logits))
