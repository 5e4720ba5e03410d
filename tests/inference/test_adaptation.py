"""Batch normalisation that gets used to another laboratory's images."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import ConfigError, DataError
from cellnet.images import Preprocess, nucleus_share
from cellnet.inference import adapt
from cellnet.models import CellClassifier, create_model
from cellnet.models.normalisation import measure_statistics
from cellnet.training import TrainConfig, Trainer


def norms(model: CellClassifier) -> list[torch.Tensor]:
    return [value for key, value in model.state_dict().items() if key.endswith(("running_mean", "running_var"))]


@pytest.fixture(scope="module")
def darker() -> list[torch.Tensor]:
    """The cells of another laboratory: a dim lamp and a bluish camera."""
    cells = load_dataset("synthetic", per_class=12, image_size=32, seed=5)
    factors = torch.tensor([0.35, 0.4, 0.6])[:, None, None]
    return [(cells.image(i) * factors).to(torch.uint8) for i in range(len(cells))]


@pytest.mark.slow
def test_a_shift_of_light_is_taken_out(darker: list[torch.Tensor]) -> None:
    cells = load_dataset("synthetic", per_class=24, image_size=32, seed=1)
    train, val = cells.folds(4)[0]
    torch.manual_seed(0)
    model = create_model("cnn", cells.labels, image_size=32)
    Trainer(model, TrainConfig(epochs=8, batch_size=16, lr=3e-3, norm_batches=8), device="cpu").fit(train, val)
    targets = load_dataset("synthetic", per_class=12, image_size=32, seed=5).targets

    def accuracy(model: CellClassifier) -> float:
        return float((model.predict(darker).probabilities.argmax(1) == targets).mean())

    before = accuracy(model)
    assert accuracy(model.adapt(darker)) > before + 0.2
    assert accuracy(model) == before  # it stays as it was


def test_statistics_between_old_and_new(tiny_model: CellClassifier, darker: list[torch.Tensor]) -> None:
    old = copy.deepcopy(norms(tiny_model))
    new = adapt(tiny_model, darker, prior=0)
    again = copy.deepcopy(tiny_model)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(0)).tolist()
    measure_statistics(again, [torch.stack([darker[i] for i in order])])
    half = adapt(tiny_model, darker, prior=96, batch_size=96)
    for a, b, c, d in zip(old, norms(again), norms(half), norms(new), strict=True):
        torch.testing.assert_close(c, (a + b) / 2)
        assert not torch.equal(d, a)
    assert all(torch.equal(a, b) for a, b in zip(old, norms(tiny_model), strict=True))
    assert new.weights_card is None
    assert new.golden is None


def test_a_frozen_backbone_adapts_and_unreadable_images_are_left_out(
    tiny_model: CellClassifier, darker: list[torch.Tensor], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    frozen = copy.deepcopy(tiny_model)
    frozen.freeze_backbone()
    expected = adapt(tiny_model, darker)
    for model in (adapt(frozen, darker), adapt(tiny_model, [*darker, tmp_path / "bad.png"])):
        assert len(norms(model)) == len(norms(expected))
    assert all(map(torch.equal, norms(adapt(frozen, darker)), norms(expected)))


def test_images_cut_closer_get_a_margin(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    home = [synthetic.image(i) for i in range(len(synthetic))]
    tiny_model.nucleus_share = nucleus_share(home)
    assert adapt(tiny_model, home).preprocess.crop == 1
    closer = [Preprocess(32, crop=0.6)(image) for image in home]
    adapted = adapt(tiny_model, closer)
    assert adapted.preprocess.crop == pytest.approx(1 / 0.6, rel=0.2)
    share = nucleus_share(adapted.preprocess(image) for image in closer)
    assert share == pytest.approx(tiny_model.nucleus_share, rel=0.2)
    wider = [Preprocess(32, crop=1.6)(image) for image in home]
    assert adapt(tiny_model, wider).preprocess.crop == pytest.approx(1 / 1.6, rel=0.2)
    assert adapt(tiny_model, closer, crop=1.0).preprocess == tiny_model.preprocess
    assert adapt(tiny_model, closer, crop=1.5).preprocess.crop == 1.5


def test_without_nuclei_the_images_stay_as_they_are(tiny_model: CellClassifier, darker: list[torch.Tensor]) -> None:
    assert adapt(tiny_model, darker).preprocess == tiny_model.preprocess  # it does not know its own scale
    tiny_model.nucleus_share = 0.1
    grey = [torch.full((3, 32, 32), 200, dtype=torch.uint8)] * 32
    assert adapt(tiny_model, grey).preprocess == tiny_model.preprocess


def test_of_very_many_images_some_are_looked_at(
    tiny_model: CellClassifier, darker: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellnet.inference.adaptation.MOST_IMAGES", 50)
    assert all(map(torch.equal, norms(adapt(tiny_model, darker)), norms(adapt(tiny_model, darker[::2]))))


def test_what_cannot_adapt(tiny_model: CellClassifier, darker: list[torch.Tensor], synthetic: CellDataset) -> None:
    with pytest.raises(DataError, match="31 readable images are too few"):
        adapt(tiny_model, darker[:31])
    with pytest.raises(ConfigError, match="no batch normalisation that could adapt"):
        adapt(create_model("timm:vit_tiny_patch16_224", image_size=32), synthetic)
    with pytest.raises(ConfigError, match="prior=-1 must be at least 0"):
        adapt(tiny_model, synthetic, prior=-1)
