"""Images of one size to one batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from cellnet.errors import DataError


def stack_images(images: Iterable[Tensor], names: Sequence[str]) -> Tensor:
    """A batch of images, in the memory layout of the first one.

    Each image is copied as soon as it is there, while it is in the processor's cache and its memory can serve again.

    Args:
        images: N tensors of one shape and dtype.
        names: N names for the error message.

    Returns:
        N×C×H×W; channels-last in memory if the first image is.

    Raises:
        DataError: They differ in size or type; the message names two of them.

    Example:
        >>> stack_images([torch.zeros(3, 4, 5)] * 2, ["a", "b"]).shape
        torch.Size([2, 3, 4, 5])
    """
    batch = torch.empty((0, 3, 0, 0), dtype=torch.uint8)
    first = None
    for place, (name, image) in enumerate(zip(names, images, strict=True)):
        if first is None:
            first = image
            batch = _room(image, len(names))
        elif (image.shape, image.dtype) != (first.shape, first.dtype):
            raise DataError(
                f"{names[0]} is {first.dtype} {tuple(first.shape)} and {name} {image.dtype} {tuple(image.shape)}; "
                "images of one batch need one size: use .preload(Preprocess(image_size)), or a transform that "
                "brings them to one, such as Preprocess(image_size)."
            )
        batch[place] = image
    return batch


def _room(image: Tensor, count: int) -> Tensor:
    if image.ndim == 3 and image.stride(0) == 1:  # channels-last
        return image.new_empty((count, *image.shape[1:], len(image))).permute(0, 3, 1, 2)
    return image.new_empty((count, *image.shape))
