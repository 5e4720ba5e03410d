"""Which images show the same cell: by the bytes of their files, and by a close look at their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cellnet.datasets.audit.landmarks import SIDE, SIDES, find_candidates

CORRELATION = 0.88
"""Two pictures show the same spot of a smear if they correlate as much where they overlap. On PBC the least
similar true pair reaches 0.92, and of 16,000 pairs of look-alikes none with this overlap exceeds 0.82."""

OVERLAP = 0.3
"""Share of a picture that must lie within the other; in less, two round red cells may agree by chance."""

SAME_CELL = 1 / 6
"""Up to this shift, as a share of the side, two pictures are centred on the same cell."""

_DETAIL = 4.0  # pixels of SIDE: what is broader, such as a gradient of light, is left out of the correlation
_SLACK = 3  # pixels by which landmarks may be wrong
_STEPS = (0, -2, 2, -4, 4)  # pixels: between two of landmarks.SIDES the size is found by trying
_UNLIKE = 0.6  # correlation at the landmarks' own size below which other sizes are not tried
_FLAT = 1.0  # grey levels: a correlation with less than this is one of noise


@dataclass(frozen=True)
class Match:
    """Two pictures of the same spot of a smear.

    Args:
        first: Index of one picture.
        second: Index of the other.
        correlation: Normalised cross-correlation where they overlap, at most 1.
        shift: Rows and columns from the middle of the second to that of the first, as shares of the second's sides.
        crop: Side of the first as a share of the second's, 1 unless it shows a part of it enlarged.
    """

    first: int
    second: int
    correlation: float
    shift: tuple[float, float]
    crop: float

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


def near_pairs(pictures: NDArray[np.uint8], aspects: NDArray[np.float64]) -> list[Match]:
    """All pairs of pictures of the same spot, best first.

    Finds a shift up to about 40 % of the side, a crop to 65 % of the side, another size, compression and
    brightness; not a rotated or mirrored copy.

    Args:
        pictures: N×`SIDE`×`SIDE` grey levels of whole images.
        aspects: Height over width of each image before it was made square.
    """
    found = find_candidates(pictures)

    def look(place: int) -> Match | None:
        one, other = int(found.first[place]), int(found.second[place])
        matches = (
            compare(pictures[one], pictures[other], int(found.side[place]), found.offset[place], ratio)
            for ratio in _ratios(aspects[one] / aspects[other])
        )
        correlation, shift, crop = max(matches)
        return Match(one, other, correlation, shift, crop) if correlation >= CORRELATION else None

    best: dict[tuple[int, int], Match] = {}
    with ThreadPoolExecutor() as pool:
        for match in pool.map(look, range(len(found.first))):
            if match is not None:
                pair = min(match.first, match.second), max(match.first, match.second)
                best[pair] = max(best.get(pair, match), match, key=lambda m: m.correlation)
    return sorted(best.values(), key=lambda m: (-m.correlation, m.first, m.second))


def compare(
    one: NDArray[np.uint8],
    other: NDArray[np.uint8],
    side: int,
    offset: NDArray[np.float32],
    ratio: float = 1.0,
) -> tuple[float, tuple[float, float], float]:
    """How well one picture agrees with a place in another: correlation, shift and crop as in `Match`.

    Args:
        one: `SIDE`×`SIDE` grey levels.
        other: The same.
        side: Side of ``one`` in ``other``, and
        offset: where its corner lies there, in pixels of `SIDES`, to be refined.
        ratio: Height over width that ``one`` has in ``other``.
    """
    scale = SIDE / SIDES[0]
    middle = (offset + side / 2) * scale
    wanted = _detail(other)
    best = (-1.0, (0.0, 0.0), 1.0)
    for step in _STEPS:
        length = side * scale + step
        height, width = round(length * ratio**0.5), round(length / ratio**0.5)
        if length > SIDE:
            continue
        small = cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA)
        corner = np.rint(middle - [height / 2, width / 2]).astype(int)
        correlation, moved = _correlate(_detail(small), wanted, corner, whole=side != SIDES[0])
        if correlation > best[0]:
            shift = (corner + moved + [height / 2, width / 2]) / SIDE - 0.5
            best = (correlation, (float(shift[0]), float(shift[1])), length / SIDE)
        if best[0] < _UNLIKE:
            break
    return best


def _ratios(ratio: float) -> tuple[float, ...]:
    """A copy may have kept the shape of its pixels, or been squeezed into the other's frame."""
    return (1.0,) if abs(ratio - 1) < 0.03 else (1.0, ratio)


def _detail(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    pixels = picture.astype(np.float32)
    return np.asarray(pixels - cv2.GaussianBlur(pixels, (0, 0), _DETAIL, borderType=cv2.BORDER_REFLECT), np.float32)


def _correlate(
    one: NDArray[np.float32], other: NDArray[np.float32], corner: NDArray[np.int64], whole: bool
) -> tuple[float, NDArray[np.int64]]:
    """Best correlation near a place, and the pixels from there to where it is.

    Args:
        one: The smaller picture.
        other: The larger one.
        corner: Row and column of the first's corner in the second.
        whole: Whether all of ``one`` must lie within ``other``.
    """
    nothing = -1.0, np.zeros(2, np.int64)
    start = np.maximum(corner, 0)
    stop = np.minimum(corner + one.shape, other.shape)
    share = np.prod(np.maximum(stop - start, 0)) / one.size
    if share < (0.8 if whole else OVERLAP) or (stop - start).min() < SIDE // 3:
        return nothing
    (top, left), (bottom, right) = start - corner + _SLACK, stop - corner - _SLACK
    template = one[top:bottom, left:right]
    if template.std() < _FLAT:
        return nothing
    field = other[start[0] : stop[0], start[1] : stop[1]]
    scores = cv2.matchTemplate(field, template, cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    across, down = scores[row], scores[:, column]
    peak = _vertex(across, int(column)) + _vertex(down, int(row)) - float(scores[row, column])
    return min(peak, 1.0), np.array([row, column]) - _SLACK


def _vertex(scores: NDArray[np.float32], place: int) -> float:
    """Height of the parabola through the highest score and its neighbours: true shifts are no whole pixels."""
    here = float(scores[place])
    if not 0 < place < len(scores) - 1:
        return here
    before, after = float(scores[place - 1]), float(scores[place + 1])
    bend = before + after - 2 * here
    return here - (after - before) ** 2 / (8 * bend) if bend < 0 else here
