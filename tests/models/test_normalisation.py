"""Statistics of batch normalisation measured anew, beside PyTorch's own way to do it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from cellnet.models import create_model
from cellnet.models.normalisation import measure_statistics


@pytest.fixture
def batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(4, 3, 32, 32, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("name", ["cnn", "timm:resnet10t", "timm:tf_efficientnet_lite0"])
def test_the_statistics_are_those_of_pytorch(name: str, batches: list[Tensor]) -> None:
    model = create_model(name, image_size=32, dropout=0).eval()
    other = copy.deepcopy(model)
    measure_statistics(model, batches)
    update_bn(batches, other)
    assert not model.training
    for (key, ours), theirs in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=key)
    assert all(layer.momentum is not None for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d))


def test_frozen_layers_keep_their_statistics(batches: list[Tensor]) -> None:
    model = create_model("cnn", image_size=32)
    model(batches[0])  # statistics that are not the first ones
    model.freeze_backbone()
    before = copy.deepcopy(model.state_dict())
    measure_statistics(model, batches)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.training


def test_a_network_without_batch_normalisation_is_left_alone(batches: list[Tensor]) -> None:
    model = create_model("timm:vit_tiny_patch16_224", image_size=32)
    before = copy.deepcopy(model.state_dict())
    measure_statistics(model, batches[:1])
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
