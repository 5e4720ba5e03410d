from __future__ import annotations

import pytest
import torch

from cellnet.backbones import PlainCNN, check_image_size, create_backbone
from cellnet.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("cnn", 8, "'cnn' cannot take images of 8 px; give 16 px or more"),
        ("inception_v3", 64, "'inception_v3' cannot take images of 64 px; give 75 px or more"),
        ("timm:test_vit_relpos", 64, r"give 160 px\."),
        ("timm:test_vit_relpos", 256, r"give 160 px\."),
    ],
)
def test_a_size_that_does_not_fit_is_answered_by_one_that_does(name: str, size: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_image_size(create_backbone(name), size)


def test_a_size_that_fits_leaves_the_backbone_as_it_was() -> None:
    backbone = PlainCNN().train()
    backbone.blocks[0].eval()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    check_image_size(backbone, 32)
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert backbone.training
    assert not backbone.blocks[0].training
    assert backbone.blocks[1].training
