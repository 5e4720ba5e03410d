"""A small smooth picture, and stained pixels of known composition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F


@pytest.fixture
def image() -> torch.Tensor:
    """A smooth colour picture, 3×32×32, of mid tones."""
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(70, 180, (3, 6, 6), generator=generator, dtype=torch.uint8)
    return F.resize(small, [32, 32])


@pytest.fixture
def smear() -> torch.Tensor:
    """3×48×48 pixels that hold between them all proportions of two stains, seen through Beer and Lambert's law."""
    rng = np.random.default_rng(0)
    stains = np.array([[0.65, 0.70, 0.29], [0.27, 0.80, 0.54]])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    share = rng.uniform(0, 1, (48, 48, 1))
    amounts = rng.uniform(0.6, 1.6, (48, 48, 1)) * np.concatenate([share, 1 - share], axis=2)
    levels = np.rint(255 * np.exp(-amounts @ stains)).astype(np.uint8)
    return torch.from_numpy(levels).permute(2, 0, 1)
