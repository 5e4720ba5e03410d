"""Random changes that leave the class of a cell as it is, for training.

| preset   | one of eight flips and right angles | any angle, size × 0.8-1.25 | colour | blur      |
|----------|-------------------------------------|----------------------------|--------|-----------|
| `none`   |                                     |                            |        |           |
| `light`  | yes: no pixel is resampled          |                            |        |           |
| `strong` | yes                                 | yes                        | yes    | every 5th |

Colour is brightness, contrast and saturation, each × 0.8-1.2, and hue, ± 10 degrees; hue moves little, since
orange against violet granules is what tells an eosinophil from a basophil. A cell on a smear has no up
direction, so one rotation is as likely as another; what a rotation leaves empty is filled by reflection.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from cellnet.errors import ImageError
from cellnet.registry import check_name

# NTSC's luma and its two axes of chroma, whose length is saturation and whose direction is hue.
_RGB_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_YIQ_TO_RGB = torch.linalg.inv(_RGB_TO_YIQ)


class RandomDihedral(nn.Module):
    """One of the eight symmetries of the square; of the four of the rectangle where the sides differ."""

    def forward(self, image: Tensor) -> Tensor:
        """C×H×W of any dtype to the same shape."""
        turns, flip = int(torch.randint(4, ())), bool(torch.randint(2, ()))
        if image.shape[-2] != image.shape[-1]:
            turns = 2 * (turns % 2)
        image = torch.rot90(image, turns, (-2, -1))
        return (image.flip(-1) if flip else image).contiguous()


class RandomRotationScale(nn.Module):
    """Rotation about the centre by any angle, and a change of size.

    What comes in from outside is the reflected image: a flat fill would draw corners that no smear has.

    Args:
        scale: Least and greatest factor of size.
    """

    def __init__(self, scale: tuple[float, float] = (0.8, 1.25)) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, image: Tensor) -> Tensor:
        """uint8 C×H×W to the same shape."""
        return rotate_scale(image, angle=_uniform(0, 360), scale=_uniform(*self.scale))


class RandomColour(nn.Module):
    """Stain and light as they vary between smears and microscopes.

    Args:
        strength: Brightness, contrast and saturation are each multiplied by 1 - strength to 1 + strength.
        hue: Greatest turn of the hue in degrees, either way.
    """

    def __init__(self, strength: float = 0.2, hue: float = 10.0) -> None:
        super().__init__()
        self.strength = strength
        self.hue = hue

    def forward(self, image: Tensor) -> Tensor:
        """uint8 3×H×W to the same shape."""
        low, high = 1 - self.strength, 1 + self.strength
        return adjust_colour(
            image,
            brightness=_uniform(low, high),
            contrast=_uniform(low, high),
            saturation=_uniform(low, high),
            hue=_uniform(-self.hue, self.hue),
        )


class Augmentation(nn.Sequential):
    """A preset that `create_augmentation` made: uint8 3×H×W to uint8 of the same shape.

    It draws from torch's global generator, so ``torch.manual_seed`` repeats it, and data-loader workers,
    which torch seeds one by one, draw different changes.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Change one image at random.

        Raises:
            ImageError: Not uint8 3×H×W.
        """
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
            raise ImageError(
                f"Augmentation takes one uint8 3×H×W image, not {image.dtype} {tuple(image.shape)}; "
                "augment each image before it is batched and scaled."
            )
        for change in self:
            image = change(image)
        return image


def _light() -> Augmentation:
    return Augmentation(RandomDihedral())


def _strong() -> Augmentation:
    blur = v2.RandomApply([v2.GaussianBlur(kernel_size=5, sigma=(0.1, 1.5))], p=0.2)
    return Augmentation(RandomDihedral(), RandomRotationScale(), RandomColour(), blur)


PRESETS: dict[str, Callable[[], Augmentation]] = {"none": Augmentation, "light": _light, "strong": _strong}
"""Name of each preset, weakest first, and what makes it."""


def create_augmentation(name: str) -> Augmentation:
    """The augmentation preset called ``name``: ``"none"``, ``"light"`` or ``"strong"``.

    Returns:
        A picklable callable, uint8 3×H×W to uint8 of the same shape.

    Raises:
        UnknownNameError: No such preset.

    Example:
        >>> augment = create_augmentation("strong")
        >>> augment(torch.zeros(3, 64, 64, dtype=torch.uint8)).shape
        torch.Size([3, 64, 64])
    """
    return PRESETS[check_name("augmentation", name, PRESETS)]()


def rotate_scale(image: Tensor, *, angle: float, scale: float) -> Tensor:
    """Rotate about the centre and change the size; the frame is filled by reflection.

    Args:
        image: uint8 C×H×W.
        angle: Degrees, counter-clockwise.
        scale: Factor of size; above 1 the cell grows.

    Returns:
        uint8 of the same shape, bilinear.
    """
    height, width = image.shape[-2:]
    cos = math.cos(math.radians(angle)) / scale
    sin = math.sin(math.radians(angle)) / scale
    # The grid runs from -1 to 1 along either side, so the longer side's steps are shorter.
    matrix = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
    pixels = image[None].float()
    grid = F.affine_grid(pixels.new_tensor([matrix]), list(pixels.shape), align_corners=False)
    pixels = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return _to_uint8(pixels[0])


def adjust_colour(
    image: Tensor,
    *,
    brightness: float = 1.0,
    contrast: float = 1.0,
    saturation: float = 1.0,
    hue: float = 0.0,
) -> Tensor:
    """Change colours by one linear map, several times faster than by way of HSV.

    Saturation stretches the chroma plane of YIQ and hue turns it, which leaves the luma of each pixel as it
    is; contrast then scales about the image's mean luma, and brightness about black. After Haeberli, "Matrix
    Operations for Image Processing" (1993).

    Args:
        image: uint8 3×H×W.
        brightness: Factor; 1 changes nothing.
        contrast: Factor; 0 gives uniform grey.
        saturation: Factor; 0 gives a grey image.
        hue: Degrees; positive turns red towards yellow.

    Returns:
        uint8 of the same shape.
    """
    cos = saturation * math.cos(math.radians(hue))
    sin = saturation * math.sin(math.radians(hue))
    chroma = torch.tensor([[1.0, 0.0, 0.0], [0.0, cos, sin], [0.0, -sin, cos]])
    matrix = (_YIQ_TO_RGB @ chroma @ _RGB_TO_YIQ).to(image.device)
    pixels = image.flatten(1).float()
    mean_luma = torch.dot(_RGB_TO_YIQ[0].to(image.device), pixels.mean(dim=1))
    pixels = brightness * (contrast * (matrix @ pixels) + (1 - contrast) * mean_luma)
    return _to_uint8(pixels).view(image.shape)


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _to_uint8(pixels: Tensor) -> Tensor:
    return pixels.round_().clamp_(0, 255).to(torch.uint8)
