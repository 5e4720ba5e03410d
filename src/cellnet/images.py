"""From any image to one kind of tensor: uint8 RGB, 3×H×W; then to the square that a model wants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from cellnet.cards import Card
from cellnet.errors import ConfigError, DataError, ImageError
from cellnet.registry import check_name

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""File suffixes, in lower case, that `list_images` takes for images."""

MAX_PIXELS = 89_478_485
"""Larger images are refused: a slide, or a decompression bomb. The figure is Pillow's own warning level."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

INTERPOLATIONS = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "nearest": InterpolationMode.NEAREST_EXACT,
}

# A closed list: some of Pillow's other plug-ins start programs (EPS runs Ghostscript).
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")

# Modes whose pixels go on as they are: Pillow's own conversion would clip 16-bit and float values.
_SCALED_HERE = {"RGB", "L", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}

_NOT_IMAGES = {
    b"<": " but a web page or XML",
    b"%PDF": " but a PDF",
    b"PK\x03\x04": " but a ZIP archive",
    b"version https://git-lfs": " but a Git LFS pointer (run 'git lfs pull')",
    b"": " or has a damaged header",
}


def decode(source: str | Path | bytes) -> Tensor:
    """Decode the first frame of an image file, upright, as 8-bit RGB.

    EXIF orientation is applied, transparency is laid over white, 16-bit values are scaled by 255/65535,
    and an embedded colour profile is not applied. Reads BMP, GIF, JPEG, PNG, TIFF and WebP.

    Args:
        source: A path, or the bytes of a file.

    Returns:
        uint8 tensor 3×H×W, values 0-255. Its memory lies channels-last, from which resizing is fastest.

    Raises:
        ImageError: The file is missing, empty, not an image, truncated or otherwise damaged, or larger
            than ``MAX_PIXELS``; the message names the file and the cause.

    Example:
        >>> png = BytesIO()
        >>> Image.new("RGB", (4, 2), "red").save(png, "PNG")
        >>> decode(png.getvalue())[:, 0, 0]
        tensor([255,   0,   0], dtype=torch.uint8)
    """
    if isinstance(source, bytes):
        return _decode(source, "The given file")
    return _decode(_read(Path(source)), str(source))


def to_uint8_rgb(image: Image.Image | npt.NDArray[Any] | Tensor) -> Tensor:
    """Turn a picture held in memory into 8-bit RGB, by the rules of `decode`.

    Args:
        image: A PIL image of any mode; or an array or tensor H×W, H×W×C or C×H×W with 1 (grey), 3 (RGB) or
            4 (RGBA) channels of bool, uint8 (0-255), uint16 (0-65535) or float (0-1).

    Returns:
        uint8 tensor 3×H×W on the CPU; it never shares memory with ``image``.

    Raises:
        ImageError: Another type, shape, dtype or range; the message says what to pass instead.

    Example:
        >>> to_uint8_rgb(np.array([[0.0, 0.5, 1.0]]))[0]
        tensor([[  0, 128, 255]], dtype=torch.uint8)
    """
    if isinstance(image, Image.Image):
        try:
            return _from_pil(image)
        except ImageError:
            raise
        except Exception as error:  # a lazily opened file is read only here; see `decode`
            raise ImageError(f"The PIL image cannot be read ({error}); open the file anew.") from error
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
    if not isinstance(image, np.ndarray):
        raise ImageError(f"A {type(image).__name__} is not an image; pass a PIL image, an array or a tensor.")
    return _from_hwc(_channels_last(image))


def list_images(folder: str | Path) -> list[Path]:
    """All image files in a folder and its subfolders, sorted; hidden files and folders are skipped.

    Raises:
        DataError: No such folder, or no image in it.
    """
    root = Path(folder)
    if not root.is_dir():
        reason = "It is a file, not a folder" if root.exists() else "No such folder"
        raise DataError(f"{reason}: {root}; give a folder that holds images.")
    files = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
    )
    if not files:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"No image in {root} or its subfolders; looked for files ending in {suffixes}.")
    return files


@dataclass(frozen=True)
class Preprocess(Card):
    """A centred square crop and a resize: from an image of any size to the square that a model wants.

    Args:
        image_size: Side of the result in pixels, at least 16.
        crop: Share of the shorter side that the crop keeps, in (0, 1].
        interpolation: ``"bilinear"``, ``"bicubic"`` or ``"nearest"``; the first two are antialiased.
        mean: Mean of each channel on a scale of 0-1. Only carried: the model normalises.
        std: Standard deviation of each channel, likewise.

    Raises:
        ConfigError: A value out of range.
        UnknownNameError: An unknown interpolation.

    Example:
        >>> preprocess = Preprocess(128, crop=0.9)
        >>> preprocess(torch.zeros(3, 363, 360, dtype=torch.uint8)).shape
        torch.Size([3, 128, 128])
        >>> Preprocess.from_dict(preprocess.to_dict()) == preprocess
        True
    """

    image_size: int
    crop: float = 1.0
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if type(self.image_size) is not int or self.image_size < 16:
            raise ConfigError(f"image_size={self.image_size!r} must be a whole number of at least 16 pixels.")
        if not _is_number(self.crop) or not 0 < self.crop <= 1:
            raise ConfigError(f"crop={self.crop!r} must be above 0 and at most 1, the whole shorter side.")
        check_name("interpolation", self.interpolation, INTERPOLATIONS)
        for field in ("mean", "std"):
            value = getattr(self, field)
            if not isinstance(value, tuple | list) or len(value) != 3 or not all(map(_is_number, value)):
                raise ConfigError(f"{field}={value!r} must be three numbers, one each for red, green and blue.")
            object.__setattr__(self, field, tuple(map(float, value)))
        if min(self.std) <= 0:
            raise ConfigError(f"std={self.std!r} must be above 0 in each channel; the model divides by it.")

    def __call__(self, image: Tensor) -> Tensor:
        """Crop and resize.

        Args:
            image: uint8 3×H×W, or a batch N×3×H×W.

        Returns:
            uint8 3×S×S (or N×3×S×S), contiguous. The pixels are untouched where the crop has that size.

        Raises:
            ImageError: Another dtype or shape.
        """
        if image.dtype != torch.uint8 or image.ndim < 3 or image.shape[-3] != 3 or image.numel() == 0:
            raise ImageError(
                f"Preprocess takes uint8 3×H×W, not {image.dtype} {tuple(image.shape)}; "
                "call cellnet.images.to_uint8_rgb first."
            )
        side = max(1, round(self.crop * min(image.shape[-2:])))
        image = F.center_crop(image, [side, side])
        if side != self.image_size:
            image = F.resize(image, [self.image_size] * 2, INTERPOLATIONS[self.interpolation], antialias=True)
        return image.contiguous()


def _read(path: Path) -> bytes:
    try:
        if path.is_file():  # a pipe or a device might never end
            return path.read_bytes()
        reason = "is a folder" if path.is_dir() else "is no file" if path.exists() else "does not exist"
    except (OSError, ValueError) as error:
        reason = f"cannot be read ({error})"
    raise ImageError(f"{path} {reason}; give the path of an image file.")


def _decode(data: bytes, name: str) -> Tensor:
    if not data:
        raise ImageError(f"{name} is empty (0 bytes); copy or download it again.")
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            return _from_pil(image)
    except UnidentifiedImageError as error:
        start = data[:64].lstrip()
        hint = next(words for magic, words in _NOT_IMAGES.items() if start.startswith(magic))
        raise ImageError(f"{name} is not an image{hint}; give a {'/'.join(_FORMATS)} file.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} has more than {MAX_PIXELS / 1e6:.0f} million pixels; cut single cells out of it first."
        ) from error
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # Pillow's readers raise whatever a damaged header leads them to
        raise ImageError(f"{name} cannot be decoded ({error}); copy or download it again.") from error


def _from_pil(image: Image.Image) -> Tensor:
    # exif_transpose and convert copy the pixels even where there is nothing to do.
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.has_transparency_data and not image.mode.startswith("I"):
        image = image.convert("RGBA")
    elif image.mode not in _SCALED_HERE:
        image = image.convert("RGB")
    return _from_hwc(np.asarray(image))


def _channels_last(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.ndim == 2 and array.size:
        return array
    if array.ndim == 3 and array.size:
        first, last = array.shape[0] in (1, 3, 4), array.shape[2] in (1, 3, 4)
        if first and last:
            raise ImageError(f"The shape {array.shape} may mean H×W×C or C×H×W; pass a PIL image instead.")
        if first or last:
            return array if last else array.transpose(1, 2, 0)
    hint = "; pass one image of the batch at a time" if array.ndim == 4 else ""
    raise ImageError(f"The shape {array.shape} is not H×W, H×W×C or C×H×W with C = 1, 3 or 4{hint}.")


def _from_hwc(array: npt.NDArray[Any]) -> Tensor:
    pixels = _scale_to_uint8(array)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3:].astype(np.float32) / 255
        pixels = np.rint(pixels[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return torch.from_numpy(np.array(pixels, order="C")).permute(2, 0, 1)


def _scale_to_uint8(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:  # in either byte order
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):  # NaN fails too
            raise ImageError(
                f"Float pixels must lie in 0-1, these span {array.min():g} to {array.max():g}; "
                "divide by their full range, or pass uint8."
            )
        return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    raise ImageError(
        f"Pixels of type {array.dtype} have no agreed range; pass uint8 (0-255), uint16 (0-65535) or floats (0-1)."
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
