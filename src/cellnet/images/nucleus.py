"""Where the nucleus is, by its stain alone."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from cellnet.errors import ImageError

_LEVELS = 256


def nucleus_masks(images: Tensor) -> Tensor:
    """Which pixels of each image are nucleus, found without annotation or training.

    The blue dyes of a Romanowsky stain, which nuclei bind, absorb red light; eosin and haemoglobin hardly do. So a
    nucleus is dark in the red channel, and Otsu's threshold (1979) of that channel parts it from all else. Neighbouring
    nuclei are found as well, and dark basophilic cytoplasm counts as nucleus.

    Args:
        images: uint8 B×3×H×W.

    Returns:
        bool B×H×W; nothing is nucleus in an image of one red level.

    Raises:
        ImageError: ``images`` is something else.

    Example:
        >>> image = torch.full((1, 3, 4, 4), 220, dtype=torch.uint8)
        >>> image[0, 0, 1:3, 1:3] = 90
        >>> nucleus_masks(image).sum()
        tensor(4)
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ImageError(f"Nuclei are sought in uint8 images B×3×H×W, not in {images.dtype} {tuple(images.shape)}.")
    red = images[:, 0].flatten(1).long()
    first = torch.arange(len(red), device=red.device)[:, None] * _LEVELS
    counts = torch.bincount((red + first).flatten(), minlength=_LEVELS * len(red)).view(len(red), _LEVELS).double()
    below = counts.cumsum(1)
    sums = (counts * torch.arange(_LEVELS, device=red.device)).cumsum(1)
    above = below[:, -1:] - below
    # The variance between the two groups, times the square of the number of pixels.
    gap = sums / below.clamp(min=1) - (sums[:, -1:] - sums) / above.clamp(min=1)
    threshold = (below * above * gap.square()).argmax(1)
    nothing = (counts > 0).sum(1) < 2
    return (images[:, 0] <= threshold[:, None, None]) & ~nothing[:, None, None]


def nucleus_share(images: Iterable[Tensor]) -> float:
    """How large cells look: the share of its image that a nucleus takes, the median over images.

    Of an even number of images it is the lower one of the two in the middle.

    Args:
        images: uint8 3×H×W each; many, so that the median is that of a laboratory and not of a few cells.

    Returns:
        0 to 1; NaN without images.

    Example:
        >>> image = torch.full((3, 4, 4), 220, dtype=torch.uint8)
        >>> image[0, 1:3, 1:3] = 90
        >>> nucleus_share([image])
        0.25
    """
    shares = [nucleus_masks(image[None]).float().mean() for image in images]
    return float(torch.stack(shares).median()) if shares else float("nan")
