"""Drawing soft round things with NumPy: fields of balls, edges, noise, dyes. Used by `SyntheticCells`.

Lengths are in half-widths of the image; the image spans -1 to 1 on both axes.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float32]
RGB = tuple[int, int, int]

BACKGROUND: RGB = (252, 230, 210)
"""Colour of the empty smear, against which optical densities are meant."""

_SHARPNESS = 2.0
"""How little neighbouring balls melt into each other."""


@lru_cache(maxsize=8)
def pixel_axis(size: int) -> Array:
    """Centres of ``size`` pixels between -1 and 1."""
    return ((np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1).astype(np.float32)


def depth(balls: Array, axis: Array, scale: float) -> Array:
    """How deep each pixel lies inside a union of balls that melt together where they touch.

    A sum of Gaussians ("metaballs"); each is a product of one of x and one of y, so that all balls together
    cost one matrix product.

    Args:
        balls: K×3, x, y and radius of each.
        axis: Pixel centres, see `pixel_axis`.
        scale: Typical radius of the balls.

    Returns:
        S×S; close to the distance from the edge where that is small: above 0 inside, below 0 outside.
    """
    x, y, radius = balls.T[:, :, None].astype(np.float32)
    across = np.exp(-_SHARPNESS * ((axis - x) / radius) ** 2)
    down = np.exp(-_SHARPNESS * ((axis - y) / radius) ** 2)
    level = np.log(down.T @ across + np.float32(1e-30)) / np.float32(_SHARPNESS)
    return np.asarray((1 + level) * np.float32(scale / 2), np.float32)


def edge(inside: Array, blur: float) -> Array:
    """A mask, 0 to 1, that changes over the width ``blur`` where ``inside`` changes sign."""
    return np.asarray(np.clip(inside / np.float32(blur) + np.float32(0.5), 0, 1), np.float32)


@lru_cache(maxsize=32)
def _upsampling(size: int, cells: int) -> Array:
    """Cubic (Catmull-Rom) interpolation from ``cells + 3`` values to ``size`` pixels, as a matrix."""
    place = (np.arange(size) + 0.5) * cells / size
    whole = place.astype(int)
    t = place - whole
    weights = (
        (-t + 2 * t**2 - t**3) / 2,
        (2 - 5 * t**2 + 3 * t**3) / 2,
        (t + 4 * t**2 - 3 * t**3) / 2,
        (-(t**2) + t**3) / 2,
    )
    matrix = np.zeros((size, cells + 3), np.float32)
    for shift, weight in enumerate(weights):
        matrix[np.arange(size), whole + shift] = weight
    return matrix


def noise(rng: Generator, size: int, cells: int) -> Array:
    """Smooth noise of mean 0 and deviation near 1 with about ``cells`` hills across the image."""
    matrix = _upsampling(size, cells)
    return np.asarray(matrix @ rng.standard_normal((cells + 3, cells + 3), np.float32) @ matrix.T, np.float32)


def optical_density(colour: RGB) -> Array:
    """What a dye takes from each colour of the light: -ln(colour / background)."""
    return -np.log(np.array(colour, np.float32) / np.array(BACKGROUND, np.float32))


def paint(density: Array, mask: Array, colour: RGB, strength: Array | float = 1.0) -> None:
    """Lay a colour over the densities 3×S×S, in place, where ``mask`` is above 0."""
    density += mask * (optical_density(colour)[:, None, None] * strength - density)


def arc(rng: Generator, balls: int, angle: float, distance: float, radius: float) -> Array:
    """Balls on an arc about the centre, turned at random, of slightly different sizes and distances."""
    turn = rng.uniform(0, 2 * math.pi) + np.linspace(-angle / 2, angle / 2, balls)
    away = distance * rng.uniform(0.9, 1.1, balls)
    sizes = radius * rng.uniform(0.92, 1.1, balls)
    return np.stack([away * np.cos(turn), away * np.sin(turn), sizes], axis=1).astype(np.float32)


def scatter(rng: Generator, count: int, radius: float) -> Array:
    """Small balls all over a disc of radius 1."""
    turn = rng.uniform(0, 2 * math.pi, count)
    away = np.sqrt(rng.uniform(0, 0.92, count))
    sizes = radius * rng.uniform(0.75, 1.3, count)
    return np.stack([away * np.cos(turn), away * np.sin(turn), sizes], axis=1).astype(np.float32)


def place(balls: Array, radius: float, centre: Array) -> Array:
    """Balls given in a cell of radius 1, moved to a cell of this radius and centre."""
    return np.concatenate([balls[:, :2] * radius + centre, balls[:, 2:] * radius], axis=1).astype(np.float32)


def red_cells(rng: Generator, axis: Array, centre: Array, radius: float, blur: float) -> Array:
    """Thickness of the red cells that lie around a cell: about 1 at their rim, less in their pale middle."""
    size, pale = rng.uniform(0.24, 0.3), rng.uniform(0.3, 1)
    thickness = np.zeros((len(axis), len(axis)), np.float32)
    taken = [(*centre, 1.25 * radius)]
    for x, y in rng.uniform(-1.15, 1.15, (int(rng.integers(8, 24)), 2)):
        own = size * rng.uniform(0.85, 1.1)
        if any(math.hypot(x - a, y - b) < 0.8 * (r + own) for a, b, r in taken):
            continue
        taken.append((x, y, own))
        stretch = rng.uniform(0.92, 1.08)
        columns, rows = (slice(*np.searchsorted(axis, (c - 1.3 * own, c + 1.3 * own))) for c in (x, y))
        across, down = (axis[columns] - x) * stretch, (axis[rows] - y) / stretch
        distance = np.sqrt(across**2 + down[:, None] ** 2)
        dimple = pale * rng.uniform(0.8, 1) * np.exp(-((distance / (0.5 * own)) ** 4))
        thickness[rows, columns] += edge(own - distance, 1.5 * blur) * (1 - dimple)
    return thickness
