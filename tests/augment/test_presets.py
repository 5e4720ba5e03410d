"""`cellnet.augment.presets`: labels survive, shapes and types stay, and a seed repeats every pixel."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet.augment import (
    PRESETS,
    Augmentation,
    RandomBlur,
    RandomColour,
    RandomCutOut,
    RandomDihedral,
    RandomJpeg,
    RandomLab,
    RandomRotationScale,
    RandomStain,
    Sometimes,
    create_augmentation,
)
from cellnet.errors import ConfigError, ImageError, UnknownNameError

EVERY = [
    *map(create_augmentation, PRESETS),
    RandomDihedral(),
    RandomRotationScale(shift=0.1),
    RandomColour(balance=0.1),
    RandomStain(),
    RandomStain(own=True),
    RandomLab(),
    RandomBlur(),
    RandomJpeg(),
    RandomCutOut(),
    Sometimes(RandomBlur(), 0.5, otherwise=RandomDihedral()),
]
NAMES = [*PRESETS, *(repr(change) for change in EVERY[len(PRESETS) :])]
every_change = pytest.mark.parametrize("augment", EVERY, ids=NAMES)


@every_change
class TestEveryChange:
    @pytest.mark.parametrize("shape", [(3, 32, 32), (3, 24, 40), (3, 17, 17), (3, 16, 16)])
    def test_type_and_shape_stay(self, augment: Augmentation, shape: tuple[int, ...]) -> None:
        given = torch.randint(0, 256, shape, dtype=torch.uint8)
        before = given.clone()
        for _ in range(10):
            result = augment(given)
            assert result.dtype == torch.uint8
            assert result.shape == shape
        assert torch.equal(given, before)

    def test_the_global_seed_repeats_it(self, augment: Augmentation, image: torch.Tensor) -> None:
        torch.manual_seed(3)
        first = [augment(image) for _ in range(6)]
        torch.manual_seed(3)
        np.random.seed(7)  # noqa: NPY002
        random.seed(7)
        assert all(torch.equal(augment(image), one) for one in first)

    def test_no_other_generator_is_touched(self, augment: Augmentation, image: torch.Tensor) -> None:
        numpy_state, python_state = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
        augment(image)
        assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
        assert random.getstate() == python_state

    def test_the_layout_in_memory_does_not_matter(self, augment: Augmentation, image: torch.Tensor) -> None:
        torch.manual_seed(0)
        expected = augment(image)
        torch.manual_seed(0)
        assert torch.equal(augment(image.permute(1, 2, 0).contiguous().permute(2, 0, 1)), expected)

    def test_pickles_for_worker_processes(self, augment: Augmentation, image: torch.Tensor) -> None:
        copy = pickle.loads(pickle.dumps(augment))
        torch.manual_seed(0)
        expected = augment(image)
        torch.manual_seed(0)
        assert torch.equal(copy(image), expected)


class TestPresets:
    def test_weakest_first(self) -> None:
        assert list(PRESETS) == ["none", "light", "strong", "mixed", "domain"]

    def test_none_changes_nothing(self, image: torch.Tensor) -> None:
        assert torch.equal(create_augmentation("none")(image), image)

    def test_light_only_moves_pixels(self, image: torch.Tensor) -> None:
        augment = create_augmentation("light")
        results = [augment(image) for _ in range(200)]
        for result in results:
            assert torch.equal(result.flatten(1).sort().values, image.flatten(1).sort().values)
        assert len({result.contiguous().numpy().tobytes() for result in results}) == 8

    @pytest.mark.parametrize("name", ["strong", "domain"])
    def test_never_the_same_twice(self, name: str, image: torch.Tensor) -> None:
        augment = create_augmentation(name)
        assert len({augment(image).contiguous().numpy().tobytes() for _ in range(20)}) == 20

    @pytest.mark.parametrize("value", [0, 255])
    def test_extremes_do_not_wrap_around(self, value: int) -> None:
        augment = create_augmentation("strong")
        flat = torch.full((3, 32, 32), value, dtype=torch.uint8)
        for _ in range(30):
            assert int((augment(flat).int() - value).abs().max()) <= 0.2 * 255 + 1

    @pytest.mark.parametrize("name", ["strong", "domain"])
    def test_the_cell_stays_in_the_picture(self, name: str) -> None:
        torch.manual_seed(0)
        image = torch.full((3, 64, 64), 230, dtype=torch.uint8)
        image[:, 22:42, 22:42] = torch.tensor([100, 50, 140], dtype=torch.uint8).view(3, 1, 1)
        augment = create_augmentation(name)
        for _ in range(50):
            green = augment(image)[1].float()
            # The dark cell covers the centre and leaves background; both stay as they are to each other.
            assert float(green[28:36, 28:36].mean()) < float(green.max()) - 20
            dark = (green < (green.min() + green.max()) / 2).float().mean()
            assert 0.02 < float(dark) < 0.6

    def test_domain_reaches_another_microscopes_light(self) -> None:
        torch.manual_seed(0)
        yellow = torch.tensor([230, 206, 183], dtype=torch.uint8).view(3, 1, 1).expand(3, 16, 16)
        lights = {
            name: torch.stack([create_augmentation(name)(yellow).float().mean((1, 2)) for _ in range(200)])
            for name in ("strong", "domain")
        }
        # The background of one laboratory is yellow, of another one grey or bluish: red no more above blue.
        share = {name: float((light[:, 0] <= light[:, 2] + 5).float().mean()) for name, light in lights.items()}
        assert share["strong"] == 0
        assert share["domain"] > 0.05

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
        ids=["float", "batch", "channels last", "no channels"],
    )
    @pytest.mark.parametrize("name", PRESETS)
    def test_wrong_tensors(self, name: str, given: torch.Tensor) -> None:
        with pytest.raises(ImageError, match="one uint8 3×H×W image"):
            create_augmentation(name)(given)

    @given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
    @settings(max_examples=40, deadline=None)
    def test_any_size_and_seed(self, height: int, width: int, seed: int) -> None:
        torch.manual_seed(seed)
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
        assert create_augmentation("domain")(image).shape == image.shape


class TestOfYourOwn:
    def test_changes_come_in_order(self) -> None:
        image = torch.full((3, 2, 2), 10, dtype=torch.uint8)
        augment = Augmentation((lambda image: image + 1, lambda image: image * 2))
        assert augment(image).unique().tolist() == [22]

    def test_sometimes_is_a_share_of_the_images(self) -> None:
        torch.manual_seed(0)
        image = torch.zeros(3, 2, 2, dtype=torch.uint8)
        change = Sometimes(lambda image: image + 1, 0.3)
        # Four standard errors: sqrt(0.3 × 0.7 / 2000) is 0.0102.
        assert float(torch.stack([change(image) for _ in range(2000)]).float().mean()) == pytest.approx(0.3, abs=0.041)

    def test_a_share_above_one(self) -> None:
        with pytest.raises(ConfigError, match=r"probability=1.2 cannot be used; give 0 to 1"):
            Sometimes(RandomBlur(), 1.2)

    def test_it_shows_what_it_does(self) -> None:
        assert repr(Augmentation((Sometimes(RandomBlur((0.5, 1)), 0.1),))) == (
            "Augmentation(changes=(Sometimes(change=RandomBlur(sigma=(0.5, 1)), probability=0.1, otherwise=None),))"
        )
