"""`cellnet.augment.batches`: the functions for one image are the references."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cellnet.augment import (
    Augmentation,
    RandomBlur,
    RandomColour,
    RandomDihedral,
    RandomJpeg,
    RandomRotationScale,
    RandomStain,
    Sometimes,
    adjust_colour,
    blur,
    create_augmentation,
    dihedral,
    rotate_scale,
)
from cellnet.augment.batches import blur_batch, dihedral_batch, linear_map, rotate_scale_batch
from cellnet.augment.colour import _linear
from cellnet.errors import ConfigError

COUNT = 24


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distance(a: Tensor, b: Tensor) -> int:
    return int((a.int() - b.int()).abs().max())


@pytest.fixture(params=[(32, 32), (30, 41)], ids=["square", "rectangle"])
def batch(request: pytest.FixtureRequest) -> Tensor:
    """Smooth pictures, 24×3×H×W."""
    small = torch.randint(60, 200, (COUNT, 3, 6, 6), generator=seeded(), dtype=torch.uint8).float()
    return torch.nn.functional.interpolate(small, request.param, mode="bicubic").round().clamp(0, 255).to(torch.uint8)


def test_symmetries(batch: Tensor) -> None:
    turns, mirror = torch.randint(4, (COUNT,), generator=seeded()), torch.rand(COUNT, generator=seeded()) < 0.5
    if batch.shape[2] != batch.shape[3]:
        turns = 2 * (turns % 2)
    changed = dihedral_batch(batch, turns, mirror)
    for row, image in enumerate(batch):
        assert torch.equal(changed[row], dihedral(image, quarter_turns=int(turns[row]), mirror=bool(mirror[row])))


def test_rotation_and_size(batch: Tensor) -> None:
    angle, scale = 360 * torch.rand(COUNT, generator=seeded()), 0.6 + torch.rand(COUNT, generator=seeded(1))
    shift, mirror = torch.rand(COUNT, 2, generator=seeded(2)) - 0.5, torch.rand(COUNT, generator=seeded(3)) < 0.5
    changed = rotate_scale_batch(batch, angle, scale, shift, mirror)
    for row, image in enumerate(batch):
        right, down = shift[row].tolist()
        expected = rotate_scale(
            image, angle=float(angle[row]), scale=float(scale[row]), shift=(right, down), mirror=bool(mirror[row])
        )
        assert distance(changed[row], expected) <= 2


def test_colour(batch: Tensor) -> None:
    factors = [0.7 + 0.6 * torch.rand(COUNT, generator=seeded(i)) for i in range(3)]
    hue, balance = (
        40 * torch.rand(COUNT, generator=seeded(4)) - 20,
        0.9 + 0.2 * torch.rand(COUNT, 3, generator=seeded()),
    )
    linear, of_mean = _linear(*factors, hue, balance)
    changed = linear_map(batch, torch.from_numpy(linear), torch.from_numpy(of_mean))
    for row, image in enumerate(batch):
        brightness, contrast, saturation = (float(factor[row]) for factor in factors)
        red, green, blue = balance[row].tolist()
        expected = adjust_colour(
            image,
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=float(hue[row]),
            balance=(red, green, blue),
        )
        assert distance(changed[row], expected) <= 1


@pytest.mark.parametrize("widest", [0.0, 1.5, 30.0])
def test_blur(batch: Tensor, widest: float) -> None:
    sigma = torch.linspace(0, widest, COUNT)
    changed = blur_batch(batch, sigma)
    for row, image in enumerate(batch):
        assert distance(changed[row], blur(image, float(sigma[row]))) <= 2


def test_blur_of_a_single_pixel() -> None:
    image = torch.full((1, 3, 1, 1), 7, dtype=torch.uint8)
    assert torch.equal(blur_batch(image, torch.tensor([2.0])), image)


@pytest.mark.parametrize("name", ["none", "light", "strong"])
def test_a_preset_keeps_shape_and_type_and_draws_from_its_generator_alone(name: str, batch: Tensor) -> None:
    augment, before = create_augmentation(name), torch.random.get_rng_state()
    images = batch.clone()
    first, again, other = (augment.of_batch(images, seeded(seed)) for seed in (5, 5, 6))
    assert first.shape == batch.shape
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert torch.equal(images, batch)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, other) == (name == "none")


def test_each_image_has_draws_of_its_own(batch: Tensor) -> None:
    for change in (RandomDihedral(), RandomRotationScale(), RandomColour(), RandomBlur()):
        changed = change.of_batch(batch[:1].repeat(COUNT, 1, 1, 1), seeded())
        assert len({tuple(image.flatten().tolist()) for image in changed}) > 3


def test_draws_keep_to_their_ranges() -> None:
    flat = torch.full((500, 3, 8, 8), 100, dtype=torch.uint8)
    lit = RandomColour(brightness=(0.5, 1.5), contrast=(1, 1), saturation=(1, 1), hue=0).of_batch(flat, seeded())
    levels = lit[:, 0, 0, 0].float()
    assert 50 <= float(levels.min()) < 54
    assert 146 < float(levels.max()) <= 150
    cell = torch.zeros(200, 3, 64, 64, dtype=torch.uint8)
    cell[:, :, 24:40, 24:40] = 255
    areas = RandomRotationScale((0.8, 1.25)).of_batch(cell, seeded()).double().sum((1, 2, 3)) / float(cell[0].sum())
    assert 0.8**2 * 0.95 < float(areas.min()) < 0.72
    assert 1.42 < float(areas.max()) < 1.25**2 * 1.05


def test_some_of_the_images(batch: Tensor) -> None:
    many = batch[:1].repeat(2000, 1, 1, 1)
    change = Sometimes(RandomColour(brightness=(0.5, 0.5)), 0.3, otherwise=RandomColour((1, 1), (1, 1), (1, 1), 0))
    changed = (change.of_batch(many, seeded()) != many).flatten(1).any(1)
    # Four standard errors about three in ten.
    assert abs(int(changed.sum()) - 600) < 4 * (2000 * 0.3 * 0.7) ** 0.5
    assert torch.equal(Sometimes(RandomDihedral(), 0.0).of_batch(batch, seeded()), batch)


@pytest.mark.parametrize("name", ["none", "light", "strong"])
def test_no_image_at_all(name: str) -> None:
    images = torch.zeros(0, 3, 32, 32, dtype=torch.uint8)
    assert create_augmentation(name).of_batch(images, seeded()).shape == images.shape


def test_changes_of_one_image_at_a_time_are_named(batch: Tensor) -> None:
    augment = Augmentation((RandomDihedral(), Sometimes(RandomJpeg(), 0.5, otherwise=RandomStain())))
    assert augment.one_by_one == ["RandomJpeg", "RandomStain"]
    with pytest.raises(ConfigError, match="RandomJpeg, RandomStain: made one image at a time"):
        augment.of_batch(batch, seeded())
    assert create_augmentation("strong").one_by_one == []
