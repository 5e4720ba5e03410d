"""`cellnet.augment.geometry`: torchvision and `torch.rot90` are the references."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from cellnet.augment import RandomCutOut, RandomDihedral, RandomRotationScale, cut_out, dihedral, rotate_scale
from cellnet.errors import ConfigError, ImageError


def distance(a: torch.Tensor, b: torch.Tensor) -> int:
    return int((a.int() - b.int()).abs().max())


def square(side: int, cell: int) -> torch.Tensor:
    """White on black, in the middle."""
    image = torch.zeros(3, side, side, dtype=torch.uint8)
    start = (side - cell) // 2
    image[:, start : start + cell, start : start + cell] = 255
    return image


class TestDihedral:
    @pytest.mark.parametrize("turns", range(-1, 5))
    @pytest.mark.parametrize("mirror", [False, True])
    def test_is_flip_and_rot90(self, turns: int, mirror: bool) -> None:
        image = torch.randint(0, 256, (3, 16, 21), dtype=torch.uint8)
        expected = torch.rot90(image.flip(-1) if mirror else image, turns, (-2, -1))
        assert torch.equal(dihedral(image, quarter_turns=turns, mirror=mirror), expected)

    def test_half_a_turn_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"quarter_turns=1\.5 cannot be used; give a whole number"):
            dihedral(torch.zeros(3, 8, 8, dtype=torch.uint8), quarter_turns=1.5)  # type: ignore[arg-type]

    def test_all_eight_are_equally_likely(self) -> None:
        torch.manual_seed(0)
        image = torch.arange(9, dtype=torch.uint8).view(1, 3, 3).expand(3, -1, -1)
        turn = RandomDihedral()
        drawn = [tuple(turn(image)[0].flatten().tolist()) for _ in range(4000)]
        counts = torch.tensor([drawn.count(one) for one in set(drawn)]).float()
        assert len(counts) == 8
        # Chi-square with seven degrees of freedom: 24.3 is passed once in a thousand.
        assert float(((counts - 500) ** 2 / 500).sum()) < 24.3

    def test_a_rectangle_keeps_its_shape(self) -> None:
        image = torch.arange(6, dtype=torch.uint8).view(1, 2, 3).expand(3, -1, -1)
        turn = RandomDihedral()
        results = [turn(image) for _ in range(100)]
        assert {result.shape for result in results} == {(3, 2, 3)}
        assert len({tuple(result[0].flatten().tolist()) for result in results}) == 4


class TestRotateScale:
    @pytest.mark.parametrize("shape", [(32, 32), (30, 34)])
    @pytest.mark.parametrize("angle", [0, 17, 90, 200])
    @pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
    @pytest.mark.parametrize("shift", [(0, 0), (2, -3)])
    def test_agrees_with_torchvision_inside(
        self, shape: tuple[int, int], angle: float, scale: float, shift: tuple[int, int]
    ) -> None:
        # Torchvision fills with black; so does reflection here, as a soft spot lies in the middle of black.
        height, width = shape
        down = torch.arange(height)[:, None] - (height // 2 - 2)
        across = torch.arange(width) - (width // 2 + 1)
        spot = (1 - (down / 4) ** 2 - (across / 5) ** 2).clamp(min=0) ** 2
        cell = (torch.tensor([250, 160, 90]).view(3, 1, 1) * spot).round().to(torch.uint8)
        expected = F.affine(
            cell,
            angle=-angle,  # clockwise there
            translate=list(shift),
            scale=scale,
            shear=[0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        ours = rotate_scale(cell, angle=angle, scale=scale, shift=(shift[0] / width, shift[1] / height))
        # Before version 5, OpenCV interpolates between places 1/32 pixel apart.
        assert distance(ours, expected) <= 2

    def test_agrees_with_torchvision_on_a_smooth_picture(self, image: torch.Tensor) -> None:
        ours = rotate_scale(image, angle=30, scale=1.6)  # magnified so far that nothing comes from outside
        expected = F.affine(image, -30, [0, 0], 1.6, [0.0], interpolation=InterpolationMode.BILINEAR)
        assert distance(ours, expected) <= 2

    def test_no_change_is_no_change(self) -> None:
        image = torch.randint(0, 256, (3, 17, 24), dtype=torch.uint8)
        assert torch.equal(rotate_scale(image), image)

    def test_mirror_comes_first(self, image: torch.Tensor) -> None:
        assert torch.equal(rotate_scale(image, mirror=True), image.flip(-1))
        mirrored = rotate_scale(image.flip(-1), angle=40, scale=0.9, shift=(0.1, 0))
        assert distance(rotate_scale(image, angle=40, scale=0.9, shift=(0.1, 0), mirror=True), mirrored) <= 2

    @pytest.mark.parametrize("side", [16, 32, 33])
    def test_quarter_turn_is_exact_and_counter_clockwise(self, side: int) -> None:
        image = torch.randint(0, 256, (3, side, side), dtype=torch.uint8)
        assert distance(rotate_scale(image, angle=90), image.rot90(1, (-2, -1))) == 0

    def test_a_shift_moves_right_and_down_and_reflects(self) -> None:
        image = torch.randint(0, 256, (3, 16, 20), dtype=torch.uint8)
        moved = rotate_scale(image, shift=(0.25, 0.125))
        assert torch.equal(moved[:, 2:, 5:], image[:, :-2, :-5])
        assert torch.equal(moved[:, 2:, :5], image[:, :-2, :5].flip(-1))
        assert torch.equal(moved[:, :2, 5:], image[:, :2, :-5].flip(-2))

    @given(
        st.integers(1, 40),
        st.integers(1, 40),
        st.floats(-720, 720),
        st.floats(0.1, 10),
        st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
        st.booleans(),
    )
    @settings(max_examples=60, deadline=None)
    def test_the_frame_is_filled_with_what_is_there(
        self, height: int, width: int, angle: float, scale: float, shift: tuple[float, float], mirror: bool
    ) -> None:
        flat = torch.tensor([180, 3, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, height, width)
        changed = rotate_scale(flat, angle=angle, scale=scale, shift=shift, mirror=mirror)
        assert torch.equal(changed, flat)

    def test_scale_above_one_enlarges(self) -> None:
        cell = square(64, 16)
        area = float(rotate_scale(cell, angle=30, scale=1.25).sum()) / float(cell.sum())
        assert area == pytest.approx(1.25**2, rel=0.02)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"scale": 0.0}, r"scale=0.0 cannot be used; give 0.1 to 10"),
            ({"scale": -1.0}, "scale=-1.0"),
            ({"scale": 50.0}, "scale=50.0"),
            ({"angle": math.nan}, "angle=nan cannot be used; give a finite number"),
            ({"shift": (0.0, 1.5)}, r"shift=\(0.0, 1.5\) cannot be used; give -1 to 1, each"),
        ],
    )
    def test_bad_numbers(self, image: torch.Tensor, options: dict[str, float], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            rotate_scale(image, **options)

    def test_a_float_image(self, image: torch.Tensor) -> None:
        with pytest.raises(ImageError, match=r"not torch.float32 \(3, 32, 32\)"):
            rotate_scale(image.float(), angle=3)


class TestRandomRotationScale:
    def test_draws_keep_to_their_range(self) -> None:
        torch.manual_seed(0)
        cell = square(64, 16)
        change = RandomRotationScale((0.8, 1.25))
        areas = [float(change(cell).sum()) / float(cell.sum()) for _ in range(60)]
        assert 0.8**2 * 0.95 < min(areas) < 0.75
        assert 1.4 < max(areas) < 1.25**2 * 1.05

    def test_it_moves_as_far_as_it_may(self) -> None:
        torch.manual_seed(0)
        cell = square(64, 8)
        change = RandomRotationScale((1.0, 1.0), shift=0.25)
        places = torch.stack([(change(cell)[0] > 127).nonzero().double().mean(dim=0) for _ in range(80)]) - 31.5
        assert 0.85 * 16 < float(places.abs().max()) <= 16.3
        assert float(places.mean(dim=0).abs().max()) < 4

    def test_half_of_the_images_are_mirrored(self) -> None:
        torch.manual_seed(0)
        # Three spots, whose order around the centre is clockwise; only a mirror changes that.
        image = torch.zeros(3, 33, 33, dtype=torch.uint8)
        image[0, 4:9, 14:19], image[1, 14:19, 24:29], image[2, 24:29, 14:19] = 255, 255, 255
        change = RandomRotationScale((1.0, 1.0))
        grid = torch.arange(33.0) - 16
        mirrored = 0
        for _ in range(200):
            spots = change(image).float()
            x, y = (spots * grid).sum((1, 2)), (spots * grid[:, None]).sum((1, 2))
            mirrored += int(x[0] * y[1] - y[0] * x[1] < 0)
        # Four standard errors about one half.
        assert abs(mirrored - 100) < 4 * math.sqrt(50)

    @pytest.mark.parametrize(
        ("scale", "shift", "message"),
        [
            ((1.2, 0.8), 0.0, r"scale=\(1.2, 0.8\) is no range"),
            ((0.0, 1.0), 0.0, r"scale=\(0.0, 1.0\) cannot be used; give 0.1 to 10, each"),
            ((0.8, 1.2), -0.1, "shift=-0.1 cannot be used; give 0 to 1"),
        ],
    )
    def test_bad_ranges(self, scale: tuple[float, float], shift: float, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            RandomRotationScale(scale, shift)


class TestCutOut:
    def test_the_middle_stays_and_all_around_is_background(self) -> None:
        image = 255 - square(20, 16)  # a dark cell on white, larger than what stays
        result = cut_out(image, 0.5)
        assert bool((result[:, 5:15, 5:15] == 0).all())
        assert int((result == 255).sum()) == 3 * (20 * 20 - 10 * 10)
        assert torch.equal(cut_out(image, 1), image)

    def test_sides_that_differ(self) -> None:
        image = torch.full((3, 10, 20), 200, dtype=torch.uint8)
        image[:, 1:9, 2:18] = 90
        assert int((cut_out(image, 0.5) == 90).sum()) == 3 * 5 * 10

    def test_bad_input(self) -> None:
        image = torch.zeros(3, 8, 8, dtype=torch.uint8)
        for share in (-0.1, 1.1, math.nan):
            with pytest.raises(ConfigError, match="share="):
                cut_out(image, share)
        with pytest.raises(ImageError):
            cut_out(image.float(), 0.5)
        with pytest.raises(ConfigError, match="share="):
            RandomCutOut((0.5, 1.5))
