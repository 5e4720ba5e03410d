from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from cellnet.errors import ConfigError, DataError, UnknownNameError
from cellnet.evaluation import embedding as module
from cellnet.evaluation import evaluate
from cellnet.evaluation.embedding import embedding, to_plane

TARGETS = np.repeat([0, 1, 2], 20)
FEATURES = np.eye(8)[TARGETS] + 0.1 * np.random.default_rng(0).standard_normal((60, 8))


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_classes_that_lie_apart_do_so_in_the_plane(method):
    places = to_plane(FEATURES, method)
    assert places.shape == (60, 2)
    assert silhouette_score(places, TARGETS) > 0.5
    assert np.array_equal(places, to_plane(FEATURES, method))
    assert to_plane(7 * FEATURES, "pca") == pytest.approx(to_plane(FEATURES, "pca"))


def test_the_figure_names_each_class_once_and_thins_out(monkeypatch):
    monkeypatch.setattr(module, "MOST_IMAGES", 30)
    axes = embedding(FEATURES, TARGETS, ["a", "b_b", "c"], "pca").axes[0]
    assert sum(len(points.get_offsets()) for points in axes.collections) == 30
    assert [text.get_text().split(" (")[0] for text in axes.texts] == ["a", "b_b", "c"]
    assert axes.get_title(loc="right") == "30 images in the network's features, by the two main directions"


def test_a_report_with_features_shows_them(tiny_model, synthetic, tmp_path):
    evaluate(tiny_model, synthetic, features=True).save(tmp_path)
    assert (tmp_path / "embedding.png").stat().st_size > 10_000
    page = (tmp_path / "report.html").read_text()
    assert "Which images does the network find alike?" in page
    assert evaluate(tiny_model, synthetic).embedding() is None


def test_what_cannot_be_drawn(monkeypatch):
    with pytest.raises(UnknownNameError, match="Did you mean 'tsne'"):
        to_plane(FEATURES, "tsn")
    with pytest.raises(DataError, match=r"shape \(2, 8\) cannot be drawn"):
        to_plane(FEATURES[:2])
    with pytest.raises(DataError, match="finite"):
        to_plane(np.where(FEATURES > 1, np.nan, FEATURES))
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(ConfigError, match=r"pip install cellnet\[umap\]"):
        to_plane(FEATURES, "umap")


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("features", [np.zeros((10, 64)), np.ones((4, 5)), 1 + 1e-8 * FEATURES])
def test_equal_features_are_one_point(features, method):
    assert np.array_equal(to_plane(features, method), np.zeros((len(features), 2)))
