"""Test-time augmentation, against views made one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cellnet.datasets import CellDataset
from cellnet.hub import load
from cellnet.images import Preprocess
from cellnet.inference import fit_familiarity
from cellnet.inference.views import SCALE, cuts
from cellnet.models import CellClassifier


@pytest.fixture
def asked_often(tiny_model: CellClassifier) -> CellClassifier:
    tiny_model.preprocess = replace(tiny_model.preprocess, crop=0.75)
    tiny_model.tta = True
    return tiny_model


def test_logits_are_the_mean_over_seven_views(asked_often: CellClassifier, synthetic: CellDataset) -> None:
    image, plain = synthetic.image(3), asked_often.preprocess
    first = plain(image)
    views = [
        first,
        *(torch.rot90(first, quarters, (1, 2)) for quarters in (1, 2, 3)),
        first.flip(2),
        *(replace(plain, crop=0.75 * by)(image) for by in (SCALE, 1 / SCALE)),
    ]
    with torch.inference_mode():
        wanted = torch.stack([asked_often(view[None])[0] for view in views]).mean(0)
    found = asked_often.predict([image, image.flip(1)])
    np.testing.assert_allclose(found.logits[0], wanted.numpy(), atol=1e-5)


def test_the_model_answers_alike_however_a_cell_is_turned(asked_often: CellClassifier, synthetic: CellDataset) -> None:
    asked_often.preprocess = replace(asked_often.preprocess, crop=1.0)
    images = [synthetic.image(row) for row in range(6)]
    turned = [torch.rot90(image, 1, (1, 2)).contiguous() for image in images]
    gaps = []
    for tta in (False, True):
        asked_often.tta = tta
        gaps.append(np.abs(asked_often.predict(images).logits - asked_often.predict(turned).logits).mean())
    assert gaps[1] < 0.7 * gaps[0]


def test_features_and_distance_are_those_of_the_image_as_it_is(
    asked_often: CellClassifier, synthetic: CellDataset, tmp_path: Path
) -> None:
    fit_familiarity(asked_often, synthetic)
    (tmp_path / "bad.png").write_bytes(b"no image")
    inputs = [synthetic.image(0), tmp_path / "bad.png", synthetic.image(1)]
    often = asked_often.predict(inputs, features=True)
    asked_often.tta = False
    once = asked_often.predict(inputs, features=True)
    np.testing.assert_array_equal(often.features, once.features)
    np.testing.assert_array_equal(often.ood, once.ood)
    assert often.readable.tolist() == [True, False, True]
    assert not np.allclose(often.logits[0], once.logits[0])


def test_copies_are_asked_in_the_same_way(asked_often: CellClassifier, synthetic: CellDataset, tmp_path: Path) -> None:
    assert asked_often.adapt(synthetic).tta
    assert asked_often.restrict(["monocyte", "lymphocyte"]).tta
    assert not load(asked_often.save(tmp_path / "model")).tta


def test_a_cut_stays_within_bounds() -> None:
    assert [cut.crop for cut in cuts(Preprocess(32, crop=4.0), True)] == [4.0, 4.0, pytest.approx(4 / SCALE)]
    assert cuts(Preprocess(32), False) == [Preprocess(32)]
