from __future__ import annotations

import imblearn.over_sampling
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cellnet.balancing import SMOTE, EmbeddingSMOTE, parents
from cellnet.errors import DataError


def mean_colour(images: Tensor) -> Tensor:
    """N×3: three numbers an image, as a network would give many."""
    return images.double().mean(dim=(2, 3))


def pixels(images: Tensor) -> Tensor:
    return images.flatten(1)


def test_with_the_pixels_as_features_it_is_smote(cells, images, targets):
    options = {"k_neighbors": 3, "random_state": 0}
    expected, _ = SMOTE(**options).fit_resample(images, targets)
    rows, _ = EmbeddingSMOTE(pixels, **options).fit_resample(images, targets)
    assert np.array_equal(rows, expected)
    lazily = EmbeddingSMOTE(pixels, **options).resample(cells)
    assert np.array_equal(lazily.batch(range(36))[0], expected)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_neighbours_are_those_in_the_features(cells, batch_size):
    sampler = EmbeddingSMOTE(mean_colour, k_neighbors=3, random_state=0, batch_size=batch_size)
    balanced = sampler.resample(cells)
    features = mean_colour(cells.batch(range(23))[0]).numpy()
    peer, _ = imblearn.over_sampling.SMOTE(k_neighbors=3, random_state=0).fit_resample(features, cells.targets)
    for row, known in list(zip(peer, parents(balanced), strict=True))[23:]:
        base, other = (features[cells.files.index(name)] for name in (known.base, known.other))
        assert np.allclose(base + known.share * (other - base), row)


def test_images_are_mixed_as_pixels(cells):
    balanced = EmbeddingSMOTE(mean_colour, k_neighbors=3, random_state=0).resample(cells)
    known = parents(balanced)[30]
    base, other = (cells.image(cells.files.index(name)).double() for name in (known.base, known.other))
    assert torch.equal(balanced.image(30), (base + known.share * (other - base)).round().byte())


def test_a_classifier_gives_features_without_a_gradient(cells, tiny_model):
    seen = []

    def embed(images: Tensor) -> Tensor:
        seen.append(images)
        return tiny_model.features(images.repeat(1, 1, 2, 2))

    balanced = EmbeddingSMOTE(embed, k_neighbors=3, random_state=0).resample(cells)
    assert len(balanced) == 36
    assert sum(map(len, seen)) == 7 + 4  # the largest class is not looked at
    assert {images.dtype for images in seen} == {torch.uint8}


def test_a_network_in_training_mode_is_refused(cells):
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * 16 * 16))
    message = r"Sequential\) is in training mode.*\.eval\(\)"
    for embed in (network, network.forward):
        with pytest.raises(DataError, match=message):
            EmbeddingSMOTE(embed).resample(cells)
    assert network[1].num_batches_tracked == 0


@pytest.mark.filterwarnings("ignore:The class:UserWarning")
@pytest.mark.parametrize(
    ("embed", "message"),
    [
        (lambda images: images, r"embed made \(7, 3, 16, 16\) of 7 images.*N×D"),
        (lambda images: images.flatten(1)[:2], r"embed made \(2, 768\) of 7"),
        (lambda images: np.full((len(images), 2), np.nan), r"NaN or infinite"),
    ],
)
def test_features_that_cannot_be_used(cells, embed, message):
    with pytest.raises(DataError, match=message):
        EmbeddingSMOTE(embed).resample(cells)
