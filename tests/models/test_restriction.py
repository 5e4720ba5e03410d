"""A model that knows only some of its classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import cellnet
from cellnet.datasets import load_dataset
from cellnet.errors import CellnetError, ConfigError, LabelError
from cellnet.inference import PredictionSets
from cellnet.labels import PBC_LABELS
from cellnet.models import CellClassifier, HybridInceptionXception, create_model
from cellnet.models.calibrators import Calibrator, IsotonicCalibration, TemperatureScaling, VectorScaling

IMAGES = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def hybrid() -> CellClassifier:
    branches = [create_model("cnn", head="study", image_size=32) for _ in range(2)]
    return HybridInceptionXception.from_branches(*branches)


@pytest.mark.parametrize("make", [lambda: create_model("cnn", image_size=32), hybrid])
def test_logits_of_the_kept_classes_stay(make, tmp_path: Path) -> None:
    model = make().eval()
    before = model(IMAGES)
    few = model.restrict(["Neutrophil", "lymphocyte", "basophil"])
    assert few.labels.names == ("basophil", "lymphocyte", "neutrophil")
    kept = [PBC_LABELS.index(name) for name in few.labels.names]
    torch.testing.assert_close(few(IMAGES), before[:, kept])
    assert torch.equal(model(IMAGES), before)
    loaded = cellnet.load_pretrained(few.save(tmp_path / "few", storage="float32"))
    assert loaded.labels.names == few.labels.names
    torch.testing.assert_close(loaded(IMAGES), few(IMAGES))


def test_what_was_chosen_for_more_classes_is_gone() -> None:
    model = create_model("cnn", image_size=32)
    model.temperature = 1.7
    model.thresholds = {"probability": 0.9, "distance": 40.0}
    model.sets = PredictionSets(0.95, False, (0.5,) * 8)
    few = model.restrict(PBC_LABELS.names[:2])
    assert (few.temperature, few.thresholds, few.sets) == (1.7, {"distance": 40.0}, None)


@pytest.mark.parametrize(
    "calibrator",
    [
        TemperatureScaling(1.7),
        VectorScaling([0.5, 1, 2, 3, 4, 5, 6, 7], [-4, -3, -2, -1, 0, 1, 2, 3]),
    ],
)
def test_probabilities_of_the_kept_classes_grow_by_what_the_others_had(calibrator: Calibrator) -> None:
    model = create_model("cnn", image_size=32).eval()
    model.calibrator = calibrator
    kept = [1, 4, 6]
    few = model.restrict([PBC_LABELS.names[i] for i in kept])
    assert type(few.calibrator) is type(calibrator)
    images = list(IMAGES)
    before = model.predict(images).probabilities[:, kept]
    after = few.predict(images).probabilities
    np.testing.assert_allclose(after, before / before.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6)


def test_an_isotonic_calibration_holds_for_all_classes_only() -> None:
    model = create_model("cnn", image_size=32)
    model.calibrator = IsotonicCalibration([[0, 1]] * 8, [[0, 0.5]] * 8)
    with pytest.raises(ConfigError, match=r"isotonic calibration of this model .* all its 8 classes"):
        model.restrict(PBC_LABELS.names[:2])
    assert model.restrict(PBC_LABELS.names).calibrator == model.calibrator
    model.temperature = 1.0
    assert len(model.restrict(PBC_LABELS.names[:2]).labels) == 2


def test_no_other_class_is_answered() -> None:
    cells = load_dataset("synthetic", per_class=2, image_size=32)
    few = create_model("cnn", cells.labels, image_size=32).restrict(cells.labels.names[:2])
    assert {*few.predict([cells.image(i) for i in range(16)]).labels} <= {*cells.labels.names[:2]}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["neutrophil"], "two classes to choose from, not 1"),
        ([], "two classes to choose from, not 0"),
        (["neutrophil", "blast"], "Did you mean 'erythroblast'"),
    ],
)
def test_bad_names(names: list[str], message: str) -> None:
    with pytest.raises(CellnetError, match=message):
        create_model("cnn", image_size=32).restrict(names)


def test_a_head_of_another_make() -> None:
    model = create_model("cnn", image_size=32)
    model.head = nn.Sequential(nn.Linear(model.backbone.num_features, 16), nn.Softmax(dim=1))
    with pytest.raises(LabelError, match="does not end in one linear layer"):
        model.restrict(["basophil", "ig"])
