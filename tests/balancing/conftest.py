"""Small unbalanced data, in which classes are 12, 7 and 4 images."""

from __future__ import annotations

import numpy as np
import pytest

from cellnet.datasets import CellDataset
from cellnet.labels import LabelSchema

COUNTS = (12, 7, 4)


@pytest.fixture
def images() -> np.ndarray:
    """uint8 23×3×16×16, noise."""
    return np.random.default_rng(0).integers(0, 256, (sum(COUNTS), 3, 16, 16), np.uint8)


@pytest.fixture
def targets() -> np.ndarray:
    """Labels of the images, shuffled."""
    return np.random.default_rng(1).permutation(np.repeat(np.arange(len(COUNTS)), COUNTS))


@pytest.fixture
def cells(images: np.ndarray, targets: np.ndarray) -> CellDataset:
    """The training part of a data set in memory."""
    schema = LabelSchema.from_names(["neutrophil", "monocyte", "basophil"])
    files = [f"{schema.names[target]}/cell_{i}.png" for i, target in enumerate(targets)]
    return CellDataset(files, targets, schema, images=images, part="train")
