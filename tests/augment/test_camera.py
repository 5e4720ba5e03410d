"""`cellnet.augment.camera`: torchvision blurs, Pillow compresses."""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from cellnet.augment import RandomBlur, RandomJpeg, blur, jpeg
from cellnet.errors import ConfigError, ImageError


def distance(a: torch.Tensor, b: torch.Tensor) -> int:
    return int((a.int() - b.int()).abs().max())


class TestBlur:
    @pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
    def test_agrees_with_torchvision(self, sigma: float, image: torch.Tensor) -> None:
        side = 2 * math.ceil(2 * sigma) + 1
        assert distance(blur(image, sigma), F.gaussian_blur(image, [side, side], [sigma, sigma])) <= 1

    def test_none_is_none(self, image: torch.Tensor) -> None:
        assert torch.equal(blur(image, 0), image)

    def test_a_kernel_larger_than_the_image(self) -> None:
        flat = torch.full((3, 16, 16), 77, dtype=torch.uint8)
        assert torch.equal(blur(flat, 20), flat)

    @pytest.mark.parametrize("sigma", [-1, math.nan, 1000])
    def test_bad_widths(self, image: torch.Tensor, sigma: float) -> None:
        with pytest.raises(ConfigError, match=r"sigma=.* cannot be used; give 0 to 50"):
            blur(image, sigma)
        with pytest.raises(ConfigError, match="sigma="):
            RandomBlur((0, sigma))

    def test_a_float_image(self, image: torch.Tensor) -> None:
        with pytest.raises(ImageError, match="uint8"):
            blur(image / 255, 1)


class TestJpeg:
    @pytest.mark.parametrize("quality", [10, 50, 95])
    def test_loses_what_pillow_loses(self, quality: int, image: torch.Tensor) -> None:
        file = BytesIO()
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(file, "JPEG", quality=quality, subsampling=2)
        theirs = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
        # Not pixel by pixel: Pillow's encoder rounds its cosine transform more finely.
        losses = [float((result.float() - image.float()).abs().mean()) for result in (jpeg(image, quality), theirs)]
        assert losses[0] == pytest.approx(losses[1], rel=0.2)

    def test_low_quality_costs_more(self) -> None:
        image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
        errors = [float((jpeg(image, quality).int() - image.int()).abs().float().mean()) for quality in (10, 50, 100)]
        assert errors == sorted(errors, reverse=True)

    @pytest.mark.parametrize("quality", [0, 101, 50.0, True])
    def test_bad_qualities(self, image: torch.Tensor, quality: int) -> None:
        with pytest.raises(ConfigError, match=f"quality={quality} must be a whole number, 1"):
            jpeg(image, quality)

    def test_a_float_image(self, image: torch.Tensor) -> None:
        with pytest.raises(ImageError, match="uint8"):
            jpeg(image / 255, 50)


class TestRandom:
    def test_widths_keep_to_their_range(self) -> None:
        torch.manual_seed(0)
        point = torch.zeros(3, 33, 33, dtype=torch.uint8)
        point[:, 16, 16] = 255
        peaks = [int(RandomBlur((0.5, 2.0))(point).max()) for _ in range(100)]
        assert int(blur(point, 2.0).max()) <= min(peaks) < int(blur(point, 1.8).max()) + 1
        assert int(blur(point, 0.6).max()) <= max(peaks) <= int(blur(point, 0.5).max())

    def test_every_quality_is_drawn(self) -> None:
        torch.manual_seed(0)
        image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
        drawn = {RandomJpeg((40, 43))(image).contiguous().numpy().tobytes() for _ in range(60)}
        assert drawn == {jpeg(image, quality).contiguous().numpy().tobytes() for quality in range(40, 44)}

    @pytest.mark.parametrize("quality", [(0, 50), (50, 101), (60, 50), (1.5, 20)])
    def test_bad_qualities(self, quality: tuple[int, int]) -> None:
        with pytest.raises(ConfigError, match="quality="):
            RandomJpeg(quality)
