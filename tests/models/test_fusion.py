"""Models with batch normalisation folded away compute what they did."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cellnet.errors import ConfigError
from cellnet.models import CellClassifier, create_model, fuse


def trained(name: str, size: int) -> CellClassifier:
    """A model whose statistics and scales are not those of the start."""
    torch.manual_seed(0)
    model = create_model(name, image_size=size).eval()
    for norm in norms(model):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.1)
    return model


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    ("name", "size", "left"),
    [
        ("cnn", 32, 0),
        ("unet", 32, 0),
        ("mobilenet_v2", 32, 0),
        ("timm:resnet18", 32, 0),
        ("timm:tf_efficientnet_lite0", 32, 0),
        ("densenet201", 32, 102),  # it normalises before it convolves, but for the convolutions within its blocks
        ("vgg16", 32, 0),  # nothing to fold
        ("timm:mobilenetv3_small_050+cnn", 32, 0),
    ],
)
def test_the_same_features_with_fewer_layers(name: str, size: int, left: int) -> None:
    model = trained(name, size)
    fused = fuse(model)
    images = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8)
    with torch.inference_mode():
        features, logits = model.features(images), model(images)
        torch.testing.assert_close(fused.features(images), features, rtol=1e-3, atol=1e-4 * features.abs().max().item())
        torch.testing.assert_close(fused(images), logits, rtol=1e-3, atol=1e-4 * max(1.0, logits.abs().max().item()))
    assert len(norms(fused)) == left
    assert fused.fused
    assert not model.fused


class Squared(nn.Conv2d):
    """A convolution that changes its weights when it uses them."""

    def forward(self, images: Tensor) -> Tensor:
        """With the squares of its weights."""
        return self._conv_forward(images, self.weight**2, self.bias)


@pytest.mark.parametrize("parametrized", [False, True])
def test_weights_that_are_changed_when_they_are_used(parametrized: bool) -> None:
    """There folding would change what is computed, which is found by comparing."""
    model = trained("cnn", 32)
    convolution = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    if parametrized:
        nn.utils.parametrizations.weight_norm(convolution)
    else:
        convolution.__class__ = Squared
    fused = fuse(model)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(fused(images), model(images))
    assert len(norms(fused)) == (1 if parametrized else len(norms(model)))
    assert fused.fused == parametrized


def test_it_predicts_and_nothing_else(tmp_path: Path) -> None:
    model = trained("cnn", 32)
    model.thresholds = {"probability": 0.5}
    fused = model.fuse()
    assert fused.thresholds == model.thresholds
    assert fused.labels == model.labels
    with pytest.raises(ConfigError, match="train the model that it was made of"):
        fused.train()
    with pytest.raises(ConfigError, match="save the model that it was made of"):
        fused.save(tmp_path / "fused")
    assert not (tmp_path / "fused").exists()
    assert not fused.eval().training


def test_the_model_is_left_as_it_was() -> None:
    model = trained("cnn", 32).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert not fuse(model).training
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
