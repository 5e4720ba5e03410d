"""Progressive image size."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cellnet.datasets import load_dataset
from cellnet.errors import ConfigError
from cellnet.models import create_model
from cellnet.training import TrainConfig, Trainer, data
from cellnet.training.sizes import check_sizes, image_size_at, shrink


@given(st.integers(1, 60), st.integers(8, 400), st.integers(16, 400))
def test_sizes_grow_from_the_first_to_the_last_and_end_full(epochs: int, start: int, full: int) -> None:
    sizes = [image_size_at(epoch, epochs, start, full) for epoch in range(epochs)]
    assert all(a <= b for a, b in pairwise(sizes))
    assert sizes[0] == min(start, full)
    assert all(size == full for size in sizes[-(epochs // 3) :]) or epochs < 3
    assert all((size - start) % 16 == 0 or size == full for size in sizes)


def test_shrinking_keeps_type_and_mean() -> None:
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    small = shrink(images, 16)
    assert small.dtype == torch.uint8
    assert small.shape == (2, 3, 16, 16)
    assert float(small.float().mean()) == pytest.approx(float(images.float().mean()), abs=1)
    assert shrink(images, 64) is images
    assert float(shrink(images / 255, 16).mean()) == pytest.approx(float(images.float().mean()) / 255, abs=0.005)


def test_first_sizes_that_make_no_sense_are_refused() -> None:
    model = create_model("cnn", image_size=32)
    check_sizes(model, None, 24)
    with pytest.raises(ConfigError, match=r"start_size=48 is larger than the model's own 32 px; give a smaller one"):
        check_sizes(model, None, 48)
    with pytest.raises(ConfigError, match=r"'cnn' cannot take images of 8 px; give 16 px or more"):
        check_sizes(model, None, 8)
    check_sizes(model, 64, None)
    with pytest.raises(ConfigError, match=r"load_size=24 is smaller than the model's own 32 px; leave it out"):
        check_sizes(model, 24, None)


@pytest.mark.parametrize("preload", [True, False])
@pytest.mark.parametrize("balance", [None, "RandomOverSampler"])
def test_images_are_augmented_large_and_learned_at_the_models_size(preload: bool, balance: str | None) -> None:
    seen: set[tuple[int, ...]] = set()
    augmented: set[tuple[int, ...]] = set()

    def look(image: torch.Tensor) -> torch.Tensor:
        augmented.add(tuple(image.shape))
        return image

    def objective(net: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.add(tuple(images.shape[1:]))
        return nn.functional.cross_entropy(net(images).float(), targets)

    train, val = load_dataset("synthetic", per_class=4, image_size=64).folds(2)[0]
    model = create_model("cnn", image_size=32)
    config = TrainConfig(epochs=1, batch_size=8, load_size=48, norm_batches=1, preload=preload, balance=balance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "create_augmentation", lambda name: look)
        Trainer(model, config, objective=objective, device="cpu").fit(train, val)
    assert augmented == {(3, 48, 48)}
    assert seen == {(3, 32, 32)}
