from __future__ import annotations

import pytest
import torch

from cellnet.errors import DataError, UnknownNameError
from cellnet.models import create_model, describe_models


def test_a_row_a_model() -> None:
    images = [torch.zeros(3, 40, 30, dtype=torch.uint8), torch.zeros(3, 64, 64, dtype=torch.uint8)]
    cnn, mobilenet = describe_models(images, ["cnn", "mobilenet_v2"])
    assert (cnn["tag"], mobilenet["tag"]) == ("", "mobilenetv2_100.ra_in1k")
    assert mobilenet["num_features"] == 1280
    assert mobilenet["input_size"] == 224
    assert mobilenet["parameters"] == sum(p.numel() for p in create_model("mobilenet_v2").parameters())
    assert mobilenet["ms_per_image"] > 0


def test_bad_input() -> None:
    with pytest.raises(DataError, match="no image"):
        describe_models([])
    with pytest.raises(UnknownNameError):
        describe_models([torch.zeros(3, 64, 64, dtype=torch.uint8)], ["cn"])
