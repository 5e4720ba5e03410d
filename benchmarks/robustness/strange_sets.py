"""Images that no model for blood cells should answer, or not as if nothing were amiss.

Every set is drawn anew from a seed: of photographs that scikit-learn and scikit-image bring along, of a font, of random
numbers, or of blood cells that are spoiled. Groups say what an image was made of.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from cellnet.augment import GIEMSA, blur, perturb_stain
from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError
from cellnet.images import to_uint8_rgb

SIDE = 360
"""Pixels of the images that are not made of cells: as many as most of PBC's have."""

PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cat", "clock", "coffee", "coins", "grass", "gravel", "hubble_deep_field",
    "moon", "retina", "rocket", "stereo_motorcycle",
)  # fmt: skip
"""Those of scikit-image that need no download; scikit-learn has two more."""

LETTERS = "aaabcddeeeeefghiiijkllmmnnnnoooopqrrrssstttttuuvwxyz"

Made = tuple[Tensor, str]
"""An image, uint8 3×H×W, and what it was made of."""


@dataclass(frozen=True)
class StrangeSet:
    """Some strange images.

    Args:
        name: What they are.
        kind: ``"no cell"``, ``"other colours"``, ``"spoiled cell"`` or ``"other laboratory"``.
        images: uint8 3×H×W each.
        groups: What each was made of: images of one photograph are not independent.
    """

    name: str
    kind: str
    images: Sequence[Tensor]
    groups: Sequence[str]


def make_sets(cells: CellDataset, number: int, seed: int) -> Iterator[StrangeSet]:
    """All sets that need no further data, one after another, so that memory holds one.

    Args:
        cells: Blood cells to spoil; their labels are not looked at.
        number: Images of each set; of those made of cells at most as many as there are cells.
        seed: Of all draws; each set has its own.

    Raises:
        ConfigError: scikit-image is not installed.
    """
    draws: dict[tuple[str, str], Callable[[np.random.Generator], Iterator[Made]]] = {
        ("photographs", "no cell"): _photographs,
        ("text", "no cell"): _text,
        ("noise", "no cell"): _noise,
        ("plain colours", "no cell"): _plain,
        ("empty background", "no cell"): _of_cells(cells, empty_background),
        ("inverted", "other colours"): _of_cells(cells, lambda image, draw: 255 - image),
        ("red and blue swapped", "other colours"): _of_cells(cells, lambda image, draw: image.flip(0)),
        ("stains exchanged", "other colours"): _of_cells(cells, lambda image, draw: exchange_stains(image)),
        ("strong stain shift", "other colours"): _of_cells(cells, _shift_stain),
        ("blurred", "spoiled cell"): _of_cells(cells, lambda image, draw: blur(image, 0.03 * min(image.shape[1:]))),
        ("half a cell", "spoiled cell"): _of_cells(cells, half_cell),
        ("several cells", "spoiled cell"): lambda draw: _several(cells, draw),
    }
    for place, ((name, kind), make) in enumerate(draws.items()):
        made = list(islice(make(np.random.default_rng((seed, place))), number))
        yield StrangeSet(name, kind, [image for image, _ in made], [group for _, group in made])


def empty_background(image: Tensor, draw: np.random.Generator) -> Tensor:
    """The square at the edge that varies least, a fifth as wide as the image, enlarged to its size."""
    height, width = image.shape[1:]
    side = min(height, width) // 5
    tops, lefts = (np.linspace(0, length - side, 9).astype(int).tolist() for length in (height, width))
    places = [(t, x) for t in tops for x in lefts if t in (tops[0], tops[-1]) or x in (lefts[0], lefts[-1])]
    squares = [image[:, t : t + side, x : x + side] for t, x in places]
    calmest = min(squares, key=lambda square: float(square.float().std((1, 2)).sum()))
    return F.resize(calmest, [min(height, width)] * 2, antialias=True)


def half_cell(image: Tensor, draw: np.random.Generator) -> Tensor:
    """A square half as wide as the image, in the middle of whose side stands the cell that it cuts."""
    height, width = image.shape[1:]
    side = min(height, width) // 2
    top, left = [
        ((height - side) // 2, width // 2),
        ((height - side) // 2, width // 2 - side),
        (height // 2, (width - side) // 2),
        (height // 2 - side, (width - side) // 2),
    ][draw.integers(4)]
    return image[:, top : top + side, left : left + side].clone()


def exchange_stains(image: Tensor) -> Tensor:
    """As much eosin as there was methylene blue, and the reverse."""
    axes = np.vstack([GIEMSA, np.cross(*GIEMSA)])
    density = -np.log(np.maximum(image.movedim(0, 2).numpy(), 1) / 255)
    mirrored = (density @ np.linalg.inv(axes))[..., [1, 0, 2]] @ axes
    return _tensor(255 * np.exp(-mirrored))


def _shift_stain(image: Tensor, draw: np.random.Generator) -> Tensor:
    """More of one dye and less of the other by a factor of 2.2: the strongest of `cellnet.evaluation.stress` is 1.8."""
    factor = 2.2 ** (1 if draw.random() < 0.5 else -1)
    return perturb_stain(image, (factor, 1 / factor, 1.0))


def _of_cells(
    cells: CellDataset, change: Callable[[Tensor, np.random.Generator], Tensor]
) -> Callable[[np.random.Generator], Iterator[Made]]:
    def make(draw: np.random.Generator) -> Iterator[Made]:
        for row in draw.permutation(len(cells)).tolist():
            yield change(cells.image(row), draw), cells.files[row]

    return make


def _several(cells: CellDataset, draw: np.random.Generator) -> Iterator[Made]:
    """Four cells in one image, each with the middle three fifths of its own."""
    for row in draw.permutation(len(cells)).tolist():
        rows = [row, *draw.integers(len(cells), size=3).tolist()]
        images = [cells.image(each) for each in rows]
        side = min(length for image in images for length in image.shape[1:]) * 3 // 5
        a, b, c, d = (F.center_crop(image, [side, side]) for image in images)
        yield torch.cat((torch.cat((a, b), 2), torch.cat((c, d), 2)), 1), cells.files[row]


def _photographs(draw: np.random.Generator) -> Iterator[Made]:
    """Squares of a quarter of the shorter side up to all of it."""
    photographs = _load_photographs()
    while True:
        for name, photograph in photographs.items():
            yield _square(photograph, draw), name


def _load_photographs() -> dict[str, Tensor]:
    from sklearn.datasets import load_sample_image

    loaded = {f"{name}.jpg": load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    for name in PHOTOGRAPHS:
        pixels = getattr(_skimage_data(), name)()
        loaded[name] = pixels[0] if isinstance(pixels, tuple) else pixels
    return {name: to_uint8_rgb(np.array(pixels)) for name, pixels in loaded.items()}


def _text(draw: np.random.Generator) -> Iterator[Made]:
    """Printed pages: two that were scanned, and as many again that are set here."""
    pages = {name: to_uint8_rgb(np.array(getattr(_skimage_data(), name)())) for name in ("page", "text")}
    number = 0
    while True:
        for name, page in pages.items():
            yield _square(page, draw), name
            yield _set_page(draw), f"set page {number}"
            number += 1


def _set_page(draw: np.random.Generator) -> Tensor:
    words = random.Random(int(draw.integers(2**31)))
    size = int(draw.integers(10, 40))
    font = ImageFont.load_default(size)
    paper, ink = (tuple(draw.integers(*span, size=3).tolist()) for span in ((200, 256), (0, 90)))
    page = Image.new("RGB", (SIDE, SIDE), paper)
    pen = ImageDraw.Draw(page)
    for top in range(4, SIDE, int(1.4 * size)):
        pen.text(
            (6, top),
            " ".join("".join(words.choices(LETTERS, k=words.randint(1, 9))) for _ in range(40)),
            fill=ink,
            font=font,
        )
    return to_uint8_rgb(page)


def _noise(draw: np.random.Generator) -> Iterator[Made]:
    """Even, normal and grey noise, and noise in patches."""
    number = 0
    while True:
        colours = draw.integers(0, 256, (SIDE, SIDE, 3))
        normal = draw.normal(draw.uniform(60, 200, 3), draw.uniform(10, 60), (SIDE, SIDE, 3))
        grey = draw.integers(0, 256, (SIDE, SIDE, 1)).repeat(3, 2)
        side = int(draw.integers(3, 40))
        patches = F.resize(_tensor(draw.integers(0, 256, (side, side, 3))), [SIDE, SIDE], antialias=True)
        for image in (*map(_tensor, (colours, normal, grey)), patches):
            yield image, f"noise {number}"
            number += 1


def _plain(draw: np.random.Generator) -> Iterator[Made]:
    """White, black and grey, then any colour."""
    first = [np.full(3, level) for level in (255, 0, 128)]
    number = 0
    while True:
        colour = first[number] if number < len(first) else draw.integers(0, 256, 3)
        yield _tensor(np.broadcast_to(colour, (SIDE, SIDE, 3))), f"colour {number}"
        number += 1


def _square(image: Tensor, draw: np.random.Generator) -> Tensor:
    height, width = image.shape[1:]
    side = int(min(height, width) * draw.uniform(0.25, 1))
    top, left = (int(draw.integers(length - side + 1)) for length in (height, width))
    return image[:, top : top + side, left : left + side].clone()


def _tensor(pixels: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).movedim(2, 0).contiguous()


def _skimage_data() -> object:
    try:
        import skimage.data
    except ImportError as error:
        raise ConfigError(
            "The photographs are scikit-image's, which is not installed: pip install cellnet[test]"
        ) from error
    return skimage.data
