from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from cellnet.datasets.sources import ImageArray, ImageFiles, ImageRegions
from cellnet.errors import DataError, ImageError


@pytest.fixture
def photographs(tmp_path):
    """Two PNG files, 12×10 and 8×10 pixels, with their arrays H×W×3."""
    generator = np.random.default_rng(0)
    arrays = [generator.integers(0, 256, (height, 10, 3), np.uint8) for height in (12, 8)]
    files = [tmp_path / f"{i}.png" for i in range(2)]
    for file, array in zip(files, arrays, strict=True):
        Image.fromarray(array).save(file)
    return files, arrays


def test_files(photographs):
    files, arrays = photographs
    source = ImageFiles(files)
    assert len(source) == 2
    assert np.array_equal(source.image(1).permute(1, 2, 0), arrays[1])
    assert source.hash(0) == hashlib.sha256(files[0].read_bytes()).hexdigest()
    assert source.hashes(np.array([1, 0])) == [source.hash(1), source.hash(0)]
    assert torch.equal(source.batch(np.array([1, 1]))[1], source.image(1))


def test_a_batch_of_unequal_sizes_names_both(photographs):
    files, _ = photographs
    with pytest.raises(DataError, match=r"0\.png is torch.uint8 \(3, 12, 10\) and .*1\.png .*\(3, 8, 10\).*preload"):
        ImageFiles(files).batch(np.array([0, 1]))


def test_an_empty_batch_has_the_right_rank(photographs):
    assert ImageFiles(photographs[0]).batch(np.array([], np.int64)).shape == (0, 3, 0, 0)


def test_regions_are_cut_out_and_cut_off_at_the_border(photographs):
    files, arrays = photographs
    source = ImageRegions([files[0], files[0]], [(2, 3, 6, 9), (-4, 8, 30, 40)])
    assert np.array_equal(source.image(0).permute(1, 2, 0), arrays[0][3:9, 2:6])
    assert np.array_equal(source.image(1).permute(1, 2, 0), arrays[0][8:])
    assert source.hash(0) != source.hash(1)
    assert source.hash(0) == ImageRegions([files[0]], [(2, 3, 6, 9)]).hash(0)


@pytest.mark.parametrize("box", [(20, 0, 30, 5), (-9, 0, 0, 5), (4, 4, 4, 6)])
def test_a_region_without_pixels_is_an_error(photographs, box):
    with pytest.raises(DataError, match=r"lies outside 0\.png"):
        ImageRegions(photographs[0][:1], [box]).image(0)


def test_a_missing_file_is_named(tmp_path):
    source = ImageFiles([tmp_path / "gone.png"])
    with pytest.raises(ImageError, match=r"gone\.png"):
        source.image(0)
    with pytest.raises(ImageError, match=r"gone\.png"):
        source.hashes(np.array([0]))


def test_arrays_in_any_layout_give_copies_and_hash_their_pixels():
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 4, 5, 3).permute(0, 3, 1, 2)
    source = ImageArray(images)
    image = source.image(1)
    image.zero_()
    assert images[1].sum() > 0
    assert torch.equal(source.batch(np.array([1, 0])), images[[1, 0]])
    assert source.hash(0) == hashlib.sha256(images[0].numpy().tobytes()).hexdigest()
    assert source.name(1) == "image 1"
