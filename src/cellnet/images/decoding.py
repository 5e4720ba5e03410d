"""Files of images to pixels: whole and as stored, or one clear error.

Pillow reads the header of every file and the pixels of most. Those of plain JPEGs are read by simplejpeg, which binds
the same libjpeg-turbo: the same pixels in less time, and any damage that the library notices is an error, where Pillow
reports only what stops it altogether.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TypeGuard

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from cellnet.errors import ImageError
from cellnet.images.pixels import from_pil, is_upright

MAX_PIXELS = 89_478_485
"""Larger images are refused: a slide, or a decompression bomb. The figure is Pillow's own warning level."""

MAX_SCANS = 100
"""JPEGs with more passes over the image are refused: cameras need at most ten or so, a bomb takes thousands."""

# A closed list: some of Pillow's other plug-ins start programs (EPS runs Ghostscript).
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")

_START_OF_SCAN = b"\xff\xda\x00"  # with the upper byte of the segment's length, which is always 0

_NOT_IMAGES = {
    b"<": " but a web page or XML",
    b"%PDF": " but a PDF",
    b"PK\x03\x04": " but a ZIP archive",
    b"version https://git-lfs": " but a Git LFS pointer (run 'git lfs pull')",
    b"": " or has a damaged header",
}


def decode(source: str | Path | bytes) -> Tensor:
    """Decode the first frame of an image file, upright, as 8-bit RGB.

    EXIF orientation is applied, transparency is laid over white, 16-bit grey values are scaled by 255/65535, 16-bit
    colours keep their upper bytes (Pillow reads no more of them), and an embedded colour profile is not applied. Reads
    BMP, GIF, JPEG, PNG, TIFF and WebP.

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
            if isinstance(image, JpegImageFile) and data.count(_START_OF_SCAN) > MAX_SCANS:
                raise ImageError(f"A JPEG of more than {MAX_SCANS} scans is no photograph; save it anew.")
            if _is_plain_jpeg(image):
                return torch.from_numpy(_read_jpeg(data, image)).permute(2, 0, 1)
            if image.format == "PNG":  # decoding alone compares no checksum of the pixels
                Image.open(BytesIO(data), formats=("PNG",)).verify()
            return from_pil(image)
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


def _is_plain_jpeg(image: ImageFile) -> TypeGuard[JpegImageFile]:
    """Whether the image is an upright grey or colour JPEG: nothing that Pillow would do to it after decoding."""
    if not isinstance(image, JpegImageFile) or image.mode not in ("L", "RGB"):
        return False
    return "APP1" not in image.app or is_upright(image)  # the segment of EXIF and XMP


def _read_jpeg(data: bytes, image: JpegImageFile) -> NDArray[np.uint8]:
    """The pixels H×W×3.

    Raises:
        ValueError: The decoder noticed damage, however small.
    """
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", strict=True)
    if pixels.shape[:2] != (image.height, image.width):
        raise ValueError(f"its headers state {image.width}×{image.height} and {pixels.shape[1]}×{pixels.shape[0]}")
    return pixels
