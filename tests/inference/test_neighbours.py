"""Look-up of known cells by their features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError, WeightsError
from cellnet.inference import NeighbourIndex
from cellnet.models import CellClassifier, create_model
from cellnet.tensors import write_tensors


def test_the_neighbours_are_scikit_learns(tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path) -> None:
    known, asked = synthetic.subset(range(0, 48, 2)), synthetic.subset(range(1, 48, 6))
    index = NeighbourIndex.build(tiny_model, known)
    again = NeighbourIndex.load(index.save(tmp_path / "known.safetensors"))
    vectors = [tiny_model.predict(cells, features=True).features for cells in (known, asked)]
    distances, rows = NearestNeighbors(n_neighbors=4, metric="cosine").fit(vectors[0]).kneighbors(vectors[1])
    found = tiny_model.neighbours(asked, again, k=4)
    assert found == tiny_model.neighbours(asked, known, k=4)
    for mine, theirs, apart in zip(found, rows, distances, strict=True):
        assert {n.file for n in mine} == {known.files[row] for row in theirs}
        assert [n.similarity for n in mine] == pytest.approx(1 - apart, abs=2e-3)
        names = {file: known.labels.names[target] for file, target in zip(known.files, known.targets, strict=True)}
        assert all(n.label == names[n.file] for n in mine)


def test_unreadable_images_have_no_neighbours(
    tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    [nothing, itself] = tiny_model.neighbours([tmp_path / "bad.png", synthetic.image(5)], synthetic, k=1)
    assert nothing == []
    assert itself[0].file == synthetic.files[5]
    unreadable = CellDataset([str(tmp_path / "bad.png")], np.array([0]), synthetic.labels)
    with pytest.raises(DataError, match="nothing to compare with"):
        NeighbourIndex.build(tiny_model, unreadable)


def test_what_cannot_be_looked_up(tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path) -> None:
    index = NeighbourIndex.build(tiny_model, synthetic.subset(range(3)))
    assert len(index.nearest(tiny_model, synthetic.image(0), k=4)[0]) == 3
    with pytest.raises(ConfigError, match="k=0 must be at least 1"):
        index.nearest(tiny_model, synthetic, k=0)
    with pytest.raises(ConfigError, match="made with other weights"):
        index.nearest(create_model("cnn", image_size=32), synthetic)
    write_tensors(tmp_path / "a.safetensors", {"features": torch.zeros(2, 3)})
    with pytest.raises(WeightsError, match="is no index of neighbours"):
        NeighbourIndex.load(tmp_path / "a.safetensors")
    write_tensors(
        tmp_path / "b.safetensors",
        {"features": torch.zeros(2, 3)},
        {"neighbours": '{"files": ["a"], "labels": ["b"], "weights": ""}'},
    )
    with pytest.raises(WeightsError, match="rows and names differ"):
        NeighbourIndex.load(tmp_path / "b.safetensors")


def test_the_distance_is_that_of_the_kth_neighbour(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    known, asked = synthetic.subset(range(0, 48, 2)), synthetic.subset(range(1, 48, 6))
    index = NeighbourIndex.build(tiny_model, known)
    vectors = [tiny_model.predict(cells, features=True).features for cells in (known, asked)]
    apart, _ = NearestNeighbors(n_neighbors=24, metric="cosine").fit(vectors[0]).kneighbors(vectors[1])
    for k, column in ((1, 0), (4, 3), (24, 23), (99, 23)):
        assert index.distances(vectors[1], k) == pytest.approx(apart[:, column], abs=2e-3)
    assert np.isnan(index.distances(np.full((1, vectors[0].shape[1]), np.nan))).all()
    with pytest.raises(ConfigError, match="k=0 must be at least 1"):
        index.distances(vectors[1], 0)
