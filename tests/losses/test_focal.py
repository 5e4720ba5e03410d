"""Focal loss beside torch's cross-entropy and a naive loop in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cellnet.errors import ConfigError
from cellnet.losses import FocalLoss

LOGITS = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 3, 1, 1, 0])
SHARES = torch.rand(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).softmax(1)
WEIGHT = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("targets", [LABELS, SHARES])
def test_without_gamma_it_is_cross_entropy(targets: Tensor, weight: Tensor | None, smoothing: float) -> None:
    logits = LOGITS.clone().requires_grad_()
    other = LOGITS.clone().requires_grad_()
    mine = FocalLoss(0.0, weight, smoothing)(logits, targets)
    expected = F.cross_entropy(other, targets, weight, label_smoothing=smoothing)
    torch.testing.assert_close(mine, expected)
    mine.backward()
    expected.backward()
    torch.testing.assert_close(logits.grad, other.grad)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_a_naive_loop(gamma: float) -> None:
    total = 0.0
    for row, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        p = math.exp(row[label]) / sum(map(math.exp, row))
        total += -((1 - p) ** gamma) * math.log(p)
    assert FocalLoss(gamma)(LOGITS, LABELS).item() == pytest.approx(total / 7, rel=1e-12)


def test_certain_and_half_precision_logits_have_gradients() -> None:
    for logits in (torch.tensor([[200.0, -200.0]]), torch.tensor([[3.0, 1.0]], dtype=torch.bfloat16)):
        logits.requires_grad_()
        loss = FocalLoss(0.5)(logits, torch.tensor([0]))
        loss.backward()
        assert loss.dtype == torch.float32
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize("options", [{"gamma": -1.0}, {"gamma": float("nan")}, {"label_smoothing": 1.0}])
def test_values_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be at least 0"):
        FocalLoss(**options)
