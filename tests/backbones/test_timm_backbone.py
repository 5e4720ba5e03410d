from __future__ import annotations

import pytest
import timm
import torch

from cellnet.backbones import STUDY_NETWORKS, TimmBackbone, create_backbone
from cellnet.errors import ConfigError


@pytest.mark.parametrize("tag", STUDY_NETWORKS.values())
def test_timm_has_the_pinned_weights(tag: str) -> None:
    assert tag in timm.list_pretrained(tag)


def test_the_tag_is_known_without_being_given() -> None:
    assert TimmBackbone("resnet18").tag == "resnet18.a1_in1k"
    assert create_backbone("mobilenet_v2").tag == "mobilenetv2_100.ra_in1k"


def test_vgg_carries_no_fully_connected_layers() -> None:
    backbone = create_backbone("vgg16")
    # Thirteen 3x3 convolutions with bias: the published 138,357,544 less the three dense layers.
    dense = (25088 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 1000 + 1000)
    assert sum(p.numel() for p in backbone.parameters()) == 138_357_544 - dense


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv2_050", "test_convnext", "test_vit"])
@torch.no_grad()
def test_features_are_those_of_timm(name: str) -> None:
    backbone = TimmBackbone(name).eval()
    reference = timm.create_model(name, num_classes=0).eval()
    reference.load_state_dict(backbone.net.state_dict())
    size = reference.pretrained_cfg["input_size"][-1]
    images = torch.randn(2, 3, size, size)
    torch.testing.assert_close(backbone(images), reference(images))


@torch.no_grad()
def test_a_widening_head_is_replaced_by_the_mean_of_the_maps() -> None:
    backbone = TimmBackbone("mobilenetv3_small_050").eval()
    images = torch.randn(2, 3, 64, 64)
    assert backbone(images).shape == (2, 288)
    torch.testing.assert_close(backbone(images), backbone.net.forward_features(images).mean(dim=(2, 3)))


@pytest.mark.parametrize("name", ["test_vit", "test_mambaout", "swin_tiny_patch4_window7_224"])
@torch.no_grad()
def test_maps_are_those_of_timm(name: str) -> None:
    backbone = TimmBackbone(name).eval()
    images = torch.randn(1, 3, 96, 64)
    maps = backbone.net.forward_intermediates(images, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True)[
        -1
    ]
    torch.testing.assert_close(backbone.feature_maps(images), maps)


def test_features_without_a_grid_are_still_pooled() -> None:
    backbone = TimmBackbone("crossvit_9_240").eval()
    images = torch.randn(1, 3, 240, 240)
    with torch.no_grad():
        assert backbone(images).shape == (1, backbone.num_features)
        with pytest.raises(ConfigError, match="form no map"):
            backbone.feature_maps(images)


def test_inception_returns_one_tensor_in_training() -> None:
    assert isinstance(create_backbone("inception_v3").train()(torch.randn(2, 3, 80, 80)), torch.Tensor)
