"""`cellnet.augment.lab`: scikit-image's CIELAB is the reference; OpenCV's tables keep within 2 grey levels of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import lab2rgb, rgb2lab

from cellnet.augment import RandomLab, perturb_lab
from cellnet.errors import ConfigError, ImageError

FACTOR = st.floats(0.3, 2)
OFFSET = st.floats(-30, 30)


def levels(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).contiguous().numpy()


class TestPerturbLab:
    @given(st.tuples(FACTOR, FACTOR, FACTOR), st.tuples(OFFSET, OFFSET, OFFSET))
    @settings(max_examples=40, deadline=None)
    @pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
    def test_is_reinhards_formula(
        self, factors: tuple[float, float, float], offsets: tuple[float, float, float]
    ) -> None:
        image = torch.randint(0, 256, (3, 16, 12), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
        lab = rgb2lab(levels(image))
        mean = lab.mean(axis=(0, 1))
        theirs = 255 * lab2rgb((lab - mean) * factors + mean + offsets)
        difference = np.abs(levels(perturb_lab(image, factors, offsets)) - theirs)
        assert difference.mean() < 0.6
        assert np.percentile(difference, 95) < 2

    def test_mean_and_spread_become_what_was_asked_for(self, image: torch.Tensor) -> None:
        before, after = (
            rgb2lab(levels(i)).reshape(-1, 3) for i in (image, perturb_lab(image, (0.8, 1.2, 0.9), (5, -4, 3)))
        )
        assert np.allclose(after.mean(axis=0), before.mean(axis=0) + np.array([5, -4, 3]), atol=0.3)
        assert np.allclose(after.std(axis=0), before.std(axis=0) * [0.8, 1.2, 0.9], atol=0.3)

    def test_ones_change_nothing_but_rounding(self) -> None:
        every = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        assert int((perturb_lab(every, (1, 1, 1)).int() - every.int()).abs().max()) <= 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (((1, -1, 1),), r"factors=\(1, -1, 1\) cannot be used; give 0 or more, each"),
            (((1, 1),), r"factors=\(1, 1\) must be three numbers"),
            (((1, 1, 1), (0, np.inf, 0)), r"offsets=\(0, inf, 0\) cannot be used; give a finite number"),
        ],
    )
    def test_bad_numbers(self, image: torch.Tensor, arguments: tuple[object, ...], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            perturb_lab(image, *arguments)

    def test_a_float_image(self, image: torch.Tensor) -> None:
        with pytest.raises(ImageError, match="uint8"):
            perturb_lab(image / 255, (1, 1, 1))


class TestRandomLab:
    def test_draws_keep_to_their_range(self) -> None:
        torch.manual_seed(0)
        grey = torch.full((3, 4, 4), 119, dtype=torch.uint8)
        change = RandomLab(factor=(1, 1), offset=10)
        shifts = np.stack([rgb2lab(levels(change(grey)))[0, 0] for _ in range(150)]) - rgb2lab(levels(grey))[0, 0]
        assert (np.abs(shifts).max(axis=0) > 9).all()
        assert (np.abs(shifts).max(axis=0) < 11).all()

    @pytest.mark.parametrize("options", [{"factor": (0.0, 1.0)}, {"factor": (2.0, 1.0)}, {"offset": -1}])
    def test_bad_ranges(self, options: dict[str, float]) -> None:
        with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
            RandomLab(**options)
