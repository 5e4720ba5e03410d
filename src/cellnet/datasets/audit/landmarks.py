"""Candidates for the same cell in two pictures: landmarks that survive a shift, a crop and a change of light.

A landmark is the middle of a dark or light spot about the size of a nucleus or a red cell; it moves with the cells.
Its vector is the pattern around it, with local mean and contrast taken out, so that the granules of a cell and the
red cells beside it count as much as the dark nucleus, which all cells of a class share. Two pictures of one spot
of a smear have a landmark whose vectors agree wherever the spot lies in the frame. A crop that was brought back
to the size of the whole shows everything larger; each picture is therefore also looked at in smaller sizes.

Cost: every picture against every other, in blocks of matrix products: about 2·4·10·49 operations a pair and size,
half of which is saved since dark spots are compared with dark ones alone. Memory grows with the number of pictures,
not of pairs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional as F

from cellnet.datasets import display

SIDE = 72
"""Side of the small grey pictures that all comparisons start from."""

SIDES = (36, 32, 28, 25)
"""Sides at which a picture is looked for in the others, whose side is the first: crops to about 65 % of the side."""

LANDMARKS = 10
"""Landmarks of a picture, strongest first."""

LEADING = 4
"""Of these, so many are looked for among all landmarks of the other pictures."""

CANDIDATE = 0.89
"""Agreement of two vectors, at most 1, from which their pictures are compared closely."""

PER_PICTURE = 8
"""So many candidates, the best ones, are followed for each picture and size: a set of look-alikes stays cheap."""

_PATCH, _REACH = 7, 14  # samples across the pattern around a landmark, and pixels that they span
_FINE, _COARSE, _LOCAL = 1.2, 2.4, 2.5  # pixels: a landmark is an extremum between two blurs; what local means
_EDGE = 3  # pixels at the border without landmarks
_FAINT = 1.0  # grey levels: a weaker landmark is noise
_CONTRAST = 6.0  # grey levels of local contrast below which a pattern fades instead of being amplified
_ROWS, _COLUMNS = 512, 2560  # vectors compared at once: the table of their products fits into the cache


@dataclass(frozen=True)
class Landmarks:
    """L landmarks of some pictures.

    Args:
        owner: Index of the picture, ascending.
        place: L×2, row and column in pixels.
        dark: Whether the spot is darker than what surrounds it.
        vector: L×49 float32 of length 1.
    """

    owner: NDArray[np.int64]
    place: NDArray[np.float32]
    dark: NDArray[np.bool_]
    vector: NDArray[np.float32]

    def __getitem__(self, rows: slice | NDArray[np.generic]) -> Landmarks:
        return Landmarks(self.owner[rows], self.place[rows], self.dark[rows], self.vector[rows])


@dataclass(frozen=True)
class Candidates:
    """Pairs of pictures that may show the same cell, one entry a pair in each column.

    Args:
        first: Index of the picture that was looked for.
        second: Index of the picture it was found in.
        side: Side of the first, in `SIDES`.
        offset: Pairs×2, row and column of the first's corner in the second, in pixels of `SIDES`.
        score: Agreement of the best landmarks, highest first.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    side: NDArray[np.int64]
    offset: NDArray[np.float32]
    score: NDArray[np.float32]


def find_landmarks(pictures: NDArray[np.uint8], side: int = SIDES[0], count: int = LANDMARKS) -> Landmarks:
    """The strongest landmarks of each picture.

    Args:
        pictures: N×`SIDE`×`SIDE` grey levels.
        side: Side to which they are shrunk first.
        count: Landmarks a picture, at most.
    """
    starts = range(0, len(pictures), 256)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        blocks = list(pool.map(lambda start: _landmarks(pictures[start : start + 256], side, count), starts))
    strength, place, vector = (torch.cat(column).numpy() for column in zip(*blocks, strict=True))
    clear = np.abs(strength) > _FAINT
    return Landmarks(np.nonzero(clear)[0], place[clear], strength[clear] < 0, vector[clear])


def find_candidates(pictures: NDArray[np.uint8], progress: bool = False) -> Candidates:
    """Pairs of pictures with a landmark in common.

    Args:
        pictures: N×`SIDE`×`SIDE` grey levels.
        progress: Show a progress bar on standard error.
    """
    known = find_landmarks(pictures)
    tasks = []
    for side in SIDES:
        wanted = find_landmarks(pictures, side, LEADING)
        for dark in (True, False):
            one, other = wanted[wanted.dark == dark], known[known.dark == dark]
            tasks += [(one[start : start + _ROWS], other, side) for start in range(0, len(one.owner), _ROWS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(_search, *zip(*tasks, strict=True)) if tasks else iter(())
        found = list(display.track(done, len(tasks), "Comparing images") if progress else done)
    return _once(found)


def _landmarks(pictures: NDArray[np.uint8], side: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Strength (negative where dark) N×K, place N×K×2 and vector N×K×49."""
    shrink, fine, coarse, local = _matrices(side)
    small = shrink @ torch.from_numpy(pictures).float() @ shrink.T
    strength, places = _peaks(fine @ small @ fine.T - coarse @ small @ coarse.T, count)
    pattern = small - local @ small @ local.T
    pattern = pattern / ((local @ pattern.square() @ local.T).clamp_min(0).sqrt() + _CONTRAST)
    steps = (torch.arange(_PATCH) - (_PATCH - 1) / 2) * (_REACH / _PATCH)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1) + places.flip(-1)[:, :, None, None]
    grid = ((2 * grid + 1) / side - 1).flatten(1, 2)
    samples = F.grid_sample(pattern[:, None], grid, padding_mode="reflection", align_corners=False)
    vectors = samples.reshape(len(pictures), count, -1)
    return strength, places, F.normalize(vectors - vectors.mean(-1, keepdim=True), dim=-1)


@lru_cache(maxsize=len(SIDES))
def _matrices(side: int) -> tuple[Tensor, ...]:
    """Shrinking from `SIDE` and the three blurs; ``m @ picture @ m.T`` applies one along rows and columns."""
    shrink = cv2.resize(np.eye(SIDE, dtype=np.float32), (SIDE, side), interpolation=cv2.INTER_AREA)
    blurs = (gaussian_filter1d(np.eye(side, dtype=np.float32), sigma, axis=0) for sigma in (_FINE, _COARSE, _LOCAL))
    return tuple(torch.from_numpy(matrix) for matrix in (shrink, *blurs))


def _peaks(spots: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Value N×K and place N×K×2, to a fraction of a pixel, of the strongest extrema of N×S×S; value 0 for none."""
    side = spots.shape[-1]
    inner = spots[:, _EDGE:-_EDGE, _EDGE:-_EDGE]
    extreme = (inner == _widest(spots, torch.maximum)) | (inner == _widest(spots, torch.minimum))
    strength, index = F.pad(torch.where(extreme, inner.abs(), 0), [_EDGE] * 4).flatten(1).topk(count)
    index = torch.where(strength > 0, index, side * side // 2)  # so that the neighbours below exist
    flat = spots.flatten(1)

    def offset(step: int) -> Tensor:
        """Where the parabola through an extremum and its two neighbours has its vertex."""
        before, here, after = (flat.gather(1, index + k) for k in (-step, 0, step))
        bend = before + after - 2 * here
        return (0.5 * (before - after) / torch.where(bend == 0, 1, bend)).clamp(-0.5, 0.5)

    places = torch.stack([index // side + offset(side), index % side + offset(1)], -1)
    return torch.where(strength > 0, flat.gather(1, index), 0), places


def _widest(spots: Tensor, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The highest or lowest value within two pixels of each, without the edge. Faster than torch's pooling."""
    side, near = spots.shape[-1] - 2 * _EDGE, range(_EDGE - 2, _EDGE + 3)
    lines = reduce(choose, [spots[:, k : k + side] for k in near])
    return reduce(choose, [lines[:, :, k : k + side] for k in near])


def _search(wanted: Landmarks, known: Landmarks, side: int) -> tuple[NDArray[Any], ...]:
    """The columns of `Candidates` for some pictures."""
    products = np.empty((len(wanted.owner), _COLUMNS), np.float32)
    hits = []
    for start in range(0, len(known.owner), _COLUMNS):
        block = known.vector[start : start + _COLUMNS]
        table = np.matmul(wanted.vector, block.T, out=products[:, : len(block)])
        rows, columns = np.divmod(np.flatnonzero(table > CANDIDATE), len(block))
        hits.append((rows, columns + start, table[rows, columns]))
    one, other, score = (np.concatenate(column) for column in zip(*hits, strict=True))
    first, second = wanted.owner[one], known.owner[other]
    keep = _best(first, second, score)
    offset = known.place[other[keep]] - wanted.place[one[keep]]
    return first[keep], second[keep], np.full(len(keep), side), offset, score[keep]


def _once(found: list[tuple[NDArray[Any], ...]]) -> Candidates:
    """The best candidate of each pair and size, whichever of the two was looked for."""
    nothing = (*np.zeros((3, 0), np.int64), np.zeros((0, 2), np.float32), np.zeros(0, np.float32))
    first, second, side, offset, score = (np.concatenate(column) for column in zip(nothing, *found, strict=True))
    order = np.argsort(-score, kind="stable")
    pair = np.stack([np.minimum(first, second), np.maximum(first, second), side])[:, order]
    best = order[np.sort(np.unique(pair, axis=1, return_index=True)[1])]
    return Candidates(first[best], second[best], side[best], offset[best], score[best])


def _best(first: NDArray[np.int64], second: NDArray[np.int64], score: NDArray[np.float32]) -> NDArray[np.int64]:
    """Of each pair the best hit, and of each first picture its `PER_PICTURE` best pairs."""
    order = np.lexsort((-score, second, first))
    order = order[first[order] != second[order]]
    pair = np.stack([first[order], second[order]])
    order = order[np.append(True, (pair[:, 1:] != pair[:, :-1]).any(0))[: len(order)]]
    order = order[np.lexsort((-score[order], first[order]))]
    rank = np.arange(len(order)) - np.searchsorted(first[order], first[order])
    return np.asarray(order[rank < PER_PICTURE])
