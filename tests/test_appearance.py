"""What pictures look like, against plain loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellnet.errors import ImageError
from cellnet.images import APPEARANCE, appearance, background_colour, nucleus_masks


def laplacian(grey: np.ndarray) -> float:
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.log(np.mean((around - 4 * inner) ** 2) + 1e-6))


def measured(image: torch.Tensor) -> list[float]:
    few = image[:, ::2, ::2]
    density, mask = -np.log((few.double().numpy() + 1) / 256), nucleus_masks(few[None])[0].numpy()
    channels = density.reshape(3, -1)
    grey = -np.log((image.double().numpy().mean(0) + 1) / 256)
    half = grey.reshape(grey.shape[0] // 2, 2, grey.shape[1] // 2, 2).mean((1, 3))
    covariance = np.cov(channels, bias=True)
    return [
        *channels.mean(1),
        *channels.std(1),
        *-np.log((background_colour(image).double().numpy() + 1) / 256),
        *density[:, mask].mean(1),
        *(covariance[a, b] / (channels[a].std() * channels[b].std() + 1e-4) for a, b in ((0, 1), (1, 2))),
        np.sqrt(mask.mean()),
        laplacian(grey),
        laplacian(half),
    ]


def test_each_measure_is_what_its_name_says() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 24, 32), dtype=torch.uint8, generator=generator)
    images[1, :, 6:18, 8:20] //= 4
    images[2] = images[2, :1]  # grey
    found = appearance(images)
    assert found.shape == (4, len(APPEARANCE))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), [measured(image) for image in images], rtol=1e-4, atol=1e-4)
    assert found[2, APPEARANCE.index("R with G")] == pytest.approx(1, abs=1e-3)


def test_plain_colours_have_finite_measures() -> None:
    plain = torch.tensor([0, 90, 255], dtype=torch.uint8)[:, None, None, None].expand(3, 3, 16, 16)
    assert bool(appearance(plain).isfinite().all())


def test_the_layout_in_memory_does_not_matter() -> None:
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    torch.testing.assert_close(appearance(images.to(memory_format=torch.channels_last)), appearance(images))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 16, 16), "measured as uint8 images"),
        (torch.zeros(3, 16, 16, dtype=torch.uint8), "measured as uint8 images"),
        (torch.zeros(1, 3, 7, 16, dtype=torch.uint8), "of 8 pixels or more, not"),
    ],
)
def test_what_it_cannot_measure(images: torch.Tensor, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        appearance(images)
