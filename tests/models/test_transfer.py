"""A trained model as the start of another training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cellnet
from cellnet.cards import WeightsCard
from cellnet.errors import ConfigError, LabelError
from cellnet.inference import PredictionSets
from cellnet.labels import PBC_LABELS, LabelSchema
from cellnet.models import CellClassifier, HybridInceptionXception, create_model

IMAGES = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
FEW = LabelSchema.from_names(["Neutrophils", "blast", "basophil"])


def hybrid() -> CellClassifier:
    branches = [create_model("cnn", head="study", image_size=32) for _ in range(2)]
    return HybridInceptionXception.from_branches(*branches)


@pytest.mark.parametrize("make", [lambda: create_model("cnn", image_size=32), hybrid])
def test_classes_that_both_know_keep_their_logits(make, tmp_path: Path) -> None:
    model = make().eval()
    before = model(IMAGES)
    copied = model.transfer(FEW).eval()
    assert copied.labels == FEW
    after = copied(IMAGES)
    known = [PBC_LABELS.index("neutrophil"), PBC_LABELS.index("basophil")]
    torch.testing.assert_close(after[:, [0, 2]], before[:, known])
    assert torch.equal(model(IMAGES), before)
    loaded = cellnet.load_pretrained(copied.save(tmp_path / "few", storage="float32"))
    torch.testing.assert_close(loaded(IMAGES), after)


def test_the_same_classes_keep_everything() -> None:
    model = create_model("cnn", image_size=32).eval()
    for labels in (None, PBC_LABELS):
        torch.testing.assert_close(model.transfer(labels).eval()(IMAGES), model(IMAGES))
    order = LabelSchema.from_names(reversed(PBC_LABELS.names))
    torch.testing.assert_close(model.transfer(order).eval()(IMAGES), model(IMAGES).flip(1))


def test_new_rows_follow_the_seed() -> None:
    model = create_model("cnn", image_size=32)
    rows = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        rows.append(model.transfer(FEW).head.classify[1].weight[1])
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])


def test_what_held_for_the_old_images_is_gone() -> None:
    model = hybrid()
    model.freeze_backbone()
    card = WeightsCard("old")
    model.weights_card, model.temperature, model.nucleus_share = card, 1.7, 0.2
    model.thresholds, model.sets = {"probability": 0.9}, PredictionSets(0.95, False, (0.5,) * 8)
    copied = model.transfer(image_size=48, crop=0.8)
    assert (copied.preprocess.image_size, copied.preprocess.crop) == (48, 0.8)
    assert (copied.temperature, copied.thresholds, copied.sets, copied.nucleus_share) == (1, {}, None, None)
    assert (copied.weights_card, copied.origins) == (None, (card,))
    assert copied.training
    assert not copied.backbone_frozen
    assert all(weight.requires_grad for weight in copied.parameters())
    assert model.backbone_frozen


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_size": 3}, ConfigError, "cannot take images of 3 px"),
        ({"image_size": 0}, ConfigError, "cannot take images of 0 px"),
        ({"crop": 0}, ConfigError, "crop=0 must be above 0"),
        ({"labels": ["blast", "other"]}, LabelError, r"give LabelSchema.from_names\(\['blast', 'other'\]\)"),
    ],
)
def test_what_does_not_fit(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        create_model("cnn", image_size=32).transfer(**options)


def test_a_head_without_a_last_linear_layer() -> None:
    model = create_model("cnn", image_size=32)
    model.head = nn.Identity()
    with pytest.raises(LabelError, match="Identity does not end in one linear layer"):
        model.transfer(FEW)
