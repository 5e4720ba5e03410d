"""Which layer lies how deep."""

from __future__ import annotations

import pytest

from cellnet.models import create_model
from cellnet.training import TrainConfig
from cellnet.training.layers import depths
from cellnet.training.schedules import create_optimizer


@pytest.mark.parametrize("name", ["cnn", "mobilenet_v2", "timm:vit_tiny_patch16_224", "cnn+timm:resnet18"])
def test_every_parameter_has_a_depth_and_only_the_head_has_none(name: str) -> None:
    model = create_model(name)
    numbers = depths(model)
    assert list(numbers) == [name for name, _ in model.named_parameters()]
    assert {name for name, depth in numbers.items() if depth == 0} == {n for n in numbers if n.startswith("head.")}
    assert set(numbers.values()) == set(range(max(numbers.values()) + 1))


def test_the_networks_of_a_composite_are_counted_apart() -> None:
    numbers = depths(create_model("cnn+timm:resnet18"))
    assert numbers["backbone._branches.0.blocks.0.0.weight"] == 5
    assert numbers["backbone._branches.1.net.layer4.1.conv2.weight"] == 1
    assert numbers["backbone._branches.1.net.conv1.weight"] == 9


def test_rates_fall_with_the_depth_and_the_head_comes_first() -> None:
    model = create_model("cnn")
    groups = create_optimizer(model, TrainConfig(lr=0.1, layer_decay=0.5, weight_decay=0.2)).param_groups
    rates = [group["lr"] for group in groups]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == (0.1, pytest.approx(0.1 * 0.5**5))
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    for group in groups:
        assert {group["weight_decay"]} == {0.2 if parameter.ndim > 1 else 0.0 for parameter in group["params"]}
