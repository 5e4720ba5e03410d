from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from cellnet.balancing import neighbours
from cellnet.balancing.neighbours import nearest


def search(rows: np.ndarray, k: int, asked: np.ndarray | None = None) -> np.ndarray:
    tensor = torch.from_numpy(rows)
    return nearest(lambda numbers: tensor[numbers], len(rows), k, asked)


def by_hand(rows: np.ndarray, k: int) -> np.ndarray:
    """By differences of float64 numbers, exact for bytes; of equally near rows the first."""
    distances = cdist(rows.astype(float), rows.astype(float), "sqeuclidean")
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


@pytest.fixture(params=[7, 64, 1024])
def small_blocks(request, monkeypatch):
    """Blocks and tiles that divide the rows in one way or another."""
    monkeypatch.setattr(neighbours, "_MOST_ROWS", request.param)
    monkeypatch.setattr(neighbours, "_TILE", 5)


@pytest.mark.parametrize("values", [1, 2, 20, 3000])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64, np.uint16])
def test_neighbours_are_those_of_scikit_learn(small_blocks, values, dtype):
    generator = np.random.default_rng(values)
    rows = generator.random((90, values)) if np.dtype(dtype).kind == "f" else generator.integers(0, 256, (90, values))
    rows = rows.astype(dtype)
    expected = by_hand(rows, 6)
    assert np.array_equal(search(rows, 6), expected)
    for asked in (np.array([3]), generator.permutation(90)[:41], np.arange(89)):
        assert np.array_equal(search(rows, 6, asked), expected[asked])
    if values > 2 or np.dtype(dtype).kind == "f":  # else there are ties, which scikit-learn breaks in any way
        peer = NearestNeighbors(n_neighbors=6).fit(rows.astype(float) if dtype != np.float32 else rows)
        assert np.array_equal(search(rows, 6), peer.kneighbors(return_distance=False))


def test_bytes_that_differ_least_are_told_apart():
    """A float32 Gram matrix loses a difference of one in three hundred million."""
    rows = np.full((4, 60_000), 255, np.uint8)
    rows[1:] = 0
    rows[2, 0], rows[3, 0] = 1, 2
    assert search(rows, 3).tolist() == [[3, 2, 1], [2, 3, 0], [1, 3, 0], [2, 1, 0]]


def test_floats_that_differ_least_are_told_apart():
    """A float64 matrix product gives zero, or less, for such distances."""
    rows = np.array([[0.0, 1e8], [1e-3, 1e8], [3e-3, 1e8], [-1.5e-3, 1e8], [9.0, -1e8]])
    assert search(rows, 2)[:4].tolist() == by_hand(rows, 2)[:4].tolist() == [[1, 3], [0, 2], [1, 0], [0, 1]]


def test_twins_come_first_and_in_order():
    rows = np.random.default_rng(0).integers(0, 256, (6, 50), np.uint8)[[0, 1, 0, 2, 0, 3]]
    assert search(rows, 2)[[0, 2, 4]].tolist() == [[2, 4], [0, 4], [0, 2]]
    assert np.array_equal(search(rows, 5), search(rows.astype(float), 5))


def test_int8_products_give_the_same(monkeypatch):
    rows = np.random.default_rng(0).integers(0, 256, (40, 70_000), np.uint8)
    rows[0], rows[1] = 0, 255
    expected = search(rows, 3)
    monkeypatch.setattr(neighbours, "_multiplies_int8", lambda: True)
    assert np.array_equal(search(rows, 3), expected)


def test_a_single_column_is_kept_from_int8_products(monkeypatch):
    """Some processors' `_int_mm` takes the strides of N×1 for those of 1×N."""
    columns = []

    def noted(one, two):
        columns.append(one.shape[1])
        return one.int() @ two.int()

    monkeypatch.setattr(torch, "_int_mm", noted)
    monkeypatch.setattr(neighbours, "_multiplies_int8", lambda: True)
    generator = np.random.default_rng(0)
    for values in (1, 2, (1 << 16) + 1):
        rows = generator.integers(0, 256, (9, values), np.uint8)
        assert np.array_equal(search(rows, 3), by_hand(rows, 3))
    assert set(columns) == {2, 1 << 16}


def test_blocks_fit_their_bytes():
    assert neighbours.block_rows(3 * 299 * 299) == 500
    assert neighbours.block_rows(1) == 1024
    assert neighbours.block_rows(1 << 40) == 1
