"""What a mixture of two images is, and that bytes are mixed fast to the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cellnet.balancing.mixing import ImageMixtures, hash_mixture, mix, mix_bytes
from cellnet.datasets.sources import ImageArray, ImageFiles
from cellnet.errors import DataError


def test_mixtures_are_rounded_means() -> None:
    generator = np.random.default_rng(0)
    noise = ImageArray(torch.from_numpy(generator.integers(0, 256, (5, 40, 18, 3), np.uint8)).permute(0, 3, 1, 2))
    share = np.array([0.25, 1.0, 0.0])
    mixtures = ImageMixtures(noise, np.array([0, 1, 2]), np.array([3, 4, 4]), share)
    assert len(mixtures) == 3
    expected = (0.75 * noise.image(0).double() + 0.25 * noise.image(3)).round().byte()
    assert torch.equal(mixtures.image(0), expected)
    images = mixtures.batch(np.array([2, 0, 1]))
    assert torch.equal(images[0], noise.image(2))
    assert torch.equal(images[1], expected)
    assert torch.equal(images[2], noise.image(4))
    assert mixtures.hash(0) == hash_mixture(noise.hash(0), noise.hash(3), 0.25)
    assert len({mixtures.hash(0), mixtures.hash(1), hash_mixture(noise.hash(3), noise.hash(0), 0.25)}) == 3
    assert mixtures.name(0) == "image 0 and image 3"


def test_images_of_two_sizes_cannot_be_mixed(tmp_path: Path) -> None:
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    for file, height in zip(files, (12, 8), strict=True):
        Image.new("RGB", (10, height)).save(file)
    mixtures = ImageMixtures(ImageFiles(files), np.array([0]), np.array([1]), np.array([0.5]))
    with pytest.raises(DataError, match=r"0\.png and .*1\.png are \(3, 12, 10\) and \(3, 8, 10\).*preload"):
        mixtures.image(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int64, np.float32, np.float64])
def test_mixing_never_wraps_around_or_changes_the_type(dtype: type) -> None:
    base, other = np.array([10, 200], dtype), np.array([200, 11], dtype)
    exact = base.astype(float) + 0.3 * (other.astype(float) - base)
    mixed = mix(base, other, np.array([0.3]))
    assert mixed.dtype == dtype
    assert np.allclose(mixed, np.rint(exact) if mixed.dtype.kind == "u" else exact.astype(dtype))


@given(st.one_of(st.floats(0, 1), st.integers(0, 512).map(lambda part: part / 512)))
def test_bytes_are_mixed_fast_to_the_same_bytes(share: float) -> None:
    base, other = (values.astype(np.uint8) for values in np.divmod(np.arange(256 * 256), 256))
    expected = mix(base, other, np.array(share))
    mix_bytes(base, other, share)
    assert np.array_equal(base, expected)
