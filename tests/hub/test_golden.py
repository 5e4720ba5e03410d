from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cellnet.datasets import CellDataset
from cellnet.errors import WeightsError
from cellnet.hub import golden, load, save, self_test
from cellnet.models import CellClassifier


@pytest.fixture
def loaded(tiny_model: CellClassifier, tmp_path: Path) -> CellClassifier:
    return load(save(tiny_model, tmp_path / "tiny", storage="int8"))


def test_the_golden_logits_are_those_of_the_stored_weights(tiny_model: CellClassifier, tmp_path: Path) -> None:
    folder = save(tiny_model, tmp_path / "tiny", storage="int8")
    stored = load_file(folder / "golden.safetensors")
    assert stored["images"].dtype == torch.uint8
    loaded = load(folder)
    with torch.no_grad():
        assert torch.equal(loaded(loaded.preprocess(stored["images"])), stored["logits"])
        assert not torch.equal(tiny_model(tiny_model.preprocess(stored["images"])), stored["logits"])


def test_ok(loaded: CellClassifier) -> None:
    result = self_test(loaded)
    assert result
    assert result.ok
    assert result.max_difference <= result.tolerance
    assert "within the tolerance" in str(result)


def test_the_mode_of_the_model_plays_no_part_and_stays(loaded: CellClassifier) -> None:
    loaded.train()
    assert self_test(loaded)
    assert loaded.training


def test_changed_weights_are_noticed(loaded: CellClassifier) -> None:
    with torch.no_grad():
        next(loaded.head.parameters()).mul_(1.5)
    result = self_test(loaded)
    assert not result
    assert "changed after loading" in result.message


def test_another_way_of_resizing_is_noticed(tiny_model: CellClassifier, tmp_path: Path) -> None:
    noise = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    loaded = load(save(tiny_model, tmp_path / "tiny", golden_images=noise))
    loaded.preprocess = type(loaded.preprocess)(**(loaded.preprocess.to_dict() | {"interpolation": "nearest"}))
    assert not self_test(loaded)


def test_the_suspects_are_named(loaded: CellClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "library_versions", lambda: {"torch": "99.0"})
    loaded.to(torch.bfloat16)
    with torch.no_grad():
        next(loaded.head.parameters()).add_(1)
    message = self_test(loaded).message
    assert "torch.bfloat16" in message
    assert "torch is 99.0 here and was " in message


def test_nan_is_a_difference(loaded: CellClassifier) -> None:
    with torch.no_grad():
        next(loaded.head.parameters()).fill_(float("nan"))
    assert not self_test(loaded)


def test_images_of_ones_own(tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path) -> None:
    images = torch.stack([synthetic.image(i) for i in range(3)])
    folder = save(tiny_model, tmp_path / "tiny", golden_images=images)
    assert torch.equal(load_file(folder / "golden.safetensors")["images"], images)
    assert self_test(load(folder))


def test_default_images_never_change() -> None:
    images = golden.default_images()
    assert torch.equal(images, golden.default_images())
    assert images.float().std() > 20


def test_a_model_without_golden_logits(tiny_model: CellClassifier) -> None:
    with pytest.raises(WeightsError, match="no golden logits"):
        self_test(tiny_model)
