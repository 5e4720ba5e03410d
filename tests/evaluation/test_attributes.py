"""Words for cells: learned as scikit-learn would, judged on other images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from cellnet.datasets.wbcatt import ATTRIBUTES, describe_attributes
from cellnet.errors import DataError
from cellnet.evaluation.attributes import fit_words
from cellnet.evaluation.intervals import wilson

KNOWN = {"size": ("small", "big"), "colour": ("pink", "red", "blue", "green")}


def cells(n: int, seed: int) -> tuple[NDArray[np.float32], dict[str, NDArray[np.str_]]]:
    """Features that tell size well and colour so so; nothing is green."""
    rng = np.random.default_rng(seed)
    size, colour = rng.integers(0, 2, n), rng.integers(0, 3, n)
    features = rng.normal(size=(n, 8)) * np.arange(1, 9) + 100
    features[:, 0] += 6 * size
    features[:, 3] += 7 * (colour == 1)
    features[:, 5] += 9 * (colour == 2)
    words = {"size": np.array(KNOWN["size"])[size], "colour": np.array(KNOWN["colour"])[colour]}
    return features.astype(np.float32), words


def test_each_layer_is_scikit_learns() -> None:
    (seen, words), (new, right) = cells(300, 0), cells(200, 1)
    probe = fit_words(seen, words, new, right, KNOWN)
    found = probe.words_for(torch.from_numpy(new))
    scaler = StandardScaler().fit(seen)
    for name in KNOWN:
        layer = LogisticRegression(C=0.01, max_iter=1000).fit(scaler.transform(seen), words[name])
        expected = layer.predict(scaler.transform(new))
        assert [row[name][0] for row in found] == expected.tolist()
        probability = layer.predict_proba(scaler.transform(new)).max(1)
        np.testing.assert_allclose([row[name][1] for row in found], probability, atol=1e-4)
        figures = probe.accuracy[name]
        estimate = wilson(int((expected == right[name]).sum()), 200)
        assert (figures["value"], figures["low"], figures["high"]) == (estimate.value, estimate.low, estimate.high)
        assert figures["n"] == 200
        assert figures["chance"] == pytest.approx(np.unique(right[name], return_counts=True)[1].max() / 200)
        balanced = balanced_accuracy_score(right[name], expected)
        assert figures["balanced_value"] == pytest.approx(balanced)
        assert figures["balanced_low"] < balanced < figures["balanced_high"]
    assert probe.accuracy["size"]["value"] > probe.accuracy["size"]["chance"]


def test_a_word_that_was_never_seen_is_never_said() -> None:
    (seen, words), (new, right) = cells(100, 0), cells(50, 1)
    probabilities = fit_words(seen, words, new, right, KNOWN)(torch.from_numpy(new))["colour"]
    assert float(probabilities[:, 3].max()) == 0


def test_one_word_alone_cannot_be_learned() -> None:
    (seen, words), (new, right) = cells(20, 0), cells(10, 1)
    with pytest.raises(DataError, match="the same size"):
        fit_words(seen, {**words, "size": np.array(["big"] * 20)}, new, right, KNOWN)


def test_words_become_a_sentence() -> None:
    words = {
        "cell_size": "big",
        "nucleus_shape": "segmented-multilobed",
        "chromatin_density": "densely",
        "cytoplasm_colour": "light blue",
        "cytoplasm_vacuole": "yes",
        "granule_type": "small",
        "granule_colour": "pink",
        "granularity": "yes",
    }
    assert describe_attributes(words) == (
        "big cell, multilobed nucleus, dense chromatin, light blue cytoplasm, vacuoles, small pink granules"
    )
    assert describe_attributes({**words, "granularity": "no"}).endswith("vacuoles, no granules")
    assert describe_attributes({"nucleus_shape": "irregular"}) == "irregular nucleus"
    assert describe_attributes({}) == ""
    assert set(words) <= set(ATTRIBUTES)
