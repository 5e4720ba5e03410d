"""What every backbone must do. To test another one, add a line to CASES."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from cellnet.backbones import Backbone, create_backbone
from cellnet.images import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from cellnet.labels import PBC_LABELS
from cellnet.models import CellClassifier

HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Case:
    name: str
    size: int = 64
    grid: int = 2
    odd_size: tuple[int, int] = (97, 83)
    mean_pooled: bool = True
    input_size: int = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


CASES = [
    Case("cnn", 32, input_size=128, mean=HALF, std=HALF),
    Case("unet", 32, grid=16, input_size=128, mean=HALF, std=HALF),
    Case("resnet50"),
    Case("vgg16"),
    Case("densenet201"),
    Case("mobilenet_v2"),
    Case("inception_v3", 80, 1, input_size=299, mean=HALF, std=HALF),
    Case("xception", input_size=299, mean=HALF, std=HALF),
    Case("timm:mobilenetv3_small_050"),
    Case("timm:test_convnext", mean_pooled=False, input_size=160, mean=HALF, std=HALF),
    Case("timm:test_vit", grid=4, mean_pooled=False, input_size=160, mean=HALF, std=HALF),
    Case("timm:test_mambaout", input_size=160),
    Case("timm:swin_tiny_patch4_window7_224", odd_size=(96, 80), mean_pooled=False),
    Case("cnn+timm:mobilenetv3_small_050", grid=4, mean=(0, 0, 0), std=(1, 1, 1)),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def original(case: Case) -> Backbone:
    torch.manual_seed(0)
    return create_backbone(case.name)


@pytest.fixture
def backbone(original: Backbone) -> Backbone:
    return copy.deepcopy(original).eval()


@pytest.fixture
def images(case: Case) -> Tensor:
    return torch.randn(2, 3, case.size, case.size, generator=torch.Generator().manual_seed(0))


def assert_close(given: Tensor, expected: Tensor) -> None:
    # Untrained networks differ widely in scale, so the difference is measured against the largest feature.
    scale = expected.abs().max()
    torch.testing.assert_close(given / scale, expected / scale, rtol=0, atol=1e-4)


def test_it_describes_itself(case: Case, backbone: Backbone) -> None:
    assert backbone.name == case.name
    assert backbone.num_features > 0
    assert backbone.input_size == case.input_size
    assert (backbone.mean, backbone.std) == (case.mean, case.std)
    assert backbone.weights_report is None


@torch.no_grad()
def test_maps_and_features_have_the_promised_shapes(case: Case, backbone: Backbone, images: Tensor) -> None:
    maps, features = backbone.feature_maps(images), backbone(images)
    assert maps.shape == (2, backbone.num_features, case.grid, case.grid)
    assert features.shape == (2, backbone.num_features)
    assert features.dtype == torch.float32
    assert features.isfinite().all()
    if case.mean_pooled:
        assert_close(features, maps.mean(dim=(2, 3)))


@torch.no_grad()
def test_pooling_makes_the_features_of_the_maps(backbone: Backbone, images: Tensor) -> None:
    maps, pool = backbone.maps_and_pooling(images)
    assert_close(maps, backbone.feature_maps(images))
    assert_close(pool(torch.zeros(2, backbone.num_features)), backbone(images))


@torch.no_grad()
def test_in_evaluation_images_do_not_depend_on_each_other(backbone: Backbone, images: Tensor) -> None:
    assert_close(backbone(images)[:1], backbone(images[:1]))


@torch.no_grad()
def test_odd_image_sizes(case: Case, backbone: Backbone) -> None:
    images = torch.randn(1, 3, *case.odd_size)
    assert backbone(images).shape == (1, backbone.num_features)
    assert backbone.feature_maps(images).shape[:2] == (1, backbone.num_features)


@torch.no_grad()
def test_channels_last_changes_nothing(backbone: Backbone, images: Tensor) -> None:
    expected = backbone(images)
    backbone.to(memory_format=torch.channels_last)
    given = backbone(images.contiguous(memory_format=torch.channels_last))
    assert_close(given, expected)


@torch.no_grad()
def test_state_dict_round_trip(case: Case, backbone: Backbone, images: Tensor) -> None:
    other = create_backbone(case.name).eval()
    other.load_state_dict(backbone.state_dict())
    assert torch.equal(other(images), backbone(images))


def test_the_gradient_reaches_every_parameter(backbone: Backbone, images: Tensor) -> None:
    backbone.train()
    # Not the plain sum: a norm at the end makes that constant.
    (backbone(images) * torch.linspace(-1, 1, backbone.num_features)).sum().backward()
    assert not [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
    first = next(parameter for parameter in backbone.parameters() if parameter.ndim == 4)
    assert first.grad is not None
    assert first.grad.abs().max() > 0


def test_frozen_stays_frozen_through_train(case: Case, backbone: Backbone) -> None:
    preprocess = Preprocess(case.size, mean=backbone.mean, std=backbone.std)
    model = CellClassifier(backbone, PBC_LABELS, preprocess)
    before = copy.deepcopy(backbone.state_dict())
    model.freeze_backbone()
    model.train()
    batch = torch.randint(0, 256, (2, 3, case.size, case.size), dtype=torch.uint8)
    model(batch).sum().backward()
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in backbone.parameters())
    assert all(p.grad is not None for p in model.head.parameters())
    assert not any(module.training for module in backbone.modules())
    assert model.head.training

    model.unfreeze_backbone()
    assert all(p.requires_grad for p in backbone.parameters())
    assert all(m.training for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))
