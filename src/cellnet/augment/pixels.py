"""Between torch's 3×H×W and OpenCV's H×W×3: the same memory, seen from two sides."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from cellnet.errors import ImageError

Pixels = npt.NDArray[np.uint8]
"""H×W×3, contiguous."""


def check_image(image: Tensor) -> None:
    """Refuse what is not one image.

    Raises:
        ImageError: Not uint8 3×H×W on the CPU, or without pixels.
    """
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3 or not image.numel() or not image.is_cpu:
        raise ImageError(
            f"Augmentation takes one uint8 3×H×W image on the CPU, not {image.dtype} {tuple(image.shape)} on "
            f"{image.device}; augment each image before it is batched and scaled."
        )


def to_array(image: Tensor) -> Pixels:
    """The pixels of an image for OpenCV: a view where they lie channels-last, as decoded images do, else a copy.

    Raises:
        ImageError: As `check_image`.
    """
    check_image(image)
    if get_worker_info() is not None:
        _stay_on_one_core()
    array = image.permute(1, 2, 0).numpy()
    if not array.flags.c_contiguous:
        # Merging the planes is some 30 times faster than NumPy's strided copy.
        array = cv2.merge(list(image.numpy()))
    return np.asarray(array, np.uint8)


def to_tensor(array: npt.NDArray[np.generic]) -> Tensor:
    """OpenCV's result as a tensor 3×H×W whose memory lies channels-last; nothing is copied."""
    return torch.from_numpy(array).permute(2, 0, 1)


@cache
def _stay_on_one_core() -> None:
    """Let OpenCV compute in the calling thread alone, in this process.

    Only called in data-loader workers, which share the cores already; torch, too, gives each of them one thread.
    """
    cv2.setNumThreads(0)
