"""Losses and class weights against torch and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from cellnet.balancing import balanced_class_weights
from cellnet.errors import ConfigError
from cellnet.training.objectives import Classification


def test_balanced_weights_are_scikit_learns() -> None:
    targets = np.random.default_rng(0).integers(0, 5, 200)
    expected = compute_class_weight("balanced", classes=np.arange(5), y=targets)
    assert balanced_class_weights(targets, 5).numpy() == pytest.approx(expected)


def test_an_absent_class_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"classes \[1\] have no image"):
        balanced_class_weights(np.array([0, 2, 2]), 3)


def test_the_loss_by_hand_in_float64() -> None:
    torch.manual_seed(0)
    model, smoothing = nn.Linear(4, 3), 0.1
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 1, 0])
    loss = Classification(smoothing)(model, x, y)
    log_p = model(x).double().log_softmax(1)
    target = torch.full((5, 3), smoothing / 3, dtype=torch.float64)
    target[torch.arange(5), y] += 1 - smoothing
    expected = -(target * log_p).sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_shares_of_classes_weigh_the_losses_of_each() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(4, 3), torch.randn(2, 4)
    loss = Classification()(model, x, torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]))
    log_p = model(x).double().log_softmax(1)
    expected = -(0.75 * log_p[0, 0] + 0.25 * log_p[0, 1] + log_p[1, 2]) / 2
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
