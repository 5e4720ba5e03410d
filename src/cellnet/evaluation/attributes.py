"""Teach a model the words for what a cell looks like, and measure how often each of them is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cellnet.datasets.wbcatt import ATTRIBUTES
from cellnet.errors import DataError
from cellnet.evaluation.intervals import bootstrap, wilson
from cellnet.evaluation.metrics import balanced_accuracy, confusion_matrix
from cellnet.inference.predictor import predict
from cellnet.models.probes import Attributes

if TYPE_CHECKING:
    from cellnet.datasets.wbcatt import WBCAtt
    from cellnet.models import CellClassifier

NEVER = -1e4
"""Logit of a word that no training image has."""


def fit_attributes(model: CellClassifier, train: WBCAtt, test: WBCAtt, **options: Any) -> Attributes:
    """Learn a linear layer for each of WBCAtt's attributes on the features of a network that stays as it is.

    Args:
        model: The network.
        train: Images with attributes, of those that the network was trained on or of others.
        test: Images with attributes that neither the network nor the layers have seen: they say how often each word is
            right.
        **options: Of `cellnet.inference.predict`, e.g. ``device`` or ``progress``.

    Returns:
        The layers, with their accuracy.

    Raises:
        DataError: An image stands in both, or an attribute has one word only.
        ImageError: An image cannot be read.
        CellnetError: As `cellnet.inference.predict`.
    """
    if np.isin(test.content_hashes(), train.content_hashes()).any():
        raise DataError("Some images stand in train and in test, which would then tell what was learned by heart.")
    seen, new = (_features(model, part, options) for part in (train, test))
    return fit_words(seen, _columns(train), new, _columns(test))


def fit_words(
    seen: NDArray[np.float32],
    words: Mapping[str, NDArray[np.str_]],
    new: NDArray[np.float32],
    right: Mapping[str, NDArray[np.str_]],
    known: Mapping[str, tuple[str, ...]] = ATTRIBUTES,
) -> Attributes:
    """`fit_attributes` on features that are at hand.

    Args:
        seen: N×D features to learn on.
        words: Attribute -> the word of each of them.
        new: M×D features to judge on.
        right: Attribute -> the word of each of these.
        known: Attribute -> all words, in order.

    Raises:
        DataError: An attribute has one word only among those to learn on.
    """
    scaler = StandardScaler().fit(seen)
    probe = Attributes(seen.shape[1], known)
    weights, biases = [], []
    for name, choices in known.items():
        if len(set(words[name])) < 2:
            raise DataError(f"All images have the same {name}, so there is nothing to learn of it; give more images.")
        layer = LogisticRegression(C=0.01, max_iter=1000).fit(scaler.transform(seen), words[name])
        weight, bias = np.zeros((len(choices), seen.shape[1])), np.full(len(choices), NEVER)
        if len(layer.classes_) == 2:  # scikit-learn gives the second class's logit alone
            rows = np.stack([-layer.coef_[0], layer.coef_[0]]) / 2, np.array([-1, 1]) * layer.intercept_[0] / 2
        else:
            rows = layer.coef_, layer.intercept_
        places = [choices.index(word) for word in layer.classes_]
        weight[places], bias[places] = rows
        biases.append(bias - weight @ (scaler.mean_ / scaler.scale_))
        weights.append(weight / scaler.scale_)
    probe.weight.copy_(torch.from_numpy(np.concatenate(weights)))
    probe.bias.copy_(torch.from_numpy(np.concatenate(biases)))
    found = probe.words_for(torch.from_numpy(new))
    for name, choices in known.items():
        hits = sum(row[name][0] == word for row, word in zip(found, right[name], strict=True))
        frequent = np.unique(right[name], return_counts=True)[1].max() / len(new)
        balanced = bootstrap(_confusion(name, right[name], found, choices), balanced_accuracy)
        probe.accuracy[name] = {
            **wilson(hits, len(new)).to_dict(),
            "n": len(new),
            "chance": float(frequent),
            **{f"balanced_{end}": figure for end, figure in balanced.to_dict().items()},
        }
    return probe


def _confusion(
    name: str, right: NDArray[np.str_], found: Sequence[Mapping[str, tuple[str, float]]], choices: Sequence[str]
) -> NDArray[np.int64]:
    places = {word: place for place, word in enumerate(choices)}
    return confusion_matrix([places[word] for word in right], [places[row[name][0]] for row in found], len(choices))


def _features(model: CellClassifier, cells: WBCAtt, options: Mapping[str, Any]) -> NDArray[np.float32]:
    # One after another: thousands of decoded images would take gigabytes.
    features = predict(model, (cells.image(i) for i in range(len(cells))), features=True, **options).features
    if features is None:
        raise DataError("The predictions have no features.")
    return features


def _columns(cells: WBCAtt) -> dict[str, NDArray[np.str_]]:
    return {name: np.asarray(cells.attributes[name], np.str_) for name in ATTRIBUTES}
