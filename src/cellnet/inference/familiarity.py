"""Tell a model which images it has seen, so that it knows strange ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellnet.errors import DataError
from cellnet.images import appearance
from cellnet.inference.predictor import predict
from cellnet.models.probes import Familiarity

if TYPE_CHECKING:
    from cellnet.datasets import CellDataset
    from cellnet.models import CellClassifier

DIRECTIONS = 32
"""Directions of the covariance that are kept; from 16 to 256 of them tell strange images nearly as well."""

IMAGES_PER_CLASS = 100

PENALTY = 0.01
"""Inverse strength of the regularisation of the layer that tells whole cells from other pieces of their images."""

MANY = 24
"""Of so many pieces the calmest shows, as a rule, nothing but background."""

BESIDE = 0.4
"""How far the middle of a piece lies from the middle of the image at least, as a share of the piece's side."""

FOLDS = 4
"""Its scores of the training images come from layers that were fitted on the others of as many parts."""


def fit_familiarity(
    model: CellClassifier,
    train: CellDataset,
    val: CellDataset | None = None,
    *,
    directions: int = DIRECTIONS,
    seed: int = 0,
    **options: Any,
) -> None:
    """Fit `Familiarity` on up to 100 training images of each class, and give it to the model.

    From each image a piece is cut that shows no whole cell in its middle (`cut_piece`), so that the model learns to
    tell a cell from an empty field and from half a cell; and how the images look as pictures (`appearance`) tells of
    other stains, lights and focus, through which a network may have learned to look.
    From then on ``predictions.ood`` is the distance. Calibrate the model afterwards: only then it knows how far is too
    far.

    Args:
        model: The model; an earlier `Familiarity` and its threshold give way.
        train: The images that it was trained on.
        val: Images like these that it was not trained on, on which its features are less sure: up to 100 of each class
            weigh the three measures against each other. Without them training images do.
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
    cells = train.subset(rows)
    known, readable = _features(model, cells, **options)
    if len(known) < 2:
        raise DataError("Fewer than two training images could be read, too few to be familiar with; check their files.")
    labels = torch.from_numpy(train.targets[rows][readable])
    probe = Familiarity(known.shape[1], len(model.labels), min(directions, known.shape[1]))
    probe.fit(known, labels)

    unseen, looks = known, _appearances(model, cells, readable)
    seen = looks
    if val is not None:
        few = val.subset(few_of_each_class(val, seed))
        unseen, there = _features(model, few, **options)
        looks = _appearances(model, few, there)
    generator = np.random.default_rng(seed)
    pieces = [cut_piece(cells.image(row), generator) for row in np.flatnonzero(readable).tolist()]
    _tell_from(probe, known, _features(model, pieces, **options)[0], None if val is None else unseen)
    probe.look_at(seen, labels, unseen, looks)
    model.probes["familiarity"] = probe.to(next(model.parameters()).device)
    model.thresholds.pop("distance", None)


def cut_piece(image: Tensor, generator: np.random.Generator) -> Tensor:
    """A square of an image in whose middle the cell does not lie; every other time the calmest of many.

    Args:
        image: uint8 3×H×W with the cell in the middle.
        generator: Draws the places, and the side: a fifth to a half of the image's.

    Returns:
        uint8 3×S×S.
    """
    lengths = np.array(image.shape[1:])
    # Rounded down: of at most half the image, a piece finds a place beside the middle.
    side = max(1, int(lengths.min() * generator.uniform(1 / 5, 1 / 2)))
    wanted = 1 if generator.random() < 0.5 else MANY
    squares: list[Tensor] = []
    while len(squares) < wanted:
        place = generator.integers(lengths - side + 1)
        if side == lengths.min() or max(abs(place + side / 2 - lengths / 2)) >= BESIDE * side:
            squares.append(image[:, place[0] : place[0] + side, place[1] : place[1] + side])
    return min(squares, key=lambda square: float(square.float().std((1, 2), correction=0).sum())).clone()


def _features(model: CellClassifier, images: Any, **options: Any) -> tuple[Tensor, NDArray[np.bool_]]:
    """Features N×D of the images that could be read, and which these are."""
    predictions = predict(model, images, features=True, **options)
    known = predictions.readable
    if predictions.features is None or not known.any():
        raise DataError("None of the images could be read, so there is nothing to be familiar with; check their files.")
    return torch.from_numpy(predictions.features[known]), known


def _appearances(model: CellClassifier, images: CellDataset, readable: NDArray[np.bool_]) -> Tensor:
    """What `appearance` says of the readable ones of these images, as the network sees them."""
    rows = np.flatnonzero(readable).tolist()
    return torch.cat([appearance(model.preprocess(images.image(row))[None]) for row in rows])


def _tell_from(probe: Familiarity, cells: Tensor, pieces: Tensor, unseen: Tensor | None) -> None:
    """Fit the linear layer on standardised features, and give it to the probe for features as they are."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    mean, scale = cells.mean(0), cells.std(0).clamp(min=1e-4)
    values = ((torch.cat((cells, pieces)) - mean) / scale).numpy()
    strange = np.repeat([0, 1], [len(cells), len(pieces)])
    layer = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000).fit(values, strange)
    weight = torch.from_numpy(layer.coef_[0]).float() / scale
    bias = float(layer.intercept_[0]) - float(weight @ mean)
    if unseen is not None:
        probe.tell_from(weight, bias, unseen, unseen @ weight + bias)
        return
    # What the layer was fitted on itself would seem too easy.
    folds = min(FOLDS, len(cells))
    scores = cross_val_predict(layer, values, strange, cv=folds, method="decision_function")[: len(cells)]
    probe.tell_from(weight, bias, cells, torch.from_numpy(scores))


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
