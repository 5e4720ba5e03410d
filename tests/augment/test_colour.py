"""`cellnet.augment.colour`: torchvision is the reference."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as F

from cellnet.augment import RandomColour, adjust_colour
from cellnet.errors import ConfigError, ImageError

FACTOR = st.floats(0, 4)


def distance(a: torch.Tensor, b: torch.Tensor) -> int:
    return int((a.int() - b.int()).abs().max())


class TestAdjustColour:
    def test_ones_change_nothing(self) -> None:
        every = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
        assert torch.equal(adjust_colour(every), every)

    @pytest.mark.parametrize("factor", [0.0, 0.8, 1.2])
    def test_agrees_with_torchvision(self, image: torch.Tensor, factor: float) -> None:
        assert distance(adjust_colour(image, brightness=factor), F.adjust_brightness(image, factor)) <= 1
        assert distance(adjust_colour(image, contrast=factor), F.adjust_contrast(image, factor)) <= 1
        assert distance(adjust_colour(image, saturation=factor), F.adjust_saturation(image, factor)) <= 1

    @given(FACTOR, FACTOR, FACTOR, st.floats(-360, 360), st.tuples(FACTOR, FACTOR, FACTOR))
    def test_all_at_once_is_the_formula_step_by_step(
        self, brightness: float, contrast: float, saturation: float, hue: float, balance: tuple[float, float, float]
    ) -> None:
        image = torch.randint(0, 256, (3, 5, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        to_yiq = torch.tensor(
            [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.double
        )
        pixels = to_yiq @ (image.double() * torch.tensor(balance).double().view(3, 1, 1)).flatten(1)
        chroma = torch.complex(pixels[1], -pixels[2]) * saturation
        chroma = chroma * torch.polar(torch.ones((), dtype=torch.double), torch.tensor(math.radians(hue)).double())
        pixels = torch.stack([pixels[0], chroma.real, -chroma.imag])
        pixels = torch.linalg.solve(to_yiq, pixels)
        grey = (to_yiq[0] @ pixels).mean()
        expected = (brightness * (grey + contrast * (pixels - grey))).clamp(0, 255).view(image.shape)
        ours = adjust_colour(
            image, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue, balance=balance
        )
        # OpenCV rounds the factors to 1/1024, which adds up to half a level to the rounding of the result.
        assert float((ours - expected).abs().max()) < 1

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

    def test_balance_scales_each_channel(self) -> None:
        grey = torch.full((3, 2, 2), 100, dtype=torch.uint8)
        assert adjust_colour(grey, balance=(1.1, 1.0, 0.5))[:, 0, 0].tolist() == [110, 100, 50]

    def test_factors_beyond_those_that_opencv_multiplies_bytes_by(self) -> None:
        grey = torch.tensor([100, 102], dtype=torch.uint8).view(1, 1, 2).expand(3, 1, 2)
        assert adjust_colour(grey, contrast=40)[0].tolist() == [[61, 141]]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"brightness": -0.1}, r"brightness=-0.1 cannot be used; give 0 or more\."),
            ({"contrast": math.nan}, "contrast=nan"),
            ({"saturation": -1}, "saturation=-1"),
            ({"hue": math.inf}, "hue=inf cannot be used; give a finite number"),
            ({"balance": (1, -1, 1)}, r"balance=\(1, -1, 1\) cannot be used; give 0 or more, each"),
        ],
    )
    def test_bad_numbers(self, image: torch.Tensor, options: dict[str, float], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            adjust_colour(image, **options)

    def test_a_float_image(self, image: torch.Tensor) -> None:
        with pytest.raises(ImageError, match="uint8"):
            adjust_colour(image / 255)


class TestRandomColour:
    def test_draws_keep_to_their_range(self) -> None:
        torch.manual_seed(0)
        grey = torch.full((3, 4, 4), 100, dtype=torch.uint8)
        change = RandomColour(brightness=(0.8, 1.2), hue=10)
        # A flat grey image shows brightness alone.
        levels = torch.stack([change(grey) for _ in range(200)])
        assert 80 <= int(levels.min()) < 84
        assert 116 < int(levels.max()) <= 120

    def test_balance_moves_red_and_blue_and_leaves_green(self) -> None:
        torch.manual_seed(0)
        grey = torch.full((3, 4, 4), 100, dtype=torch.uint8)
        change = RandomColour(brightness=(1, 1), contrast=(1, 1), saturation=(1, 1), hue=0, balance=0.1)
        red, green, blue = torch.stack([change(grey)[:, 0, 0] for _ in range(200)]).T
        assert green.unique().tolist() == [100]
        for channel in (red, blue):
            assert 90 <= int(channel.min()) < 92
            assert 108 < int(channel.max()) <= 110

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"brightness": (1.2, 0.8)}, r"brightness=\(1.2, 0.8\) is no range"),
            ({"contrast": (-0.1, 1)}, r"contrast=\(-0.1, 1\) cannot be used; give 0 or more, each"),
            ({"hue": -5}, "hue=-5 cannot be used; give 0 to 180"),
            ({"balance": 2}, "balance=2 cannot be used; give 0 to 1"),
        ],
    )
    def test_bad_ranges(self, options: dict[str, float], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            RandomColour(**options)
