"""Shared tiny data: nothing here needs the network or files outside the repository."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")

import pytest
import torch

from cellnet.datasets import CellDataset, load_dataset
from cellnet.labels import PBC_LABELS
from cellnet.models import CellClassifier, create_model


@pytest.fixture(scope="session")
def synthetic() -> CellDataset:
    """48 drawn cells, six a class, 32 px."""
    return load_dataset("synthetic", per_class=6, image_size=32, seed=0)


@pytest.fixture
def tiny_model() -> CellClassifier:
    """An untrained small CNN for 32 px and PBC's eight classes."""
    torch.manual_seed(0)
    return create_model("cnn", PBC_LABELS, image_size=32).eval()
