"""Tell a model which images it has seen, so that it knows strange ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from cellnet.errors import DataError
from cellnet.inference.predictor import predict
from cellnet.models.probes import Familiarity

if TYPE_CHECKING:
    from cellnet.datasets import CellDataset
    from cellnet.models import CellClassifier

DIRECTIONS = 64
"""Directions of the covariance that are kept; from 16 to 256 of them tell strange images nearly as well."""

IMAGES_PER_CLASS = 100


def fit_familiarity(
    model: CellClassifier, train: CellDataset, *, directions: int = DIRECTIONS, seed: int = 0, **options: Any
) -> None:
    """Fit `Familiarity` on up to 100 training images of each class, and give it to the model.

    From then on ``predictions.ood`` is the distance. Calibrate the model afterwards: only then it knows how far is too
    far.

    Args:
        model: The model; an earlier `Familiarity` and its threshold give way.
        train: The images that it was trained on.
        directions: Directions of the covariance to keep.
        seed: Of the choice of images.
        **options: Of `predict`, e.g. ``device`` or ``batch_size``.

    Raises:
        DataError: Fewer than two readable images.
        CellnetError: As `predict`.

    Example:
        >>> from cellnet import create_model, load_dataset
        >>> cells = load_dataset("synthetic", per_class=4, image_size=32)
        >>> model = create_model("cnn", cells.labels, image_size=32)
        >>> fit_familiarity(model, cells)
        >>> bool(model.predict(cells).ood.mean() < 3)
        True
    """
    rows = few_of_each_class(train, seed)
    predictions = predict(model, train.subset(rows), features=True, **options)
    known = predictions.readable
    if predictions.features is None or known.sum() < 2:
        raise DataError("Fewer than two training images could be read, too few to be familiar with; check their files.")
    features = torch.from_numpy(predictions.features[known])
    probe = Familiarity(features.shape[1], len(model.labels), min(directions, features.shape[1]))
    probe.fit(features, torch.from_numpy(train.targets[rows][known]))
    model.probes["familiarity"] = probe.to(next(model.parameters()).device)
    model.thresholds.pop("distance", None)


def few_of_each_class(cells: CellDataset, seed: int = 0, most: int = IMAGES_PER_CLASS) -> NDArray[np.int64]:
    """Rows of up to ``most`` images of each class, drawn at random.

    Example:
        >>> from cellnet import load_dataset
        >>> cells = load_dataset("synthetic", per_class=4, image_size=32)
        >>> set(cells.subset(few_of_each_class(cells, most=3)).class_counts().values())
        {3}
    """
    generator = np.random.default_rng(seed)
    return np.concatenate(
        [generator.permutation(np.flatnonzero(cells.targets == c))[:most] for c in range(len(cells.labels))]
    )
