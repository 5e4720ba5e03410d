"""Progressive image size."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cellnet.errors import ConfigError
from cellnet.models import create_model
from cellnet.training.sizes import check_start_size, image_size_at, shrink


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
    check_start_size(model, 24)
    with pytest.raises(ConfigError, match=r"start_size=48 is larger than the model's own 32 px; give a smaller one"):
        check_start_size(model, 48)
    with pytest.raises(ConfigError, match=r"'cnn' cannot take images of 8 px; give 15 px or more"):
        check_start_size(model, 8)
