"""`cellnet.augment.stain`: scikit-image takes colours apart and together; torchstain finds the stains."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import (
    bex_from_rgb,
    combine_stains,
    hed2rgb,
    hed_from_rgb,
    rgb2hed,
    rgb_from_bex,
    rgb_from_hed,
    separate_stains,
)

from cellnet.augment import GIEMSA, RandomStain, estimate_stains, perturb_stain
from cellnet.errors import ConfigError, ImageError

# scikit-image counts amounts in units of this density.
UNIT = -math.log(1e-6)


def seen(amounts: np.ndarray, stains: np.ndarray) -> torch.Tensor:
    """An image of these amounts (in densities), by scikit-image."""
    levels = np.rint(255 * combine_stains(amounts / UNIT, stains)).astype(np.uint8)
    return torch.from_numpy(levels).permute(2, 0, 1)


def levels(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).contiguous().numpy()


@pytest.mark.parametrize(
    ("stains", "back"), [(rgb_from_hed, hed_from_rgb), (rgb_from_bex, bex_from_rgb)], ids=["HED", "Giemsa"]
)
class TestAgainstScikitImage:
    FACTORS, OFFSETS = np.array([0.7, 1.3, 1.1]), np.array([0.02, 0.05, 0.01])

    @pytest.fixture
    def amounts(self) -> np.ndarray:
        # Amounts that are not small, as scikit-image cuts those below 0 off.
        return np.random.default_rng(0).uniform(0.15, 0.9, (24, 20, 3))

    def test_apart_and_together_comes_home(self, amounts: np.ndarray, stains: np.ndarray, back: np.ndarray) -> None:
        image = seen(amounts, stains)
        theirs = np.rint(255 * combine_stains(separate_stains(levels(image), back), stains))
        assert np.array_equal(levels(perturb_stain(image, (1, 1, 1), stains=stains)), theirs)
        assert torch.equal(perturb_stain(image, (1, 1, 1), stains=stains), image)

    def test_changed_amounts_give_the_same_colours(
        self, amounts: np.ndarray, stains: np.ndarray, back: np.ndarray
    ) -> None:
        image = seen(amounts, stains)
        found = separate_stains(levels(image), back)
        assert (found > 0).all()
        theirs = 255 * combine_stains(found * self.FACTORS + self.OFFSETS / UNIT, stains)
        ours = levels(perturb_stain(image, self.FACTORS, self.OFFSETS, stains))
        assert np.abs(ours - theirs).max() <= 0.51

    def test_the_result_holds_what_was_asked_for(
        self, amounts: np.ndarray, stains: np.ndarray, back: np.ndarray
    ) -> None:
        changed = perturb_stain(seen(amounts, stains), self.FACTORS, self.OFFSETS, stains)
        found = separate_stains(levels(changed), back) * UNIT
        # Within what rounding to 255 levels leaves of an amount.
        assert np.abs(found - amounts * self.FACTORS - self.OFFSETS).max() < 0.12


class TestPerturbStain:
    def test_hed_by_its_own_name(self) -> None:
        image = seen(np.random.default_rng(1).uniform(0.15, 0.9, (8, 8, 3)), rgb_from_hed)
        theirs = 255 * hed2rgb(rgb2hed(levels(image)) * [1.2, 0.8, 1])
        assert np.abs(levels(perturb_stain(image, (1.2, 0.8, 1), stains=rgb_from_hed)) - theirs).max() <= 0.51

    def test_the_stains_are_giemsas(self) -> None:
        assert np.allclose(GIEMSA, rgb_from_bex[:2])
        assert np.allclose(np.linalg.norm(GIEMSA, axis=1), 1, atol=1e-3)
        image = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)
        assert torch.equal(
            perturb_stain(image, (0.8, 1.2, 1)), perturb_stain(image, (0.8, 1.2, 1), stains=rgb_from_bex)
        )

    def test_ones_change_nothing_black_and_white_included(self) -> None:
        every = torch.arange(256, dtype=torch.uint8)
        image = torch.stack([every, every.flip(0), every.roll(77)]).view(3, 16, 16)
        assert torch.equal(perturb_stain(image, (1, 1, 1)), image)

    def test_one_factor_for_all_is_a_gamma_curve(self) -> None:
        grey = torch.arange(1, 256, dtype=torch.uint8).view(1, 1, -1).expand(3, 1, -1)
        expected = 255 * (grey.double() / 255) ** 1.7
        assert float((perturb_stain(grey, (1.7, 1.7, 1.7)) - expected).abs().max()) <= 0.51

    def test_no_stain_is_white(self) -> None:
        image = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)
        assert perturb_stain(image, (0, 0, 0)).unique().tolist() == [255]

    def test_more_dye_darkens_the_colour_that_it_takes(self) -> None:
        violet = torch.tensor([120, 60, 150], dtype=torch.uint8).view(3, 1, 1)
        blue, eosin = perturb_stain(violet, (1.3, 1, 1)), perturb_stain(violet, (1, 1.3, 1))
        darker = [(violet.int() - changed.int()).flatten() for changed in (blue, eosin)]
        assert darker[0].argmax() == 0  # methylene blue takes red light
        assert darker[1].argmax() == 1  # eosin takes green light

    @given(st.lists(st.floats(0, 8), min_size=3, max_size=3), st.lists(st.floats(-9, 9), min_size=3, max_size=3))
    @settings(deadline=None)
    def test_never_wraps_around(self, factors: list[float], offsets: list[float]) -> None:
        every = torch.arange(256, dtype=torch.uint8)
        image = torch.stack([every, every.flip(0), every.roll(77)]).view(3, 16, 16)
        axes = np.vstack([GIEMSA, np.cross(*GIEMSA)])
        density = -np.log(np.maximum(levels(image), 1 / 3) / 255)
        changed = (density @ np.linalg.inv(axes) * factors + offsets) @ axes
        expected = np.clip(255 * np.exp(-np.clip(changed, -50, 50)), 0, 255)
        assert np.abs(levels(perturb_stain(image, factors, offsets)) - expected).max() <= 0.51

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (((1, -1, 1),), r"factors=\(1, -1, 1\) cannot be used; give 0 or more, each"),
            (((1, 1),), r"factors=\(1, 1\) must be three numbers"),
            (((1, 1, math.nan),), "factors="),
            (((1, 1, 1), (0, math.inf, 0)), r"offsets=\(0, inf, 0\) cannot be used; give a finite number, each"),
            (((1, 1, 1), (0, 0)), r"offsets=\(0, 0\) must be three numbers"),
            (((1, 1, 1), (0, 0, 0), [[1, 0, 0], [2, 0, 0]]), "must be two or three different colours"),
            (((1, 1, 1), (0, 0, 0), [[1, 0, 0]]), "must be two or three different colours"),
            (((1, 1, 1), (0, 0, 0), [[1, 0, math.nan], [0, 1, 0]]), "must be two or three different colours"),
        ],
    )
    def test_bad_numbers(self, image: torch.Tensor, arguments: tuple[object, ...], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            perturb_stain(image, *arguments)

    def test_a_float_image(self, image: torch.Tensor) -> None:
        with pytest.raises(ImageError, match="uint8"):
            perturb_stain(image / 255, (1, 1, 1))


class TestEstimateStains:
    TRUE = np.array([[0.65, 0.70, 0.29], [0.27, 0.80, 0.54]])

    def test_finds_what_the_picture_was_made_of(self, smear: torch.Tensor) -> None:
        stains = self.TRUE / np.linalg.norm(self.TRUE, axis=1, keepdims=True)
        found = estimate_stains(smear, percentile=0.5)
        angles = np.degrees(np.arccos(np.clip((found * stains).sum(axis=1), -1, 1)))
        assert np.allclose(np.linalg.norm(found, axis=1), 1)
        assert angles.max() < 2

    def test_agrees_with_torchstain(self, smear: torch.Tensor) -> None:
        torchstain = pytest.importorskip("torchstain")
        normalizer = torchstain.normalizers.MacenkoNormalizer(backend="numpy")
        normalizer.fit(levels(smear), Io=255, alpha=1, beta=0.15)
        # It adds one grey level to every pixel, which moves the stains by less than 0.01.
        assert np.abs(estimate_stains(smear) - normalizer.HERef.T).max() < 0.01

    def test_a_sample_of_the_pixels_is_enough(self, smear: torch.Tensor) -> None:
        assert np.abs(estimate_stains(smear, step=2) - estimate_stains(smear)).max() < 0.02

    def test_background_does_not_matter(self, smear: torch.Tensor) -> None:
        framed = torch.nn.functional.pad(smear, (20, 20, 20, 20), value=245)
        assert np.allclose(estimate_stains(framed), estimate_stains(smear))

    def test_an_empty_smear(self) -> None:
        with pytest.raises(ImageError, match="Only 0 pixels are stained, too few to tell two stains"):
            estimate_stains(torch.full((3, 32, 32), 240, dtype=torch.uint8))

    def test_one_colour_alone(self) -> None:
        image = torch.tensor([120, 60, 150], dtype=torch.uint8).view(3, 1, 1).expand(3, 32, 32)
        with pytest.raises(ImageError, match="All stained pixels have one colour"):
            estimate_stains(image)

    @pytest.mark.parametrize("options", [{"least_density": -1}, {"percentile": 60}, {"step": 0}, {"step": 1.5}])
    def test_bad_numbers(self, smear: torch.Tensor, options: dict[str, float]) -> None:
        with pytest.raises(ConfigError, match=f"{next(iter(options))}=.* cannot be used"):
            estimate_stains(smear, **options)


class TestRandomStain:
    def test_draws_keep_to_their_range(self) -> None:
        torch.manual_seed(0)
        grey = torch.full((3, 4, 4), 120, dtype=torch.uint8)
        density = -math.log(120 / 255)
        change = RandomStain(strength=(0.5, 2), factor=(1, 1), offset=0)
        drawn = torch.stack([-torch.log(change(grey).double().mean() / 255) / density for _ in range(200)])
        assert 0.49 < float(drawn.min()) < 0.54
        assert 1.85 < float(drawn.max()) < 2.02
        assert abs(float((drawn < 1).double().mean()) - 0.5) < 0.15

    def test_offsets_tint_a_white_background(self) -> None:
        torch.manual_seed(0)
        white = torch.full((3, 4, 4), 230, dtype=torch.uint8)
        change = RandomStain(factor=(1, 1), offset=0.1)
        colours = torch.stack([change(white)[:, 0, 0] for _ in range(50)])
        assert len(colours.unique(dim=0)) > 40
        assert 230 * math.exp(-0.1 * 1.8) - 1 <= int(colours.min())

    def test_its_own_stains_are_perturbed_along_the_pictures_axes(self, smear: torch.Tensor) -> None:
        torch.manual_seed(5)
        changed = RandomStain(factor=(0.5, 2), offset=0, own=True)(smear)
        torch.manual_seed(5)
        assert not torch.equal(changed, RandomStain(factor=(0.5, 2), offset=0)(smear))
        # More or less of either stain, but no third one: all pixels stay in the plane of both.
        third = np.cross(*estimate_stains(smear))
        density = -np.log(np.maximum(levels(changed), 1) / 255)
        assert np.abs(density @ third / np.linalg.norm(third)).mean() < 0.02

    @pytest.mark.parametrize("level", [0, 120, 255])
    def test_an_image_without_two_stains_keeps_giemsas(self, level: int) -> None:
        flat = torch.full((3, 20, 20), level, dtype=torch.uint8)
        torch.manual_seed(0)
        changed = RandomStain(own=True)(flat)
        torch.manual_seed(0)
        assert torch.equal(changed, RandomStain()(flat))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"factor": (-1, 1)}, r"factor=\(-1, 1\) cannot be used; give 0.01 or more, each"),
            ({"strength": (2, 1)}, r"strength=\(2, 1\) is no range"),
            ({"offset": -0.1}, "offset=-0.1 cannot be used; give 0 or more"),
        ],
    )
    def test_bad_ranges(self, options: dict[str, float], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            RandomStain(**options)
