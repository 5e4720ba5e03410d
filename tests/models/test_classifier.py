from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn
from torchvision.transforms.v2.functional import normalize

from cellnet.backbones import PlainCNN, create_backbone
from cellnet.errors import ConfigError, DataError
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS, LabelSchema
from cellnet.models import CellClassifier, LinearHead, TemperatureScaling, VectorScaling


@pytest.fixture
def model() -> CellClassifier:
    torch.manual_seed(0)
    return CellClassifier(PlainCNN(), PBC_LABELS, Preprocess(32, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_logits_are_head_of_backbone_of_normalised_images(model: CellClassifier, images: torch.Tensor) -> None:
    model.eval()
    normalised = normalize(images.float() / 255, [0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
    linear = model.head.classify[1]
    features = model.backbone(normalised)
    torch.testing.assert_close(model.features(images), features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(images), features @ linear.weight.T + linear.bias, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(images.float() / 255), model(images), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_half_precision_images_are_computed_in_the_models_own(model: CellClassifier, images: torch.Tensor) -> None:
    assert model.eval()((images / 255).half()).dtype == torch.float32


def test_the_statistics_follow_preprocess_and_are_no_weights(model: CellClassifier) -> None:
    assert not [key for key in model.state_dict() if "normalise" in key]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 32, 32), r"\(3, 32, 32\) are not a batch.*images\[None\]"),
        (torch.zeros(2, 1, 32, 32), "not a batch"),
        (torch.zeros(2, 32, 32, 3), "not a batch"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.int64), r"torch\.int64.*give uint8"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.bool), r"torch\.bool"),
    ],
)
def test_other_tensors_are_refused(model: CellClassifier, images: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        model(images)


def test_freezing_survives_train_and_copies(model: CellClassifier, images: torch.Tensor) -> None:
    assert not model.backbone_frozen
    model.freeze_backbone()
    for net in (model, copy.deepcopy(model)):
        assert net.backbone_frozen
        before = copy.deepcopy(net.backbone.state_dict())
        net.train()
        optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1.0)
        head = net.head.classify[1].weight.clone()
        net(images).sum().backward()
        optimizer.step()
        assert all(torch.equal(v, before[k]) for k, v in net.backbone.state_dict().items())
        assert not torch.equal(head, net.head.classify[1].weight)
        assert net.training
        assert net.head.training


def test_unfreezing_restores_the_mode_of_the_model(model: CellClassifier) -> None:
    model.eval().freeze_backbone()
    model.unfreeze_backbone()
    assert not model.backbone_frozen
    assert not model.backbone.training
    assert all(p.requires_grad for p in model.parameters())
    assert model.train().backbone.training


def test_what_is_not_calibrated_yet(model: CellClassifier) -> None:
    assert (model.temperature, model.thresholds, model.weights_card) == (1.0, {}, None)
    assert (model.calibrator, model.risk_control, model.sets) == (TemperatureScaling(1.0), None, None)


def test_the_temperature_is_the_calibrators(model: CellClassifier) -> None:
    model.temperature = 2
    assert model.calibrator == TemperatureScaling(2.0)
    model.calibrator = VectorScaling([0.5] * 8, [0.0] * 8)
    assert model.temperature == 1.0
    assert copy.deepcopy(model).calibrator == model.calibrator


def test_the_architecture_is_json(model: CellClassifier) -> None:
    written = json.loads(json.dumps(model.architecture))
    assert written == model.architecture
    assert written["backbone"] == "cnn"
    assert written["head"] == {"name": "linear", "dropout": 0.2}
    assert LabelSchema.from_dict(written["labels"]) == PBC_LABELS
    assert Preprocess.from_dict(written["preprocess"]) == model.preprocess


def test_a_head_of_ones_own_works_but_cannot_be_written_down(images: torch.Tensor) -> None:
    model = CellClassifier(PlainCNN(), PBC_LABELS, Preprocess(32), nn.Linear(256, 8))
    assert model(images).shape == (4, 8)
    with pytest.raises(ConfigError, match="The head Linear cannot be written down"):
        _ = model.architecture


def test_a_composite_takes_no_other_statistics() -> None:
    with pytest.raises(ConfigError, match="normalises for each of its branches"):
        CellClassifier(create_backbone("cnn+cnn"), PBC_LABELS, Preprocess(32))


def test_dropout_is_in_the_head_and_checked() -> None:
    model = CellClassifier(create_backbone("xception"), PBC_LABELS, Preprocess(64), dropout=0.4)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.4]
    with pytest.raises(ConfigError, match=r"dropout=1\.0"):
        LinearHead(4, 2, dropout=1.0)
