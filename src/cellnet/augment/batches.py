"""The same changes on whole batches, wherever these lie: what a GPU does many times faster than processes that load.

Each function does to image i what its namesake for one image does with the i-th numbers. Numbers lie on the CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def dihedral_batch(images: Tensor, quarter_turns: Tensor, mirror: Tensor) -> Tensor:
    """`dihedral` of each image, to the last pixel.

    Args:
        images: uint8 N×3×H×W.
        quarter_turns: int64 N, counter-clockwise; even where the sides differ.
        mirror: bool N.

    Returns:
        uint8 N×3×H×W.
    """
    result = torch.empty_like(images)
    for turns in range(4):
        for mirrored in (False, True):
            # Counted on the CPU, so that the device need not be waited for.
            rows = ((quarter_turns % 4 == turns) & (mirror == mirrored)).nonzero().flatten().to(images.device)
            if len(rows):
                some = images[rows].flip(-1) if mirrored else images[rows]
                result[rows] = torch.rot90(some, turns, (-2, -1))
    return result


def rotate_scale_batch(images: Tensor, angle: Tensor, scale: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
    """`rotate_scale` of each image, within 2 grey levels.

    Args:
        images: uint8 N×3×H×W.
        angle: Degrees, float N.
        scale: Factors, float N.
        shift: Shares of width and height, float N×2.
        mirror: bool N.

    Returns:
        uint8 N×3×H×W.
    """
    height, width = images.shape[-2:]
    cos, sin = torch.cos(torch.deg2rad(angle)) / scale, torch.sin(torch.deg2rad(angle)) / scale
    side, (right, down) = 1.0 - 2.0 * mirror, shift.unbind(1)
    # Where each place of the result comes from, both measured from the centre in halves of the sides.
    from_x = (cos, -sin * height / width, -2 * (cos * right - sin * down * height / width))
    from_y = (sin * width / height, cos, -2 * (sin * right * width / height + cos * down))
    source = torch.stack([side[:, None] * torch.stack(from_x, 1), torch.stack(from_y, 1)], 1).to(images.device)
    grid = F.affine_grid(source, list(images.shape), align_corners=False)
    return _to_bytes(F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False))


def linear_map(images: Tensor, linear: Tensor, of_mean: Tensor) -> Tensor:
    """Each colour multiplied by a matrix of its image, and moved by what the image's mean colour says.

    Args:
        images: uint8 N×3×H×W.
        linear: N×3×3.
        of_mean: N×3: its product with the mean colour is added to all three channels.

    Returns:
        uint8 N×3×H×W.
    """
    pixels = images.flatten(2).float()
    linear, of_mean = (each.to(device=images.device, dtype=torch.float32) for each in (linear, of_mean))
    moved = (of_mean * pixels.mean(2)).sum(1)[:, None, None]
    return _to_bytes(torch.baddbmm(moved, linear, pixels).view(images.shape))


def blur_batch(images: Tensor, sigma: Tensor) -> Tensor:
    """`blur` of each image, within 2 grey levels.

    Args:
        images: uint8 N×3×H×W.
        sigma: Standard deviations in pixels, float N.

    Returns:
        uint8 N×3×H×W.
    """
    count, channels, height, width = images.shape
    ends = torch.ceil(2 * sigma)[:, None]
    reach = int(ends.max())
    places = torch.arange(-reach, reach + 1)
    kernels = torch.exp(-0.5 * (places / sigma.clamp(min=1e-6)[:, None]) ** 2) * (places.abs() <= ends)
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(channels, 0).to(images.device)
    # Every channel of every image is a channel of its own, with a kernel of its own.
    pixels = images.reshape(1, count * channels, height, width).float()
    for axis, side in ((-1, width), (-2, height)):
        pixels = pixels.index_select(axis, _reflected(side, reach).to(images.device))
        shape = (-1, 1, 1, 2 * reach + 1) if axis == -1 else (-1, 1, 2 * reach + 1, 1)
        pixels = F.conv2d(pixels, kernels.view(shape), groups=count * channels)
    return _to_bytes(pixels.view(images.shape))


def _reflected(side: int, reach: int) -> Tensor:
    """Pixel numbers of a row that is continued by its mirror image about its first and its last pixel."""
    if side == 1:
        return torch.zeros(1 + 2 * reach, dtype=torch.int64)
    places = torch.arange(-reach, side + reach) % (2 * side - 2)
    return torch.minimum(places, 2 * side - 2 - places)


def _to_bytes(pixels: Tensor) -> Tensor:
    return pixels.round_().clamp_(0, 255).to(torch.uint8)
