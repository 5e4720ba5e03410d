"""What a model's features tell beside the class: how familiar an image is, and what the cell looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

LEAST_VARIANCE = 0.01
"""Least variance of a direction, as a share of the mean of all."""

TYPICAL = 0.99
"""The share of whole cells by which distances and a linear layer's scores are brought to one unit."""


class Familiarity(nn.Module):
    """How far the features of an image lie from those of the training images.

    The distance of Mahalanobis to the nearest class mean, by a covariance that all classes share. It is kept by its
    main directions; in all others the features vary alike (probabilistic PCA, Tipping & Bishop 1999). So a few
    hundred kilobytes hold what a full covariance would take megabytes for.

    A network that was shown whole cells only sees hardly a difference between an empty field and a small cell in one.
    So there may be a linear layer beside the distance that tells whole cells from other pieces of their images, in
    the distance's unit; the larger of the two counts.

    Args:
        num_features: Length D of the feature vectors.
        num_classes: Number C of class means.
        num_directions: Number K of directions.
        pieces: There is such a linear layer, see `tell_from`.

    Source: Lee et al. 2018, arXiv 1807.03888; Hendrycks et al. 2019, arXiv 1812.04606 (learning from outliers).

    Example:
        >>> familiarity = Familiarity(4, 2, 1)
        >>> familiarity(torch.zeros(3, 4)).shape
        torch.Size([3])
    """

    def __init__(self, num_features: int, num_classes: int, num_directions: int, pieces: bool = False) -> None:
        super().__init__()
        self.means: Tensor
        self.directions: Tensor
        self.variances: Tensor
        self.weight: Tensor | None
        self.bias: Tensor | None
        self.register_buffer("means", torch.zeros(num_classes, num_features))
        self.register_buffer("directions", torch.zeros(num_directions, num_features))
        self.register_buffer("variances", torch.ones(num_directions + 1))
        self.register_buffer("weight", torch.zeros(num_features) if pieces else None)
        self.register_buffer("bias", torch.zeros(()) if pieces else None)

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments, in JSON types."""
        (classes, features), directions = self.means.shape, len(self.directions)
        pieces = {} if self.weight is None else {"pieces": True}
        return {"num_features": features, "num_classes": classes, "num_directions": directions, **pieces}

    def forward(self, features: Tensor) -> Tensor:
        """Features B×D to distances B: about 1 for images like the training images, more for stranger ones."""
        distances = self.distances(features)
        if self.weight is None or self.bias is None:
            return distances
        return torch.maximum(distances, features.float() @ self.weight + self.bias)

    def distances(self, features: Tensor) -> Tensor:
        """Features B×D to Mahalanobis distances B, divided by the root of D."""
        gaps = features.float()[:, None] - self.means
        along = gaps @ self.directions.T
        across = (gaps.square().sum(2) - along.square().sum(2)).clamp(min=0)
        squares = (along.square() / self.variances[:-1]).sum(2) + across / self.variances[-1]
        return (squares.amin(1) / gaps.shape[2]).sqrt()

    @torch.no_grad()
    def fit(self, features: Tensor, targets: Tensor) -> Familiarity:
        """Learn means and covariance.

        Args:
            features: Float N×D.
            targets: Labels N, of 0 to C - 1; a class without an image has no mean, and nothing is near it.

        Returns:
            Itself.
        """
        values = features.double()
        means = torch.full(self.means.shape, float("inf"), dtype=torch.float64)
        labels = sorted(set(targets.tolist()))
        for label in labels:
            means[label] = values[targets == label].mean(0)
        gaps = values - means[targets]
        degrees = max(1, len(values) - len(labels))
        _, lengths, rows = torch.linalg.svd(gaps, full_matrices=False)
        variances = lengths.square() / degrees
        kept = len(self.directions)
        # Where no direction is left, what lies across is rounding, and must not count as far.
        rest = variances[kept:].sum() / (gaps.shape[1] - kept) if kept < gaps.shape[1] else variances[-1]
        # Of few images some directions show no variance, and every new image would be infinitely far along them.
        floor = LEAST_VARIANCE * (variances.sum() / gaps.shape[1]).clamp(min=1e-12)
        self.directions.zero_()[: len(rows[:kept])] = rows[:kept]
        self.variances.fill_(1)[: len(variances[:kept])] = variances[:kept].clamp(min=floor)
        self.variances[-1] = rest.clamp(min=floor)
        present = means.isfinite().all(1)
        # Far from everything, but finite, as stored weights must be.
        far = values.mean(0) + 1e3 * values.std().clamp(min=1e-6)
        self.means.copy_(torch.where(present[:, None], means, far))
        return self

    @torch.no_grad()
    def tell_from(self, weight: Tensor, bias: float, features: Tensor, scores: Tensor) -> Familiarity:
        """Count an image as strange, too, where a linear layer takes it for no whole cell.

        The layer's scores are stretched such that those of whole cells have the mean and the 99th percentile of the
        cells' distances.

        Args:
            weight: Float D.
            bias: Of the same layer, ``features @ weight + bias``, which is high for what is no whole cell.
            features: Float N×D, of whole cells, best of some that the network was not trained on.
            scores: Float N, what the layer says of them, or what one says that was not fitted on them.

        Returns:
            Itself.
        """
        distances, spread = self.distances(features).double(), scores.double()
        reach = torch.quantile(spread, TYPICAL) - spread.mean()
        factor = (torch.quantile(distances, TYPICAL) - distances.mean()) / reach.clamp(min=1e-6)
        self.weight = (weight.double() * factor).to(self.means)
        self.bias = ((bias - spread.mean()) * factor + distances.mean()).to(self.means)
        return self


class Attributes(nn.Module):
    """Words for what a cell looks like, by a linear layer on the features for each attribute.

    Args:
        num_features: Length D of the feature vectors.
        words: Attribute -> the words that it may take.
        accuracy: Attribute -> how often its word was right on images that were not learned from: ``value``, ``low``,
            ``high``, ``n``, and ``chance``, the share of the most frequent word; and ``balanced_value``,
            ``balanced_low`` and ``balanced_high``, the mean over the words of how often each was found: where one word
            is rare, the accuracy tells nothing of it.

    Source: Alain & Bengio 2016, arXiv 1610.01644 (linear probes); Tsutsui et al. 2023, arXiv 2306.13531 (attributes).

    Example:
        >>> Attributes(4, {"granularity": ("no", "yes")}).words_for(torch.zeros(1, 4))
        [{'granularity': ('no', 0.5)}]
    """

    def __init__(
        self,
        num_features: int,
        words: Mapping[str, Sequence[str]],
        accuracy: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__()
        self.words = {name: tuple(choices) for name, choices in words.items()}
        self.accuracy = {name: dict(figures) for name, figures in (accuracy or {}).items()}
        total = sum(map(len, self.words.values()))
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("weight", torch.zeros(total, num_features))
        self.register_buffer("bias", torch.zeros(total))

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments, in JSON types."""
        words = {name: list(choices) for name, choices in self.words.items()}
        return {"num_features": self.weight.shape[1], "words": words, "accuracy": self.accuracy}

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Features B×D to the probabilities B×k of each attribute's words."""
        lengths = [len(choices) for choices in self.words.values()]
        logits = torch.split(features.float() @ self.weight.T + self.bias, lengths, dim=1)
        return {name: part.softmax(1) for name, part in zip(self.words, logits, strict=True)}

    @torch.no_grad()
    def words_for(self, features: Tensor) -> list[dict[str, tuple[str, float]]]:
        """For each row of B×D features: attribute -> its most probable word, and that probability."""
        rows: list[dict[str, tuple[str, float]]] = [{} for _ in range(len(features))]
        for name, probabilities in self(features).items():
            for row, best, probability in zip(
                rows, probabilities.argmax(1).tolist(), probabilities.amax(1).tolist(), strict=True
            ):
                row[name] = (self.words[name][best], probability)
        return rows


PROBES: dict[str, type[Familiarity] | type[Attributes]] = {"familiarity": Familiarity, "attributes": Attributes}
"""What can be read off the features, by its name in a checkpoint."""
