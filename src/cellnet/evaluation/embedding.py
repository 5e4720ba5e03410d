"""How images lie in a network's features: a plane in which near means alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from cellnet.errors import ConfigError, DataError
from cellnet.evaluation.plots import INK, MUTED
from cellnet.evaluation.text import shorten
from cellnet.registry import check_name

METHODS = ("pca", "tsne", "umap")
MOST_IMAGES = 5000
"""More are thinned out: a plot shows no more, and t-SNE takes minutes."""

RESOLUTION = 1e-6
"""Vectors of length 1 that differ by less are the same: that much is rounding of float32."""

# Okabe & Ito's, which stay apart for every kind of colour vision; then again with another mark.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f")
_MARKS = ("o", "^", "s", "D", "v", "P")


def to_plane(features: ArrayLike, method: str = "tsne", seed: int = 0) -> NDArray[np.float64]:
    """Bring feature vectors into a plane.

    Distances between far clusters mean something with ``pca`` only; ``tsne`` (van der Maaten & Hinton 2008) and
    ``umap`` (McInnes et al. 2018, arXiv 1802.03426) keep neighbours together, of the 50 main directions.

    Args:
        features: N×D, N at least 3; they are divided by their lengths.
        method: ``pca``, ``tsne``, or ``umap``, which needs ``pip install cellnet[umap]``.
        seed: Of the two that draw.

    Returns:
        N×2.

    Raises:
        UnknownNameError: No such method.
        ConfigError: umap-learn is not installed.
        DataError: Fewer than three vectors, or values that are not finite.

    Example:
        >>> to_plane(np.eye(5), "pca").shape
        (5, 2)
    """
    from sklearn.decomposition import PCA  # half a second, for one plot
    from sklearn.manifold import TSNE

    check_name("method", method, METHODS)
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or len(rows) < 3 or not np.isfinite(rows).all():
        raise DataError(f"Features of shape {rows.shape} cannot be drawn; give at least three rows of finite numbers.")
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    if np.ptp(rows, axis=0).max() < RESOLUTION:  # a single point; t-SNE would divide by its spread
        return np.zeros((len(rows), 2))
    directions = 2 if method == "pca" else min(50, *rows.shape)
    rows = PCA(directions, random_state=seed).fit_transform(rows)
    if method == "pca":
        return np.asarray(rows)
    if method == "tsne":
        return np.asarray(TSNE(perplexity=min(30.0, (len(rows) - 1) / 3), random_state=seed).fit_transform(rows))
    try:
        from umap import UMAP
    except ImportError as error:
        raise ConfigError("method='umap' needs umap-learn: pip install cellnet[umap]; or use method='tsne'.") from error
    return np.asarray(UMAP(random_state=seed).fit_transform(rows))


def embedding(
    features: ArrayLike, targets: ArrayLike, names: Sequence[str], method: str = "tsne", seed: int = 0
) -> Figure:
    """Images as points in a plane, coloured by their true class, whose name stands in the middle of its points.

    Args:
        features: N×D.
        targets: N labels.
        names: Class names, by label.
        method: See `to_plane`.
        seed: See `to_plane`; it also draws the images that are shown, where there are more than 5,000.

    Raises:
        CellnetError: As `to_plane`.
    """
    rows, labels = np.asarray(features), np.asarray(targets)
    if len(rows) > MOST_IMAGES:
        shown = np.random.default_rng(seed).choice(len(rows), MOST_IMAGES, replace=False)
        rows, labels = rows[shown], labels[shown]
    places = to_plane(rows, method, seed)
    figure = Figure(figsize=(7.2, 6.0), layout="constrained")
    axes = figure.add_subplot()
    for label in np.unique(labels).tolist():
        points = places[labels == label]
        colour, mark = _COLOURS[label % len(_COLOURS)], _MARKS[label // len(_COLOURS) % len(_MARKS)]
        axes.scatter(
            points[:, 0], points[:, 1], s=9, color=colour, marker=mark, linewidths=0, alpha=0.75, rasterized=True
        )
        x, y = np.median(points, axis=0).tolist()
        name = f"{shorten(names[label])} ({len(points):,})"
        box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colour, "alpha": 0.85}
        axes.text(x, y, name, ha="center", va="center", fontsize=9, color=INK, bbox=box, parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    kind = {"pca": "the two main directions", "tsne": "t-SNE", "umap": "UMAP"}[method]
    axes.set_title(f"{len(rows):,} images in the network's features, by {kind}", color=MUTED, fontsize=9, loc="right")
    return figure
