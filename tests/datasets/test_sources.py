from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from cellnet.datasets.sources import (
    ChosenImages,
    ImageArray,
    ImageFiles,
    ImageRegions,
    JoinedImages,
    PreparedImages,
)
from cellnet.errors import DataError, ImageError
from cellnet.images import Preprocess


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


@pytest.fixture
def noise():
    """Five images, 3×40×18, that lie channels-last."""
    generator = np.random.default_rng(0)
    return ImageArray(torch.from_numpy(generator.integers(0, 256, (5, 40, 18, 3), np.uint8)).permute(0, 3, 1, 2))


def test_chosen_images_are_those_of_the_source(noise):
    chosen = ChosenImages(noise, np.array([4, 1, 1]))
    assert len(chosen) == 3
    assert torch.equal(chosen.image(0), noise.image(4))
    assert torch.equal(chosen.batch(np.array([2, 0])), noise.batch(np.array([1, 4])))
    assert (chosen.hash(1), chosen.name(0)) == (noise.hash(1), "image 4")


def test_prepared_images_keep_name_and_hash(photographs):
    source, preprocess = ImageFiles(photographs[0]), Preprocess(image_size=16)
    prepared = PreparedImages(source, preprocess)
    assert len(prepared) == 2
    assert torch.equal(prepared.image(1), preprocess(source.image(1)))
    assert prepared.batch(np.array([0, 1])).shape == (2, 3, 16, 16)
    assert (prepared.name(1), prepared.hash(1)) == (source.name(1), source.hash(1))


def test_joined_images_in_any_order(noise):
    second = ImageArray(noise.images.flip(3).contiguous())
    both = JoinedImages(noise, second)
    assert len(both) == 10
    rows = np.array([7, 0, 9, 9, 3])
    for some in (rows, rows[:1], rows[1:2], rows[:0]):
        images = both.batch(some)
        assert len(images) == len(some)
        assert all(torch.equal(image, both.image(row)) for image, row in zip(images, some, strict=True))
    assert torch.equal(both.image(7), noise.image(2).flip(2))
    assert both.batch(rows).is_contiguous(memory_format=torch.channels_last)
    assert (both.name(7), both.hash(7), both.hash(1)) == ("image 2", second.hash(2), noise.hash(1))


def test_joined_images_of_two_sizes_are_named(noise, photographs):
    with pytest.raises(DataError, match=r"0\.png .*image 1 .*preload"):
        JoinedImages(ImageFiles(photographs[0]), noise).batch(np.array([0, 3]))
