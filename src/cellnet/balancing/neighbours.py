"""Nearest neighbours of images by Euclidean distance: exact, in blocks, in flat memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

BLOCK_BYTES = 1 << 27
"""Two blocks of rows of this size are held at a time."""

# How rows are multiplied: values at a time, in which type, by what. Products of two int8 numbers are at most 2**14, so
# 2**10 of them add up exactly in float32, and 2**16 in int32.
_Multiply = tuple[int, Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]
_FLOAT64: _Multiply = (1 << 10, Tensor.double, torch.mm)
_FLOAT32: _Multiply = (1 << 10, Tensor.float, torch.mm)


def _multiply_int8(one: Tensor, two: Tensor) -> Tensor:
    """int8 product, added up in int32; a single column goes through float32, for `_int_mm` reads it wrongly."""
    return torch._int_mm(one, two) if one.shape[1] > 1 else one.float() @ two.float()


_INT8: _Multiply = (1 << 16, Tensor.contiguous, _multiply_int8)
_MOST_ROWS = 1024  # of a block, whose distances to another block then take 8 MiB
_TILE = 256  # rows of a block that are multiplied with its other rows at a time

Indices = NDArray[np.int64]
Read = Callable[[Indices], Tensor]


def nearest(read: Read, count: int, k: int, asked: Indices | None = None) -> Indices:
    """The ``k`` nearest other rows of each row, nearest first; of two equally near ones, the first.

    Bytes are compared by exact integer distances. Other numbers go through float64 matrix products; where these may
    round two distances into the wrong order, the differences themselves are squared and added up.

    Args:
        read: Gives some rows by their numbers, as a tensor of rows × values that may be written into. It is called
            for each row several times.
        count: Number of rows, N.
        k: Number of neighbours, 1 … N - 1.
        asked: The M different rows whose neighbours are wanted; None asks for all.

    Returns:
        int64 M×k.

    Example:
        >>> rows = torch.tensor([[0], [10], [11], [200]], dtype=torch.uint8)
        >>> nearest(lambda numbers: rows[numbers], count=4, k=2).tolist()
        [[1, 2], [2, 0], [1, 0], [2, 1]]
    """
    everything = np.arange(count)
    asked = everything if asked is None else asked
    others = np.setdiff1d(everything, asked)
    sample = read(everything[:1])
    if sample.dtype == torch.uint8:
        size = block_rows(sample.shape[1])
        return _search(lambda rows: _as_int8(read(rows)), asked, others, k, size)[1].numpy()

    size = block_rows(8 * sample.shape[1])
    origin = sample.double()  # distances from one of the rows lose less to rounding than those from zero

    def centred(rows: Indices) -> Tensor:
        return read(rows).double().sub_(origin)

    distances, columns = _search(centred, asked, others, min(k + 1, count - 1), size)
    found = columns[:, :k].numpy()
    doubtful = np.flatnonzero((distances.diff(dim=1) <= _rounding(centred, count, size)).any(dim=1).numpy())
    for places in _blocks(doubtful, min(size, max(1, BLOCK_BYTES // (8 * count)))):
        found[places] = _by_differences(centred, count, k, size, asked[places])
    return found


def block_rows(row_bytes: int) -> int:
    """How many rows are read at a time."""
    return max(1, min(_MOST_ROWS, BLOCK_BYTES // row_bytes))


def search_memory(rows: int, values: int, dtype: np.dtype[Any]) -> int:
    """Bytes that a search takes at most beyond the rows themselves: two blocks, and what is being read."""
    return 3 * min(BLOCK_BYTES, rows * values * (1 if dtype == np.uint8 else 8))


def _blocks(rows: Indices, size: int) -> list[Indices]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _search(read: Read, asked: Indices, others: Indices, k: int, size: int) -> tuple[Tensor, Tensor]:
    """Nearness and numbers of the rows nearest to those ``asked``, among these and ``others``.

    Nearness is the squared distance; for integers, the row's number follows as last digit.
    """
    count = len(asked) + len(others)
    squares: dict[int, Tensor] = {}  # of the rows of a block, by the number of its first one
    nearness, numbers = torch.empty((len(asked), 0)), torch.empty((len(asked), 0), dtype=torch.int64)

    def between(one: Tensor, rows: Indices, two: Tensor, columns: Indices) -> Tensor:
        """Squared distances of two blocks: exact int64 for int8, else float64."""
        products = _products(one, two)
        for block, number in ((one, rows[0]), (two, columns[0])):
            if number not in squares:
                squares[number] = products.diagonal().clone() if one is two else _squares(block)
        distances = (squares[rows[0]][:, None] + squares[columns[0]]).sub_(products, alpha=2)
        return distances.long() if one.dtype == torch.int8 else distances

    def merge(distances: Tensor, top: int, rows: Indices) -> None:
        """Keep the nearest of those found so far and of a block."""
        nonlocal nearness, numbers
        here = torch.from_numpy(rows)
        if not distances.is_floating_point():
            distances = distances * count + here  # equal distances are in order too
        if not nearness.shape[1]:
            nearness = torch.full((len(asked), k), _farthest(distances), dtype=distances.dtype)
            numbers = torch.zeros((len(asked), k), dtype=torch.int64)
        part = slice(top, top + len(distances))
        nearest_here, places = distances.topk(min(k, len(here)), dim=1, largest=False)
        nearness[part], best = torch.cat([nearness[part], nearest_here], dim=1).topk(k, dim=1, largest=False)
        numbers[part] = torch.cat([numbers[part], here[places]], dim=1).gather(1, best)

    questions = _blocks(asked, size)
    for block, rows in enumerate(questions):
        one = read(rows)
        distances = between(one, rows, one, rows)
        # Itself: farther than any other row, without an overflow once its number is added.
        far = _farthest(distances)
        merge(distances.fill_diagonal_(far if distances.is_floating_point() else far // count - 1), block * size, rows)
        for later, columns in enumerate(questions[block + 1 :], block + 1):
            distances = between(one, rows, read(columns), columns)
            merge(distances, block * size, columns)
            merge(distances.T, later * size, rows)  # each pair is computed once and serves both of its rows
        for columns in _blocks(others, size):
            merge(between(one, rows, read(columns), columns), block * size, columns)
    return nearness, numbers


def _farthest(distances: Tensor) -> int | float:
    return torch.inf if distances.is_floating_point() else torch.iinfo(distances.dtype).max


def _as_int8(block: Tensor) -> Tensor:
    """Bytes less 128, in place."""
    return block.bitwise_xor_(128).view(torch.int8)


def _squares(block: Tensor) -> Tensor:
    """Sum of squares of each row, float64."""
    total = torch.zeros(len(block), dtype=torch.float64)
    for part in torch.split(block, 1 << 10, dim=1):
        # So few squares of int8 numbers add up exactly in float32 too.
        total += (part.float() if part.dtype == torch.int8 else part).square().sum(dim=1)
    return total


def _products(one: Tensor, two: Tensor) -> Tensor:
    """Inner products of all rows of two blocks, float64; exact for int8."""
    total = torch.zeros((len(one), len(two)), dtype=torch.float64)
    kind = _FLOAT64 if one.dtype != torch.int8 else _INT8 if _multiplies_int8() else _FLOAT32
    width, convert, multiply = kind
    for left in range(0, one.shape[1], width):
        a = convert(one[:, left : left + width])
        if one is not two:
            total += multiply(a, convert(two[:, left : left + width]).T)
            continue
        for top in range(0, len(a), _TILE):  # what lies below the diagonal is mirrored
            total[top : top + _TILE, top:] += multiply(a[top : top + _TILE], a[top:].T)
    return total.triu() + total.triu(1).T if one is two else total


def _multiplies_int8() -> bool:
    """Whether this processor adds up int8 products in int32; others do so slowly, or saturate in between."""
    # Both names are torch's private ones: without them float32 does the same.
    return hasattr(torch, "_int_mm") and bool(getattr(torch.cpu, "_is_vnni_supported", bool)())


def _rounding(read: Read, count: int, size: int) -> float:
    """Two distances that differ by less may be in the wrong order: twice the error bound of a matrix product."""
    largest, values = 0.0, 0
    for rows in _blocks(np.arange(count), size):
        block = read(rows)
        largest, values = max(largest, float(_squares(block).max())), block.shape[1]
    return 16 * (values + 2) * float(np.finfo(np.float64).eps) * largest


def _by_differences(read: Read, count: int, k: int, size: int, asked: Indices) -> Indices:
    """The neighbours of some rows, from the differences themselves."""
    chosen = read(asked).numpy()
    blocks = [cdist(chosen, read(rows).numpy(), "sqeuclidean") for rows in _blocks(np.arange(count), size)]
    distances = np.concatenate(blocks, axis=1)
    distances[np.arange(len(asked)), asked] = np.inf
    return np.argsort(distances, axis=1, kind="stable")[:, :k]
