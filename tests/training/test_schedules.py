"""Optimizers and learning-rate schedules."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from cellnet.models import create_model
from cellnet.training import TrainConfig
from cellnet.training.config import OPTIMIZERS, SCHEDULES
from cellnet.training.schedules import create_optimizer, create_scheduler, learning_rate_factor, update_weights


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_rises_then_never_rises_again(schedule: str) -> None:
    factors = [learning_rate_factor(step, 100, 10, schedule) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert all(0 <= b <= a <= 1 for a, b in pairwise(factors[9:]))


def test_known_values() -> None:
    assert learning_rate_factor(50, 100, 0, "linear") == pytest.approx(0.5)
    assert learning_rate_factor(25, 100, 0, "cosine") == pytest.approx(0.8535534)
    assert [learning_rate_factor(s, 90, 0, "step") for s in (0, 30, 60, 89)] == pytest.approx([1, 0.1, 0.01, 0.01])
    assert learning_rate_factor(99, 100, 0, "constant") == 1.0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_spares_one_dimensional_parameters(name: str) -> None:
    model = create_model("cnn")
    optimizer = create_optimizer(model, TrainConfig(optimizer=name, weight_decay=0.1))
    assert type(optimizer).__name__.lower() == name
    decayed, spared = optimizer.param_groups
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in spared["params"]} == {1}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)


def test_the_scheduler_follows_the_factor() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = create_scheduler(optimizer, TrainConfig(epochs=2, warmup_epochs=0.5, schedule="linear"), 4)
    rates = []
    for _ in range(8):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([2 * learning_rate_factor(s, 8, 2, "linear") for s in range(8)])


@pytest.mark.parametrize("scaled", [False, True])
def test_gradients_are_clipped_together_and_forgotten(scaled: bool) -> None:
    """Gradients 3 and 4 have the norm 5; with rate 1 the weights move by a fifth of them."""
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0) if scaled else None
    loss = 3 * model.weight.sum() + 4 * model.bias.sum()
    (loss if scaler is None else scaler.scale(loss)).backward()
    update_weights(optimizer, scaler, gradient_clip=1.0)
    assert [model.weight.item(), model.bias.item()] == pytest.approx([-0.6, -0.8], abs=1e-5)
    assert model.weight.grad is None
