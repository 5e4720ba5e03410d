"""Masks of nuclei by their stain, against scikit-image's threshold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.filters import threshold_otsu

from cellnet.datasets import samples
from cellnet.errors import ImageError
from cellnet.images import Preprocess, nucleus_masks


def test_the_threshold_is_scikit_images() -> None:
    cells = samples()
    images = torch.stack([Preprocess(64)(cells.image(i)) for i in range(len(cells))])
    masks = nucleus_masks(images)
    for image, mask in zip(images, masks, strict=True):
        assert np.array_equal(mask.numpy(), image[0].numpy() <= threshold_otsu(image[0].numpy()))
    shares = masks.float().mean(dim=(1, 2))
    assert shares.min() > 0.005
    assert shares.max() < 0.6


def test_an_image_of_one_colour_has_no_nucleus() -> None:
    assert not nucleus_masks(torch.full((2, 3, 8, 8), 200, dtype=torch.uint8)).any()


@pytest.mark.parametrize("images", [torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(1, 3, 8, 8)])
def test_what_is_no_batch_of_images(images: torch.Tensor) -> None:
    with pytest.raises(ImageError, match="Nuclei are sought in uint8 images"):
        nucleus_masks(images)
