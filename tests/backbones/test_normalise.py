from __future__ import annotations

import torch
from torchvision.transforms.v2.functional import normalize

from cellnet.backbones import Normalise

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_bytes_and_floats_agree_with_torchvision() -> None:
    images = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    expected = normalize(images.double() / 255, list(MEAN), list(STD)).float()
    layer = Normalise(MEAN, STD)
    torch.testing.assert_close(layer(images), expected, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(layer(images.float() / 255), expected, rtol=1e-5, atol=2e-6)


def test_the_numbers_follow_the_precision_but_are_no_weights() -> None:
    layer = Normalise(MEAN, STD)
    assert layer.state_dict() == {}
    assert layer.half()(torch.zeros(1, 3, 2, 2, dtype=torch.uint8)).dtype == torch.float16


def test_the_memory_format_is_kept() -> None:
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    assert Normalise(MEAN, STD)(images).is_contiguous(memory_format=torch.channels_last)
