"""Which images show the same cell: by the bytes of their files, and by a close look at their pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from torch import Tensor

from cellnet.datasets.audit.landmarks import SIDE, SIDES, find_candidates
from cellnet.errors import DataError

CORRELATION = 0.8
"""Two images show the same spot of a smear if they correlate as much where they overlap, first as small pictures,
then in full detail. In full detail the least similar true pair of PBC reaches 0.90, and no two look-alikes 0.6."""

OVERLAP = 0.3
"""Share of an image that must lie within the other; in less, two round red cells may agree by chance."""

SAME_CELL = 1 / 6
"""Up to this shift, as a share of the side, two images are centred on the same cell."""

FULL_SIDE = 288
"""Side of the pictures that are compared in full detail; less where an image has fewer pixels."""

_COARSE = (1.0, 0.97, 1.03, 0.945, 1.055)  # sizes tried: crops between two of landmarks.SIDES
_FINE = (1.0, 0.988, 1.012)
_UNLIKE = 0.55  # correlation at the expected size below which the other sizes are not tried
_FLAT = 1.0  # grey levels: with less, a correlation is one of noise
_PARTNERS = 4  # pairs of an image after which further ones that only close a circle are passed over

Picture = NDArray[np.uint8]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Match:
    """Two images of the same spot of a smear.

    Args:
        first: Index of one image.
        second: Index of the other.
        correlation: Normalised cross-correlation where they overlap, at most 1.
        box: Where the first lies in the second: top, left, height and width as shares of the second's sides.
    """

    first: int
    second: int
    correlation: float
    box: Box

    @property
    def shift(self) -> tuple[float, float]:
        """Down and right, from the middle of the second to that of the first, as shares of the second's sides."""
        top, left, height, width = self.box
        return top + height / 2 - 0.5, left + width / 2 - 0.5

    def reversed(self) -> Match:
        """The same match, seen from the other image."""
        top, left, height, width = self.box
        box = -top / height, -left / width, 1 / height, 1 / width
        return Match(self.second, self.first, self.correlation, box)

    @property
    def same_cell(self) -> bool:
        """Whether both are centred on the same cell; otherwise on two cells of one field."""
        return bool(np.hypot(*self.shift) <= SAME_CELL)


def identical_pairs(contents: Sequence[str | None]) -> list[tuple[int, int]]:
    """Each image that is not the first of its content, with the first one; None stands for "not known".

    Example:
        >>> identical_pairs(["a", "b", "a", None, "a", None])
        [(0, 2), (0, 4)]
    """
    first: dict[str, int] = {}
    known = [(index, content) for index, content in enumerate(contents) if content is not None]
    return [(first[content], index) for index, content in known if first.setdefault(content, index) != index]


def near_pairs(
    pictures: NDArray[np.uint8],
    sizes: NDArray[np.int64],
    image: Callable[[int], Tensor],
    progress: bool = False,
) -> list[Match]:
    """Images of the same spot of a smear, best first.

    Finds a shift up to about 40 % of the side, a crop to 65 % of the side, another size, compression and
    brightness; not a rotated or mirrored copy. Of many copies of one image, each is paired with some, not all.

    Args:
        pictures: N×`SIDE`×`SIDE` grey levels of whole images.
        sizes: N×2, height and width of the images in pixels.
        image: The image of an index, uint8 3×H×W; asked for those alone whose small pictures agree.
        progress: Show a progress bar on standard error.
    """
    grey = lru_cache(maxsize=256)(lambda index: _grey(image(index)))
    chains, partners = DisjointSet(range(len(pictures))), Counter[int]()
    matches = []
    for rough in _rough_matches(pictures, sizes, progress):
        pair = rough.first, rough.second
        if min(partners[index] for index in pair) >= _PARTNERS and chains.connected(*pair):
            continue
        try:
            correlation, box = _in_detail(grey(rough.first), grey(rough.second), rough.box)
        except DataError:  # the file has gone since it was first read
            continue
        if correlation >= CORRELATION:
            matches.append(Match(*pair, correlation, box))
            chains.merge(*pair)
            partners.update(pair)
    return sorted(matches, key=lambda match: (-match.correlation, match.first, match.second))


def _rough_matches(pictures: NDArray[np.uint8], sizes: NDArray[np.int64], progress: bool) -> list[Match]:
    """Pairs whose small pictures agree, best first."""
    found = find_candidates(pictures, progress)
    aspects = sizes[:, 0] / sizes[:, 1]
    best: dict[tuple[int, int], Match] = {}
    for first, second, side, corner in zip(found.first, found.second, found.side, found.offset, strict=True):
        one, other = int(first), int(second)
        top, left = (float(x) / SIDES[0] for x in corner)
        length = int(side) / SIDES[0]
        for ratio in _ratios(aspects[one] / aspects[other]):
            height, width = length * ratio**0.5, length / ratio**0.5
            box = top + (length - height) / 2, left + (length - width) / 2, height, width
            match = Match(one, other, *_place(pictures[one], pictures[other], box, _COARSE, detail=4, slack=3))
            pair = min(one, other), max(one, other)
            if match.correlation >= CORRELATION and (pair not in best or match.correlation > best[pair].correlation):
                best[pair] = match
    return sorted(best.values(), key=lambda match: -match.correlation)


def _ratios(ratio: float) -> tuple[float, ...]:
    """A copy may have kept the shape of its pixels, or been squeezed into the other's frame."""
    return (1.0, ratio) if 0.5 < ratio < 2 and abs(ratio - 1) > 0.03 else (1.0,)


def _in_detail(one: Picture, other: Picture, box: Box) -> tuple[float, Box]:
    """Correlation and box in the detail that both have: pixels that one of them lacks prove nothing."""
    length = (box[2] * box[3]) ** 0.5
    side = round(min(FULL_SIDE, max(SIDE, min(max(one.shape) / length, max(other.shape)))))
    field = cv2.resize(other, (side, side), interpolation=cv2.INTER_AREA)
    return _place(one, np.asarray(field, np.uint8), box, _FINE, detail=max(2, side / 96), slack=4)


def _grey(image: Tensor) -> Picture:
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def _place(
    one: Picture, other: Picture, box: Box, sizes: Sequence[float], detail: float, slack: int
) -> tuple[float, Box]:
    """Best correlation of one picture with another near a box, and the box where it is reached.

    Args:
        one: Grey levels of any size.
        other: Grey levels.
        box: Where the first is expected in the second, see `Match`.
        sizes: Factors of the box to try, the expected one first.
        detail: What is broader than so many pixels of ``other``, such as a gradient of light, is left out.
        slack: Pixels of ``other`` by which the box may be wrong.
    """
    shape = np.array(other.shape)
    wanted = _relief(other, detail)
    middle = (np.array(box[:2]) + np.array(box[2:]) / 2) * shape
    best = -1.0, box
    for size in sizes:
        height, width = np.rint(np.array(box[2:]) * shape * size).astype(int).tolist()
        if height * width > 1.05 * shape.prod():  # larger than the other: then it is the other that is a crop
            continue
        resized = np.asarray(cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        relief = _relief(resized, detail)
        corner = np.rint(middle - np.array(relief.shape) / 2).astype(int)
        correlation, moved = _correlate(relief, wanted, corner, slack)
        if correlation > best[0]:
            top, left = ((corner + moved) / shape).tolist()
            best = correlation, (top, left, height / other.shape[0], width / other.shape[1])
        if best[0] < _UNLIKE:
            break
    return best


def _relief(picture: Picture, detail: float) -> NDArray[np.float32]:
    pixels = picture.astype(np.float32)
    return np.asarray(pixels - cv2.GaussianBlur(pixels, (0, 0), detail, borderType=cv2.BORDER_REFLECT), np.float32)


def _correlate(
    one: NDArray[np.float32], other: NDArray[np.float32], corner: NDArray[np.int64], slack: int
) -> tuple[float, NDArray[np.int64]]:
    """Best correlation of two reliefs near a corner, and the pixels from there to where it is."""
    start, stop = np.maximum(corner, 0), np.minimum(corner + one.shape, other.shape)
    share = np.maximum(stop - start, 0).prod() / one.size
    # A crop lies wholly within the other; two fields of one size may overlap in part.
    wanted = 0.8 if one.size < 0.9 * other.size else OVERLAP
    if share < wanted or (stop - start).min() < max(other.shape) / 3:
        return -1.0, np.zeros(2, np.int64)
    (top, left), (bottom, right) = start - corner + slack, stop - corner - slack
    template = one[top:bottom, left:right]
    if cv2.meanStdDev(template)[1].item() < _FLAT:
        return -1.0, np.zeros(2, np.int64)
    field = other[start[0] : stop[0], start[1] : stop[1]]
    scores = np.asarray(cv2.matchTemplate(field, template, cv2.TM_CCOEFF_NORMED), np.float32)
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    peak = scores[row, column] + _rise(scores[row], int(column)) + _rise(scores[:, column], int(row))
    return min(float(peak), 1.0), np.array([row, column]) - slack


def _rise(scores: NDArray[np.float32], place: int) -> float:
    """How far the parabola through the highest score and its neighbours rises above it: shifts are no whole pixels."""
    if not 0 < place < len(scores) - 1:
        return 0.0
    before, here, after = scores[place - 1 : place + 2].tolist()
    bend = before + after - 2 * here
    return float((after - before) ** 2 / (-8 * bend)) if bend < 0 else 0.0
