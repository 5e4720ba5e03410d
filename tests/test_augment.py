"""`cellnet.augment`: labels survive, shapes and types stay, and torchvision agrees where it can."""

from __future__ import annotations

import pickle

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from cellnet.augment import (
    PRESETS,
    RandomColour,
    RandomDihedral,
    RandomRotationScale,
    adjust_colour,
    create_augmentation,
    rotate_scale,
)
from cellnet.errors import ImageError, UnknownNameError


@pytest.fixture
def image() -> torch.Tensor:
    """A smooth colour picture, 3×32×32, of mid tones."""
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(70, 180, (3, 6, 6), generator=generator, dtype=torch.uint8)
    return F.resize(small, [32, 32])


def distance(a: torch.Tensor, b: torch.Tensor) -> int:
    return int((a.int() - b.int()).abs().max())


class TestPresets:
    @pytest.mark.parametrize("name", PRESETS)
    @pytest.mark.parametrize("shape", [(3, 32, 32), (3, 24, 40), (3, 17, 17)])
    def test_type_and_shape_stay(self, name: str, shape: tuple[int, ...]) -> None:
        augment = create_augmentation(name)
        given = torch.randint(0, 256, shape, dtype=torch.uint8)
        before = given.clone()
        for _ in range(10):
            result = augment(given)
            assert result.dtype == torch.uint8
            assert result.shape == shape
        assert torch.equal(given, before)

    def test_none_changes_nothing(self, image: torch.Tensor) -> None:
        assert torch.equal(create_augmentation("none")(image), image)

    def test_light_only_moves_pixels(self, image: torch.Tensor) -> None:
        augment = create_augmentation("light")
        results = [augment(image) for _ in range(200)]
        for result in results:
            assert torch.equal(result.flatten(1).sort().values, image.flatten(1).sort().values)
        assert len({result.numpy().tobytes() for result in results}) == 8

    def test_strong_never_repeats(self, image: torch.Tensor) -> None:
        augment = create_augmentation("strong")
        assert len({augment(image).numpy().tobytes() for _ in range(20)}) == 20

    @pytest.mark.parametrize("name", PRESETS)
    def test_the_global_seed_repeats_it(self, name: str, image: torch.Tensor) -> None:
        augment = create_augmentation(name)
        torch.manual_seed(3)
        first = [augment(image) for _ in range(6)]
        torch.manual_seed(3)
        assert all(torch.equal(augment(image), one) for one in first)

    @pytest.mark.parametrize("name", PRESETS)
    def test_pickles_for_worker_processes(self, name: str, image: torch.Tensor) -> None:
        augment = create_augmentation(name)
        copy = pickle.loads(pickle.dumps(augment))
        torch.manual_seed(0)
        expected = augment(image)
        torch.manual_seed(0)
        assert torch.equal(copy(image), expected)

    @pytest.mark.parametrize("name", PRESETS)
    def test_nothing_to_learn_and_train_mode_does_not_matter(self, name: str, image: torch.Tensor) -> None:
        augment = create_augmentation(name)
        assert not list(augment.parameters())
        torch.manual_seed(0)
        expected = augment.train()(image)
        torch.manual_seed(0)
        assert torch.equal(augment.eval()(image), expected)

    @pytest.mark.parametrize("value", [0, 255])
    def test_extremes_do_not_wrap_around(self, value: int) -> None:
        augment = create_augmentation("strong")
        flat = torch.full((3, 32, 32), value, dtype=torch.uint8)
        for _ in range(30):
            assert int((augment(flat).int() - value).abs().max()) <= 0.2 * 255 + 1

    def test_unknown_name(self) -> None:
        with pytest.raises(UnknownNameError, match=r"Unknown augmentation 'stron'. Did you mean 'strong'"):
            create_augmentation("stron")

    @pytest.mark.parametrize(
        "given",
        [
            torch.zeros(3, 32, 32),
            torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
            torch.zeros(32, 32, 3, dtype=torch.uint8),
            torch.zeros(32, 32, dtype=torch.uint8),
        ],
    )
    @pytest.mark.parametrize("name", PRESETS)
    def test_wrong_tensors(self, name: str, given: torch.Tensor) -> None:
        with pytest.raises(ImageError, match="one uint8 3×H×W image"):
            create_augmentation(name)(given)


class TestRandomDihedral:
    def test_all_eight_are_equally_likely(self) -> None:
        torch.manual_seed(0)
        square = torch.arange(9, dtype=torch.uint8).view(1, 3, 3)
        turn = RandomDihedral()
        drawn = [tuple(turn(square).flatten().tolist()) for _ in range(4000)]
        counts = torch.tensor([drawn.count(one) for one in set(drawn)]).float()
        assert len(counts) == 8
        # Chi-square with seven degrees of freedom: 24.3 is passed once in a thousand.
        assert float(((counts - 500) ** 2 / 500).sum()) < 24.3

    def test_a_rectangle_keeps_its_shape(self) -> None:
        rectangle = torch.arange(6, dtype=torch.uint8).view(1, 2, 3)
        turn = RandomDihedral()
        assert len({tuple(turn(rectangle).flatten().tolist()) for _ in range(100)}) == 4


class TestRotateScale:
    @pytest.mark.parametrize("shape", [(32, 32), (30, 34)])
    @pytest.mark.parametrize("angle", [0, 17, 90, 200])
    @pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
    def test_agrees_with_torchvision_inside(self, shape: tuple[int, int], angle: float, scale: float) -> None:
        # Torchvision fills with black; so does reflection here, as the cell lies in the middle of black.
        cell = torch.zeros(3, *shape, dtype=torch.uint8)
        centre = slice(shape[0] // 2 - 5, shape[0] // 2 + 2), slice(shape[1] // 2 - 3, shape[1] // 2 + 6)
        cell[:, *centre] = torch.randint(0, 256, (3, 7, 9), dtype=torch.uint8)
        expected = F.affine(
            cell,
            angle=-angle,  # clockwise there
            translate=[0, 0],
            scale=scale,
            shear=[0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        assert distance(rotate_scale(cell, angle=angle, scale=scale), expected) <= 1

    def test_quarter_turn_is_exact_and_counter_clockwise(self, image: torch.Tensor) -> None:
        assert distance(rotate_scale(image, angle=90, scale=1.0), image.rot90(1, (-2, -1))) <= 1

    def test_the_frame_is_filled_with_what_is_there(self) -> None:
        flat = torch.full((3, 32, 32), 180, dtype=torch.uint8)
        assert rotate_scale(flat, angle=45, scale=0.8).unique().tolist() == [180]

    def test_scale_above_one_enlarges(self) -> None:
        cell = torch.zeros(3, 64, 64, dtype=torch.uint8)
        cell[:, 24:40, 24:40] = 255
        area = float(rotate_scale(cell, angle=30, scale=1.25).sum()) / float(cell.sum())
        assert area == pytest.approx(1.25**2, rel=0.02)

    def test_random_draw_keeps_to_its_range(self) -> None:
        torch.manual_seed(0)
        cell = torch.zeros(3, 64, 64, dtype=torch.uint8)
        cell[:, 24:40, 24:40] = 255
        change = RandomRotationScale((0.8, 1.25))
        areas = [float(change(cell).sum()) / float(cell.sum()) for _ in range(60)]
        assert 0.8**2 * 0.95 < min(areas) < 0.75
        assert 1.4 < max(areas) < 1.25**2 * 1.05


class TestAdjustColour:
    def test_ones_change_nothing(self, image: torch.Tensor) -> None:
        assert distance(adjust_colour(image), image) == 0

    @pytest.mark.parametrize("factor", [0.0, 0.8, 1.2])
    def test_agrees_with_torchvision(self, image: torch.Tensor, factor: float) -> None:
        assert distance(adjust_colour(image, brightness=factor), F.adjust_brightness(image, factor)) <= 1
        assert distance(adjust_colour(image, contrast=factor), F.adjust_contrast(image, factor)) <= 1
        assert distance(adjust_colour(image, saturation=factor), F.adjust_saturation(image, factor)) <= 1

    def test_hue_keeps_luma_and_a_full_turn_comes_home(self, image: torch.Tensor) -> None:
        turned = adjust_colour(image, hue=40)
        assert distance(turned, image) > 10
        assert distance(F.rgb_to_grayscale(turned), F.rgb_to_grayscale(image)) <= 1
        assert distance(adjust_colour(image, hue=360), image) <= 1

    def test_hue_turns_the_way_of_torchvision(self) -> None:
        red = torch.tensor([180, 90, 90], dtype=torch.uint8).view(3, 1, 1)
        for degrees in (10.0, -10.0):
            ours = adjust_colour(red, hue=degrees).flatten().int()
            theirs = F.adjust_hue(red, degrees / 360).flatten().int()
            assert torch.sign(ours[1] - ours[2]) == torch.sign(theirs[1] - theirs[2])

    def test_grey_stays_grey(self) -> None:
        grey = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, 16, 16)
        assert distance(adjust_colour(grey, saturation=1.2, hue=10), grey) == 0

    def test_random_draw_keeps_to_its_range(self) -> None:
        torch.manual_seed(0)
        grey = torch.full((3, 4, 4), 100, dtype=torch.uint8)
        change = RandomColour(strength=0.2, hue=10)
        # A flat grey image shows brightness alone.
        levels = torch.stack([change(grey) for _ in range(200)])
        assert 80 <= int(levels.min()) < 84
        assert 116 < int(levels.max()) <= 120
