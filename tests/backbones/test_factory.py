from __future__ import annotations

import socket
from typing import NoReturn

import pytest
import torch

from cellnet.backbones import BACKBONES, CompositeBackbone, PlainCNN, create_backbone
from cellnet.errors import ConfigError, UnknownNameError, WeightsError


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every attempt to reach the network fails and leaves its host in this list."""
    asked: list[str] = []

    def refuse(*args: object, **_: object) -> NoReturn:
        asked.append(str(args))
        raise OSError("the network is blocked")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return asked


def test_the_names_of_the_study() -> None:
    study = {"cnn", "unet", "resnet50", "vgg16", "densenet201", "mobilenet_v2", "inception_v3", "xception"}
    assert study <= set(BACKBONES.list())


@pytest.mark.parametrize("name", ["mobilenet_v2", "timm:test_vit", "cnn+timm:resnet18"])
def test_untrained_never_touches_the_network(blocked: list[str], name: str) -> None:
    create_backbone(name, pretrained=False)
    assert blocked == []


def test_a_failed_download_names_the_weights_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, **options: object) -> NoReturn:
        assert options["pretrained"] is True
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr("timm.create_model", fail)
    with pytest.raises(WeightsError, match=r"'mobilenetv2_100\.ra_in1k'.*no route to host.*weights=FILE") as caught:
        create_backbone("mobilenet_v2", pretrained=True)
    assert "\n" not in str(caught.value)


def test_pretrained_reaches_every_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, **options: object) -> NoReturn:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("timm.create_model", fail)
    with pytest.raises(WeightsError, match=r"legacy_xception\.tf_in1k"):
        create_backbone("xception+mobilenet_v2", pretrained=True)


def test_our_own_network_has_no_pretrained_weights() -> None:
    with pytest.raises(ConfigError, match="no pretrained weights for 'cnn'"):
        create_backbone("cnn", pretrained=True)


def test_pretrained_is_a_bool() -> None:
    with pytest.raises(ConfigError, match="must be True or False"):
        create_backbone("cnn", pretrained="imagenet")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilnet_v2", "Did you mean 'mobilenet_v2'"),
        ("efficientnet_b0", "Did you mean 'timm:efficientnet_b0'"),
        ("cnn+resnt50", "Unknown backbone 'resnt50'. Did you mean 'resnet50'"),
        ("cnn+", "Unknown backbone ''"),
        ("timm:resnt50", "Nearest: 'timm:resnet50'"),
        ("timm:", "timm has no network ''"),
        ("timm:qqqqqqqqqq", "Nearest: none"),
        ("timm:resnet50.a1_in2k", r"Did you mean 'timm:resnet50\.a1_in1k'"),
    ],
)
def test_unknown_names_show_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        create_backbone(name)


@pytest.mark.parametrize("name", ["timm:hf-hub:a/b", "timm:local-dir:/tmp", "timm:a/b", "timm:a\\b"])
def test_download_sources_are_refused(blocked: list[str], name: str) -> None:
    with pytest.raises(ConfigError, match="plain timm name"):
        create_backbone(name)
    assert blocked == []


def test_other_packages_can_add_one() -> None:
    @BACKBONES.register("test_only")
    def build(*, pretrained: bool = False) -> PlainCNN:
        return PlainCNN()

    try:
        assert create_backbone("test_only")(torch.zeros(1, 3, 32, 32)).shape == (1, 256)
    finally:
        del BACKBONES._entries["test_only"]


def test_what_is_no_backbone_is_refused() -> None:
    class Nameless(PlainCNN):
        def __init__(self) -> None:
            super().__init__()
            del self.input_size

    BACKBONES.register("test_plain")(lambda pretrained: torch.nn.Conv2d(3, 8, 3))
    BACKBONES.register("test_nameless")(lambda pretrained: Nameless())
    try:
        with pytest.raises(ConfigError, match=r"Conv2d is no backbone; derive it from cellnet\.backbones\.Backbone"):
            create_backbone("cnn+test_plain")
        with pytest.raises(ConfigError, match="Nameless does not say its input_size; set it in the class"):
            create_backbone("test_nameless")
    finally:
        del BACKBONES._entries["test_plain"], BACKBONES._entries["test_nameless"]


def test_composites_may_hold_three() -> None:
    backbone = create_backbone("cnn + cnn+timm:test_vit")
    assert isinstance(backbone, CompositeBackbone)
    assert [b.name for b in backbone.branches] == ["cnn", "cnn", "timm:test_vit"]
    assert backbone.name == "cnn+cnn+timm:test_vit"
