"""Candidates for the same cell in two pictures: landmarks that survive a shift, a crop and a change of light.

A landmark is the middle of a dark or light spot about the size of a nucleus or a red cell; it moves with the cells.
Its vector is the pattern around it, with local mean and contrast taken out, so that the granules of a cell and the
red cells beside it count as much as the dark nucleus, which all cells of a class share. Two pictures of one spot
of a smear have a landmark whose vectors agree wherever the spot lies in the frame. A crop that was brought back
to the size of the whole shows everything larger; each picture is therefore also looked at in smaller sizes.

Cost: every picture against every other, blocks of matrix products, 2·4·10·49 operations a pair and size. Memory
grows with the number of pictures, not of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional as F

SIDE = 72
"""Side of the small grey pictures that all comparisons start from."""

SIDES = (36, 32, 28, 25)
"""Sides at which a picture is looked for in the others, whose side is the first: crops down to about 65 % of the side."""

LANDMARKS = 10
"""Landmarks of a picture, strongest first."""

LEADING = 4
"""Of these, so many are looked for among all landmarks of the other pictures."""

CANDIDATE = 0.9
"""Agreement of two vectors, at most 1, from which their pictures are compared closely."""

PER_PICTURE = 16
"""So many candidates, the best ones, are followed for each picture and size: a set of look-alikes stays cheap."""

_PATCH, _REACH = 7, 14  # samples across the pattern around a landmark, and pixels that they span
_FINE, _COARSE, _LOCAL = 1.2, 2.4, 2.5  # pixels: a landmark is an extremum between two blurs; what local means
_EDGE = 3  # pixels at the border without landmarks
_FAINT = 1.0  # grey levels: a weaker landmark is noise
_CONTRAST = 6.0  # grey levels of local contrast below which a pattern fades instead of being amplified


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of N pictures.

    Args:
        vectors: N×K×49 float32 of length 1, or 0 where a picture has fewer landmarks.
        places: N×K×2, row and column in pixels.
    """

    vectors: Tensor
    places: Tensor


@dataclass(frozen=True)
class Candidates:
    """Pairs of pictures that may show the same cell, one entry a pair in each column.

    Args:
        first: Index of the picture that was looked for.
        second: Index of the picture it was found in.
        side: Side of the first, in `SIDES`.
        offset: Pairs×2, row and column of the first's corner in the second, in pixels of `SIDES`.
        score: Agreement of the best landmarks.
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
        count: Landmarks a picture.
    """
    blocks = [_landmarks(block, side, count) for block in torch.from_numpy(pictures).split(512)]
    return Landmarks(torch.cat([b.vectors for b in blocks]), torch.cat([b.places for b in blocks]))


def find_candidates(pictures: NDArray[np.uint8]) -> Candidates:
    """Pairs of pictures with a landmark in common, best first.

    Args:
        pictures: N×`SIDE`×`SIDE` grey levels.
    """
    known = find_landmarks(pictures)
    found = []
    for side in SIDES:
        wanted = known if side == SIDES[0] else find_landmarks(pictures, side, LEADING)
        found += [_search(wanted, known, start, side) for start in range(0, len(pictures), 256)]
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    order = np.argsort(-columns[-1], kind="stable")
    return Candidates(*(column[order] for column in columns))


def _landmarks(pictures: Tensor, side: int, count: int) -> Landmarks:
    shrink, fine, coarse, local = _matrices(side)
    small = shrink @ pictures.float() @ shrink.T
    spots = fine @ small @ fine.T - coarse @ small @ coarse.T
    strength, rows, columns = _peaks(spots, count)
    places = torch.stack([rows, columns], -1)

    pattern = small - local @ small @ local.T
    contrast = (local @ pattern.square() @ local.T).clamp_min(0).sqrt()
    pattern = pattern / (contrast + _CONTRAST)
    steps = (torch.arange(_PATCH) - (_PATCH - 1) / 2) * (_REACH / _PATCH)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1) + places.flip(-1)[:, :, None, None]
    grid = ((2 * grid + 1) / side - 1).flatten(1, 2)
    samples = F.grid_sample(pattern[:, None], grid, padding_mode="reflection", align_corners=False)
    vectors = samples.reshape(len(pictures), count, -1)
    vectors = F.normalize(vectors - vectors.mean(-1, keepdim=True), dim=-1)
    return Landmarks(vectors * (strength > _FAINT)[:, :, None], places)


@lru_cache(maxsize=len(SIDES))
def _matrices(side: int) -> tuple[Tensor, ...]:
    """Shrinking from `SIDE` and the three blurs; ``m @ picture @ m.T`` applies one along rows and columns."""
    shrink = cv2.resize(np.eye(SIDE, dtype=np.float32), (SIDE, side), interpolation=cv2.INTER_AREA)
    blurs = (gaussian_filter1d(np.eye(side, dtype=np.float32), sigma, axis=0) for sigma in (_FINE, _COARSE, _LOCAL))
    return tuple(torch.from_numpy(matrix) for matrix in (shrink, *blurs))


def _peaks(spots: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Strength, row and column of the strongest extrema N×S×S, to a fraction of a pixel."""
    side = spots.shape[-1]
    highest, lowest = (F.max_pool2d(sign * spots[:, None], 5, stride=1, padding=2)[:, 0] for sign in (1, -1))
    extreme = torch.where((spots == highest) | (-spots == lowest), spots.abs(), 0)
    extreme = F.pad(extreme[:, _EDGE:-_EDGE, _EDGE:-_EDGE], [_EDGE] * 4).flatten(1)
    strength, index = extreme.topk(count)
    index = torch.where(strength > 0, index, side * side // 2)
    flat = spots.flatten(1)

    def offset(step: int) -> Tensor:
        """Where the parabola through an extremum and its two neighbours has its vertex."""
        before, here, after = (flat.gather(1, index + k) for k in (-step, 0, step))
        bend = before + after - 2 * here
        return (0.5 * (before - after) / torch.where(bend == 0, 1, bend)).clamp(-0.5, 0.5)

    return strength, index // side + offset(side), index % side + offset(1)


def _search(wanted: Landmarks, known: Landmarks, start: int, side: int) -> tuple[NDArray[np.generic], ...]:
    """Candidates for 256 pictures from ``start``: the columns of `Candidates`."""
    query = wanted.vectors[start : start + 256, :LEADING].flatten(0, 1)
    hits, scores = [], []
    for first in range(0, len(known.vectors), 1024):
        products = query @ known.vectors[first : first + 1024].flatten(0, 1).T
        places = (products > CANDIDATE).nonzero()
        scores.append(products[places[:, 0], places[:, 1]])
        hits.append(places + torch.tensor([start * LEADING, first * LANDMARKS]))
    hit, score = torch.cat(hits), torch.cat(scores)
    (one, mark), (other, partner) = (
        (hit[:, k] // n, hit[:, k] % n) for k, n in enumerate((LEADING, LANDMARKS))
    )
    offset = known.places[other, partner] - wanted.places[one, mark]
    keep = _best(one.numpy(), other.numpy(), score.numpy())
    return (
        one.numpy()[keep],
        other.numpy()[keep],
        np.full(len(keep), side),
        offset.numpy()[keep],
        score.numpy()[keep],
    )


def _best(one: NDArray[np.int64], other: NDArray[np.int64], score: NDArray[np.float32]) -> NDArray[np.int64]:
    """Of each pair the best hit, and of each first picture its `PER_PICTURE` best pairs."""
    order = np.lexsort((-score, other, one))
    order = order[one[order] != other[order]]
    pair = np.stack([one[order], other[order]])
    order = order[np.r_[True, (pair[:, 1:] != pair[:, :-1]).any(0)][: len(order)]]
    order = order[np.lexsort((-score[order], one[order]))]
    rank = np.arange(len(order)) - np.searchsorted(one[order], one[order])
    return order[rank < PER_PICTURE]
