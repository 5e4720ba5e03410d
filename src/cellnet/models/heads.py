"""Classifier heads: from a feature vector to one logit a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cellnet.errors import ConfigError, LabelError

BRANCH_FEATURES = 1024
"""Width of the study's dense layer behind each network."""

FUSED_FEATURES = 512
"""Width of the study's dense layer behind the concatenated branches."""


class Head(nn.Module):
    """Base of the heads that a checkpoint can describe in words.

    Args:
        dropout: Probability that a feature is dropped in training.

    Raises:
        ConfigError: ``dropout`` is not in [0, 1).
    """

    kind: ClassVar[str]

    def __init__(self, dropout: float) -> None:
        super().__init__()
        if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise ConfigError(f"dropout={dropout!r} must be a number of at least 0 and below 1, e.g. 0.2.")
        self.dropout = float(dropout)

    @property
    def architecture(self) -> dict[str, Any]:
        """The head in JSON types."""
        return {"name": self.kind, "dropout": self.dropout}


class LinearHead(Head):
    """Dropout and one linear layer."""

    kind = "linear"

    def __init__(self, num_features: int, num_classes: int, dropout: float = 0.2) -> None:
        super().__init__(dropout)
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(num_features, num_classes))

    def forward(self, features: Tensor) -> Tensor:
        """BxD -> logits BxC."""
        logits: Tensor = self.classify(features)
        return logits


class StudyHead(Head):
    """The study's head of a single network: dense 1024, ReLU, dropout, linear."""

    kind = "study"

    def __init__(self, num_features: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__(dropout)
        self.branch = _dense(num_features, BRANCH_FEATURES)
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(BRANCH_FEATURES, num_classes))

    def forward(self, features: Tensor) -> Tensor:
        """BxD -> logits BxC."""
        logits: Tensor = self.classify(self.branch(features))
        return logits


class FusionHead(Head):
    """The study's head of the hybrid: dense 1024 behind each network, joined, dense 512, linear.

    The dropout of the 1024 features stands behind their concatenation, which is the same thing, and keeps it
    active in training when the branches are frozen, as in the study.

    Args:
        branch_features: Feature lengths of the networks; their sum is the length of the input.
        num_classes: Number of classes.
        dropout: Probability for both dropout layers.
    """

    kind = "fusion"

    def __init__(self, branch_features: Sequence[int], num_classes: int, dropout: float = 0.5) -> None:
        super().__init__(dropout)
        self.branch_features = list(branch_features)
        self.branches = nn.ModuleList(_dense(n, BRANCH_FEATURES) for n in self.branch_features)
        self.fuse = nn.Sequential(
            nn.Dropout(dropout),
            _dense(BRANCH_FEATURES * len(self.branch_features), FUSED_FEATURES),
            nn.Dropout(dropout),
            nn.Linear(FUSED_FEATURES, num_classes),
        )

    def forward(self, features: Tensor) -> Tensor:
        """BxD, the branches' features one behind the other -> logits BxC."""
        parts = torch.split(features, self.branch_features, dim=1)
        joined = [branch(part) for branch, part in zip(self.branches, parts, strict=True)]
        logits: Tensor = self.fuse(torch.cat(joined, dim=1))
        return logits


HEADS: dict[str, type[LinearHead] | type[StudyHead]] = {"linear": LinearHead, "study": StudyHead}
"""Heads of a single feature vector, by name."""


def last_linear(head: nn.Module, num_classes: int) -> nn.Linear:
    """The layer of a head that has one row a class.

    Raises:
        LabelError: The head does not end in one.
    """
    layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    if not layers or layers[-1].out_features != num_classes:
        raise LabelError(
            f"The head {type(head).__name__} does not end in one linear layer, so its classes cannot be changed; use "
            "one of cellnet's heads."
        )
    return layers[-1]


def _dense(in_features: int, out_features: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_features, out_features), nn.ReLU(inplace=True))
