"""Perturbed images: each strength worse than the one before, the same for all models, and judged as they should be."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cellnet.datasets import CellDataset, samples
from cellnet.errors import DataError
from cellnet.evaluation import plot_stress, stress
from cellnet.evaluation.clusters import wilson_of_groups
from cellnet.evaluation.stress import PERTURBATIONS, STRENGTHS
from cellnet.models import CellClassifier


def changed(name: str, image: Tensor, strength: int, seed: int = 0) -> Tensor:
    return PERTURBATIONS[name](image, strength, np.random.default_rng(seed))


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_more_strength_is_a_greater_change(name: str) -> None:
    cells = samples()
    distances = []
    for strength in STRENGTHS:
        gaps = []
        for index in (0, 12, 33):
            image = cells.image(index)
            before = image.clone()
            result = changed(name, image, strength, seed=1)
            assert result.dtype == torch.uint8
            assert result.shape == image.shape
            assert torch.equal(image, before)
            gaps.append(float((result.float() - image.float()).abs().mean()))
        distances.append(np.mean(gaps))
    if name != "rotation":  # any angle is as far as any other
        assert distances == sorted(distances)
    assert distances[0] > 0


def test_the_draws_are_those_of_the_image_and_strength(synthetic: CellDataset) -> None:
    image = synthetic.image(0)
    assert torch.equal(changed("noise", image, 3), changed("noise", image, 3))
    assert not torch.equal(changed("noise", image, 3), changed("noise", image, 3, seed=1))


def test_a_report(tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path) -> None:
    report = stress(tiny_model, synthetic, images=16, name="tiny")
    chosen = np.linspace(0, len(synthetic) - 1, 16).round().astype(int)
    clean = tiny_model.predict([synthetic.image(int(i)) for i in chosen]).probabilities.argmax(1)
    assert report.clean.value == (clean == synthetic.targets[chosen]).mean()
    draws = {int(i): np.random.default_rng([0, 5, int(i)]) for i in chosen}
    noisy = [PERTURBATIONS["noise"](synthetic.image(i), 5, draw) for i, draw in draws.items()]
    right = tiny_model.predict(noisy).probabilities.argmax(1) == synthetic.targets[chosen]
    assert report.accuracy["noise"][4].value == right.mean()
    assert report.confident_errors["noise"][4].value == 1 - right.mean()  # it never abstains
    every = [estimate.value for row in report.accuracy.values() for estimate in row]
    assert report.mean.value == pytest.approx(np.mean(every))
    assert report.mean.low <= report.mean.value <= report.mean.high
    again = stress(tiny_model, synthetic, images=16, name="tiny")
    assert again.to_dict() == report.to_dict()

    with report.to_csv(tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1 + 40
    assert (rows[0]["perturbation"], rows[0]["strength"]) == ("none", "0")
    assert {row["perturbation"] for row in rows[1:]} == set(PERTURBATIONS)
    json.dumps(report.to_dict(), allow_nan=False)
    assert "occlusion" in str(report)
    figure = plot_stress(report, again)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(PERTURBATIONS)


def test_damaged_images_are_left_out(tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.png" for i in range(4)]
    for i, file in enumerate(files):
        Image.fromarray(synthetic.image(i).permute(1, 2, 0).numpy()).save(file)
    targets = synthetic.targets[:4]
    whole = stress(tiny_model, CellDataset(files[:1] + files[2:], targets[[0, 2, 3]], synthetic.labels))
    files[1].write_bytes(files[1].read_bytes()[:60])
    report = stress(tiny_model, CellDataset(files, targets, synthetic.labels))
    assert report.images == 3
    assert report.clean == whole.clean
    with pytest.raises(DataError, match="None of the 1 images could be read"):
        stress(tiny_model, CellDataset(files[1:2], targets[1:2], synthetic.labels))


def test_images_of_one_group_are_taken_together(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    few = synthetic.subset(range(0, 48, 3))
    right = tiny_model.predict(few).probabilities.argmax(1) == few.targets
    alone, groups = stress(tiny_model, few), np.where(right, "a", "b")  # one donor is all right, one all wrong
    together = stress(tiny_model, few.with_groups(groups))
    assert 0 < right.sum() < 16
    assert together.clean == wilson_of_groups([right.sum(), 0], [right.sum(), 16 - right.sum()])
    assert together.mean.value == pytest.approx(alone.mean.value)
    assert together.mean.high - together.mean.low > alone.mean.high - alone.mean.low


def test_what_cannot_be_stressed(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    train, test = synthetic.split((0.5, 0.5), seed=0)
    with pytest.raises(DataError, match="training images"):
        stress(tiny_model, train)
    with pytest.raises(DataError, match="images=0"):
        stress(tiny_model, test, images=0)
