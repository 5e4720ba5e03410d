"""Drawn blood cells: data for tests, tutorials and trials, made in a moment and without a download."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from cellnet.cards import DatasetCard
from cellnet.datasets import drawing
from cellnet.datasets.base import CellDataset
from cellnet.datasets.drawing import RGB, Array, arc, depth, edge, noise, paint, place, scatter
from cellnet.errors import ConfigError
from cellnet.labels import PBC_LABELS


class SyntheticCells(CellDataset):
    """Drawn cells of PBC's eight classes, held in memory: caricatures by the textbook.

    Classes differ in size, nuclear shape, granules and colours; position, rotation, size, stain, sharpness
    and neighbours vary. A cell depends on ``seed``, its class and its number alone: a larger ``per_class``
    adds cells to the same ones.

    Args:
        per_class: Number of images of each class.
        image_size: Side of the square images in pixels, at least 16.
        seed: Seed of the drawing.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.

    Raises:
        ConfigError: A value that is not an integer in its range.

    Example:
        >>> cells = SyntheticCells(per_class=2, image_size=32)
        >>> image, label = cells[0]
        >>> image.shape, label, len(cells)
        (torch.Size([3, 32, 32]), 0, 16)
    """

    card = DatasetCard(
        name="synthetic",
        title="Synthetic cells",
        description="Drawn caricatures of PBC's eight classes, for tests and trials.",
        source="cellnet",
        licence="Apache-2.0",
        known_defects=("figures measured on drawn cells say nothing about real ones",),
    )

    def __init__(
        self,
        per_class: int = 50,
        image_size: int = 64,
        seed: int = 0,
        transform: Callable[[Tensor], Any] | None = None,
    ) -> None:
        for name, value, least in (
            ("per_class", per_class, 1),
            ("image_size", image_size, 16),
            ("seed", seed, 0),
        ):
            if not isinstance(value, (int, np.integer)) or value < least:
                raise ConfigError(f"{name}={value!r} cannot be used; give an integer of at least {least}.")
        targets = np.repeat(np.arange(len(_LOOKS)), per_class)
        images = np.empty((len(targets), 3, image_size, image_size), np.uint8)
        files = []
        for row, label in enumerate(targets.tolist()):
            number = row % per_class
            images[row] = _draw(_LOOKS[label], image_size, np.random.default_rng([seed, label, number]))
            files.append(f"{PBC_LABELS.names[label]}_{number:05d}")
        super().__init__(files, targets, PBC_LABELS, images=images, transform=transform)


@dataclass(frozen=True)
class _Look:
    """What cells of one class look like; lengths but ``radius`` and ``granule_radius`` in radii of the cell.

    Args:
        radius: Smallest and largest radius of the cell, in half-widths of the image.
        cytoplasm: Its colour.
        nucleus: Its colour.
        shape: Draws the nucleus, as balls (x, y, radius).
        clumping: Contrast of the chromatin.
        granules: Number of granules.
        granule: Their colour.
        granule_radius: Their radius, in half-widths of the image.
        over_nucleus: How strongly they cover the nucleus, 0 to 1.
        vacuoles: Largest number of vacuoles.
        lumps: Irregularity of the outline.
    """

    radius: tuple[float, float]
    cytoplasm: RGB
    nucleus: RGB
    shape: Callable[[Generator], Array]
    clumping: float = 0.2
    granules: int = 0
    granule: RGB = (150, 90, 150)
    granule_radius: float = 0.02
    over_nucleus: float = 0.0
    vacuoles: int = 0
    lumps: float = 0.07


def _disc(rng: Generator, radius: float, off_centre: float = 0.1) -> Array:
    return arc(rng, 1, 0, rng.uniform(0, off_centre), radius)


def _neutrophil_nucleus(rng: Generator) -> Array:
    if rng.random() < 0.35:  # band: a bent rod of even width
        return arc(rng, 9, rng.uniform(3.0, 4.0), 0.48, 0.27)
    lobes = int(rng.integers(3, 5))
    return arc(rng, lobes, 1.45 * (lobes - 1), 0.54, 0.35)


_LOOKS = (
    _Look(  # basophil
        (0.42, 0.5), (190, 160, 200), (92, 48, 140), lambda rng: arc(rng, 3, 3.2, 0.36, 0.5),
        granules=90, granule=(54, 22, 88), granule_radius=0.034, over_nucleus=0.85,
    ),
    _Look(  # eosinophil
        (0.46, 0.54), (220, 152, 146), (86, 44, 136), lambda rng: arc(rng, 2, 2.2, 0.46, 0.44),
        granules=220, granule=(204, 106, 96), granule_radius=0.024,
    ),
    _Look(  # erythroblast
        (0.31, 0.4), (172, 158, 182), (52, 22, 84), lambda rng: _disc(rng, rng.uniform(0.56, 0.68), 0.2),
        lumps=0.12,
    ),
    _Look(  # ig
        (0.52, 0.62), (176, 154, 200), (112, 66, 158), lambda rng: arc(rng, 2, math.pi, 0.26, 0.6),
        granules=130, granule=(112, 54, 140), granule_radius=0.016, over_nucleus=0.5,
    ),
    _Look(  # lymphocyte
        (0.32, 0.42), (140, 148, 208), (76, 38, 128), lambda rng: _disc(rng, rng.uniform(0.78, 0.9)),
    ),
    _Look(  # monocyte
        (0.54, 0.66), (184, 178, 204), (112, 72, 156), lambda rng: arc(rng, 6, 3.3, 0.42, 0.4),
        vacuoles=5, lumps=0.2,
    ),
    _Look(  # neutrophil
        (0.44, 0.54), (232, 200, 204), (80, 40, 130), _neutrophil_nucleus,
        granules=110, granule=(190, 136, 170), granule_radius=0.013,
    ),
    _Look(  # platelet
        (0.12, 0.18), (186, 168, 208), (120, 66, 150), lambda rng: _disc(rng, 0.5, 0.2),
        granules=16, granule=(100, 48, 134), granule_radius=0.02, over_nucleus=1.0, lumps=0.2,
    ),
)  # fmt: skip
"""One look a class, in label order."""

_RED_CELL: RGB = (208, 170, 166)
_VACUOLE: RGB = (240, 230, 236)


def _draw(look: _Look, size: int, rng: Generator) -> NDArray[np.uint8]:
    """One image, uint8 3×S×S. Colours mix as optical densities, the way dyes do in a smear."""
    axis = drawing.pixel_axis(size)
    blur = 2 / size * rng.uniform(0.8, 1.8)
    radius = rng.uniform(*look.radius)
    centre = rng.normal(0, 0.07, 2).astype(np.float32)

    def mask(balls: Array, scale: float) -> Array:
        return edge(depth(place(balls, radius, centre), axis, scale), blur)

    density = drawing.optical_density(_RED_CELL)[:, None, None] * drawing.red_cells(rng, axis, centre, radius, blur)

    inside = depth(place(_disc(rng, 1, 0), radius, centre), axis, radius)
    cell = edge(inside + np.float32(look.lumps * radius) * noise(rng, size, 5), blur)
    # Darker towards the rim, as in a cell that is thicker there than over its flattened middle.
    paint(
        density,
        cell,
        look.cytoplasm,
        1.1 + 0.1 * noise(rng, size, 12) - 0.6 * np.clip(inside / radius, 0, 0.5),
    )
    vacuoles = int(rng.integers(0, look.vacuoles + 1))
    if vacuoles:
        paint(density, cell * mask(scatter(rng, vacuoles, 0.09), 0.09 * radius), _VACUOLE)
    granules = np.zeros_like(cell)
    if look.granules:
        balls = scatter(rng, look.granules, look.granule_radius / radius)
        granules = cell * mask(balls, look.granule_radius)
        paint(density, granules, look.granule)
    nucleus = cell * mask(look.shape(rng), 0.35 * radius)
    chromatin = 1 + look.clumping * (noise(rng, size, 16) + noise(rng, size, 32))
    paint(density, nucleus, look.nucleus, chromatin)
    paint(density, nucleus * granules * np.float32(look.over_nucleus), look.granule)

    stain = rng.normal(1, 0.05, 3) * rng.uniform(0.8, 1.2)
    light = np.array(drawing.BACKGROUND) * rng.normal(1, 0.012, 3)
    image = light[:, None, None] * np.exp(-density * stain[:, None, None])
    return np.clip(image + rng.normal(0, 2.0, image.shape), 0, 255).astype(np.uint8)
