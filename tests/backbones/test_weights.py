from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from cellnet.backbones import WeightsReport, create_backbone
from cellnet.errors import ConfigError, WeightsError

NAME = "timm:test_convnext"


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """timm's own state dict of a small network, with a classifier of seven classes."""
    torch.manual_seed(1)
    return timm.create_model("test_convnext", num_classes=7).state_dict()


def write(folder: Path, tensors: dict[str, Tensor]) -> Path:
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "net.safetensors")
    return folder / "net.safetensors"


def test_all_tensors_are_loaded_and_the_old_classifier_is_reported(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    backbone = create_backbone(NAME, weights=write(tmp_path, tensors))
    report = backbone.weights_report
    assert isinstance(report, WeightsReport)
    assert report.missing == ()
    assert report.unexpected == ("head.fc.bias", "head.fc.weight")
    assert set(report.matched) == set(tensors) - set(report.unexpected)
    assert str(report) == (
        f"net.safetensors: {len(report.matched)} tensors matched, none missing, 2 unused (head.fc.bias, head.fc.weight)"
    )
    assert all(torch.equal(value, tensors[key]) for key, value in backbone.net.state_dict().items())


def test_half_precision_is_widened(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    halves = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    backbone = create_backbone(NAME, weights=write(tmp_path, halves))
    for key, value in backbone.net.state_dict().items():
        assert value.dtype == tensors[key].dtype
        assert torch.equal(value, halves[key].to(value.dtype))


def test_the_weights_of_our_own_network_round_trip(tmp_path: Path) -> None:
    first = create_backbone("cnn")
    second = create_backbone("cnn", weights=write(tmp_path, first.state_dict()))
    assert all(torch.equal(v, first.state_dict()[k]) for k, v in second.state_dict().items())


def test_counters_of_batches_may_be_absent(tmp_path: Path) -> None:
    state = create_backbone("cnn").state_dict()
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    backbone = create_backbone("cnn", weights=write(tmp_path, old))
    assert backbone.weights_report is not None
    assert backbone.weights_report.missing == ()
    assert set(backbone.weights_report.matched) == set(old)
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


def test_vgg_leaves_out_its_fully_connected_layers(tmp_path: Path) -> None:
    net = timm.create_model("vgg16.tv_in1k", mlp_ratio=1 / 4096)
    state = net.state_dict()
    backbone = create_backbone("vgg16", weights=write(tmp_path, state))
    assert backbone.weights_report is not None
    assert all(key.startswith(("pre_logits.", "head.")) for key in backbone.weights_report.unexpected)
    assert len(backbone.weights_report.matched) == len(net.features.state_dict())


def drop(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in tensors.items() if not k.startswith("stages.0.")}


def prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{k}": v for k, v in tensors.items()}


def extend(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {"decoder.weight": torch.zeros(3)}


def reshape(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {"stem.0.weight": torch.zeros(1, 2)}


def quantise(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {"stem.0.weight": tensors["stem.0.weight"].to(torch.int8)}


def poison(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {"stem.0.bias": torch.full_like(tensors["stem.0.bias"], torch.nan)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"another network: \d+ of \d+ tensors missing \(stages\.0\..*\), none unknown; choose"),
        (prefix, r"another network: .* unknown \(module\..*\.\.\.\).*without prefix"),
        (extend, r"another network: none of .* 1 unknown \(decoder\.weight\)"),
        (reshape, r"does not fit: stem\.0\.weight is 1x2 there and .* in the backbone"),
        (quantise, r"stores stem\.0\.weight as torch\.int8.*floating-point"),
        (poison, r"NaN or infinite numbers in stem\.0\.bias"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(
    tmp_path: Path, tensors: dict[str, Tensor], change: object, message: str
) -> None:
    backbone = create_backbone(NAME)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with pytest.raises(WeightsError, match=message) as caught:
        backbone.load_weights(write(tmp_path, change(tensors)))  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert backbone.weights_report is None


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        create_backbone("cnn", weights=tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="is a folder"):
        create_backbone("cnn", weights=tmp_path)


def test_pretrained_and_weights_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        create_backbone("resnet50", pretrained=True, weights=tmp_path / "net.safetensors")


def test_a_composite_refuses_one_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="from_branches"):
        create_backbone("cnn+cnn", weights=tmp_path / "net.safetensors")
