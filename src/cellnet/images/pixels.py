"""Pictures in memory, of whatever type and range, to 8-bit RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from cellnet.errors import ImageError

# Modes whose pixels go on as they are: Pillow's own conversion would clip 16-bit and float values.
_SCALED_HERE = {"RGB", "L", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}


def to_uint8_rgb(image: Image.Image | NDArray[Any] | Tensor) -> Tensor:
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
            return from_pil(image)
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


def from_pil(image: Image.Image) -> Tensor:
    """A PIL image of any mode, upright, as uint8 3×H×W; what Pillow raises is passed on."""
    # exif_transpose and convert copy the pixels even where there is nothing to do.
    if not is_upright(image):
        image = ImageOps.exif_transpose(image)
    if image.has_transparency_data and not image.mode.startswith("I"):
        image = image.convert("RGBA")
    elif image.mode not in _SCALED_HERE:
        image = image.convert("RGB")
    return _from_hwc(np.asarray(image))


def is_upright(image: Image.Image) -> bool:
    """Whether its EXIF orientation is that of its pixels."""
    return bool(image.getexif().get(ExifTags.Base.Orientation, 1) == 1)


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
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


def _from_hwc(array: NDArray[Any]) -> Tensor:
    pixels = _scale_to_uint8(array)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3:].astype(np.float32) / 255
        pixels = np.rint(pixels[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return torch.from_numpy(np.array(pixels, order="C")).permute(2, 0, 1)


def _scale_to_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
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
