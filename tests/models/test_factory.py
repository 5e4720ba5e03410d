from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cellnet.backbones import create_backbone
from cellnet.errors import CellnetError, ConfigError, LabelError, UnknownNameError
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS, LabelSchema
from cellnet.models import (
    CellClassifier,
    HybridInceptionXception,
    LinearHead,
    StudyHead,
    create_model,
    from_architecture,
    list_models,
)


def test_the_names() -> None:
    names = list_models()
    assert names == sorted(names)
    assert {"cnn", "hybrid", "inception_v3", "mobilenet_v2", "xception"} <= set(names)


def test_a_name_makes_an_ordinary_classifier() -> None:
    model = create_model("cnn")
    assert type(model) is CellClassifier
    assert model.labels is PBC_LABELS
    assert model.preprocess.image_size == 128
    assert isinstance(model.head, LinearHead)
    assert model.head.dropout == 0.2


def test_a_sum_makes_an_ordinary_classifier() -> None:
    model = create_model("cnn+timm:test_vit", image_size=64)
    assert type(model) is CellClassifier
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 8)


def test_options() -> None:
    labels = LabelSchema.from_names(["a", "b"])
    half = (0.5, 0.5, 0.5)
    model = create_model("mobilenet_v2", labels, image_size=64, dropout=0.3, mean=half, std=half, head="study")
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 2)
    assert isinstance(model.head, StudyHead)
    assert model.head.dropout == 0.3
    assert (model.preprocess.mean, model.preprocess.std) == (half, half)
    assert (model.backbone.mean, model.backbone.std) == (half, half)


def test_starting_weights_are_reported(tmp_path: Path) -> None:
    source = create_backbone("cnn").state_dict()
    save_file(source, tmp_path / "cnn.safetensors")
    model = create_model("cnn", weights=tmp_path / "cnn.safetensors")
    assert model.backbone.weights_report is not None
    assert all(torch.equal(value, source[key]) for key, value in model.backbone.state_dict().items())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hybird", "Unknown model 'hybird'. Did you mean 'hybrid'"),
        ("Xception", "Did you mean 'xception'"),
        ("convnext_tiny", "Did you mean 'timm:convnext_tiny'"),
        ("cnn+hybrid", "Unknown backbone 'hybrid'"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        create_model(name)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cnn", {"image_size": 8}, "image_size=8 must be a whole number of at least 16"),
        ("cnn", {"image_size": "64"}, "image_size='64' must be a whole number"),
        ("timm:test_vit_relpos", {"image_size": 64}, "cannot take images of 64 px; give 160 px"),
        ("cnn", {"dropout": 1.5}, "dropout=1.5"),
        ("cnn", {"dropout": "a"}, "dropout='a' must be a number"),
        ("cnn", {"std": (0.0, 1.0, 1.0)}, "above 0"),
        ("cnn+cnn", {"mean": (0.5, 0.5, 0.5)}, "each of its branches"),
        ("cnn", {"pretrained": True, "weights": "x.safetensors"}, "exclude each other"),
        ("hybrid", {"head": "study"}, "a head of its own"),
    ],
)
def test_options_that_cannot_be(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_model(name, **options)


@pytest.mark.parametrize("labels", [["a", "b"], None, "blast", 8])
def test_labels_that_are_no_schema(labels: Any) -> None:
    with pytest.raises(LabelError, match=r"are no schema; give LabelSchema\.from_names\(\["):
        create_model("cnn", labels)
    backbone = create_backbone("cnn")
    with pytest.raises(LabelError, match="are no schema"):
        CellClassifier(backbone, labels, Preprocess(32))


def test_an_unknown_head() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'study'"):
        create_model("cnn", head="stdy")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cnn", {"image_size": 32}),
        ("cnn", {"image_size": 32, "head": "study", "dropout": 0.1}),
        ("timm:test_vit", {"image_size": 64, "mean": (0.1, 0.2, 0.3)}),
        ("cnn+timm:test_convnext", {"image_size": 64}),
    ],
)
def test_the_architecture_builds_the_same_model_again(name: str, options: dict[str, Any]) -> None:
    model = create_model(name, LabelSchema.from_names(["a", "b", "c"]), **options).eval()
    again = from_architecture(model.architecture).eval()
    assert type(again) is type(model)
    assert again.architecture == model.architecture
    assert again.labels == model.labels
    assert again.preprocess == model.preprocess
    again.load_state_dict(model.state_dict())
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(again(images), model(images))


@pytest.mark.slow
def test_the_hybrid_of_the_study() -> None:
    model = create_model("hybrid", image_size=96)
    assert isinstance(model, HybridInceptionXception)
    assert model.backbone.name == "inception_v3+xception"
    assert model.backbone.num_features == 4096
    # Dense 1024 behind each network, dense 512 behind both, and the logits; each with its bias.
    dense = 2 * (2048 * 1024 + 1024) + (2048 * 512 + 512) + (512 * 8 + 8)
    assert sum(p.numel() for p in model.head.parameters()) == dense
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    again = from_architecture(model.architecture).eval()
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(again(images), model.eval()(images))


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": None},
        {"statistics": []},
        {"head": {}},
        {"head": {"name": "fusion", "dropout": 0.5}},
        {"labels": None},
        {"preprocess": None},
    ],
)
def test_a_damaged_architecture(change: dict[str, Any]) -> None:
    architecture = create_model("cnn", image_size=32).architecture
    with pytest.raises(CellnetError):
        from_architecture(architecture | change)
    with pytest.raises(ConfigError, match="KeyError"):
        from_architecture({key: value for key, value in architecture.items() if key not in change})
