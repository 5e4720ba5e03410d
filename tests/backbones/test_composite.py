from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.v2.functional import normalize

from cellnet.backbones import CompositeBackbone, PlainCNN, TimmBackbone
from cellnet.errors import ConfigError


@pytest.fixture(scope="module")
def composite() -> CompositeBackbone:
    return CompositeBackbone([PlainCNN(), TimmBackbone("resnet18")]).eval()


@torch.no_grad()
def test_each_branch_gets_its_own_statistics(composite: CompositeBackbone) -> None:
    images = torch.rand(2, 3, 64, 64)
    cnn, resnet = composite.branches
    assert cnn.mean != resnet.mean
    expected = torch.cat([b(normalize(images, list(b.mean), list(b.std))) for b in (cnn, resnet)], dim=1)
    torch.testing.assert_close(composite(images), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_maps_lie_on_the_grid_of_the_first_branch(composite: CompositeBackbone) -> None:
    images = torch.rand(1, 3, 64, 96)
    resnet = composite.branches[1]
    expected = F.interpolate(
        resnet.feature_maps(normalize(images, list(resnet.mean), list(resnet.std))), (4, 6), mode="bilinear"
    )
    maps = composite.feature_maps(images)
    assert maps.shape == (1, 256 + 512, 4, 6)
    torch.testing.assert_close(maps[:, 256:], expected, rtol=1e-4, atol=1e-5)


def test_it_describes_itself(composite: CompositeBackbone) -> None:
    assert composite.name == "cnn+timm:resnet18"
    assert composite.tag == "cnn + resnet18.a1_in1k"
    assert composite.num_features == 256 + 512
    assert composite.input_size == 224
    assert (composite.mean, composite.std) == ((0, 0, 0), (1, 1, 1))


def test_the_statistics_are_no_weights(composite: CompositeBackbone) -> None:
    assert not [key for key in composite.state_dict() if "scale" in key or "shift" in key]


def test_one_branch_or_a_composite_of_composites_is_refused(composite: CompositeBackbone) -> None:
    with pytest.raises(ConfigError, match="two or more single backbones, not cnn"):
        CompositeBackbone([PlainCNN()])
    with pytest.raises(ConfigError, match="two or more single backbones"):
        CompositeBackbone([composite, PlainCNN()])
