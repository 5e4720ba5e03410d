"""What a model's features tell beside the class: how familiar an image is, and what the cell looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from cellnet.images import APPEARANCE, appearance

LEAST_VARIANCE = 0.01
"""Least variance of a direction, as a share of the mean of all."""

TYPICAL = 0.99
"""The share of whole cells by which measures are brought to one unit."""


class Distance(nn.Module):
    """How far vectors lie from those of known classes: Mahalanobis, by a covariance that all classes share.

    The covariance is kept by its main directions; in all others the vectors vary alike (probabilistic PCA, Tipping &
    Bishop 1999). So a few hundred kilobytes hold what a full covariance would take megabytes for.

    Args:
        num_features: Length D of the vectors.
        num_classes: Number C of class means.
        num_directions: Number K of directions.

    Source: Lee et al. 2018, arXiv 1807.03888.

    Example:
        >>> Distance(4, 2, 1).distances(torch.zeros(3, 4)).shape
        torch.Size([3])
    """

    def __init__(self, num_features: int, num_classes: int, num_directions: int) -> None:
        super().__init__()
        self.means: Tensor
        self.directions: Tensor
        self.variances: Tensor
        self.register_buffer("means", torch.zeros(num_classes, num_features))
        self.register_buffer("directions", torch.zeros(num_directions, num_features))
        self.register_buffer("variances", torch.ones(num_directions + 1))

    def distances(self, vectors: Tensor) -> Tensor:
        """Vectors B×D to their distances B from the nearest class mean, divided by the root of D."""
        gaps = vectors.float()[:, None] - self.means
        along = gaps @ self.directions.T
        across = (gaps.square().sum(2) - along.square().sum(2)).clamp(min=0)
        squares = (along.square() / self.variances[:-1]).sum(2) + across / self.variances[-1]
        return (squares.amin(1) / gaps.shape[2]).sqrt()

    @torch.no_grad()
    def fit(self, vectors: Tensor, targets: Tensor) -> Self:
        """Learn means and covariance.

        Args:
            vectors: Float N×D.
            targets: Labels N, of 0 to C - 1; a class without an image has no mean, and nothing is near it.

        Returns:
            Itself.
        """
        values = vectors.double()
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


class Familiarity(Distance):
    """How strange an image is to a model: the largest of three measures, brought to one unit.

    - The `Distance` of its features from those of the training images.
    - A network that was shown whole cells only sees hardly a difference between an empty field and a small cell in one.
      So there may be a linear layer that tells whole cells from other pieces of their images.
    - A network that learned to look through stain, light and focus has no features to notice them by. So there may be
      the `Distance` of the picture's own measures, see `cellnet.images.appearance`.

    Args:
        num_features: Length D of the feature vectors.
        num_classes: Number C of class means.
        num_directions: Number K of directions that the distance of features keeps.
        pieces: There is such a linear layer.
        pictures: There is such a second distance.

    Source: Hendrycks et al. 2019, arXiv 1812.04606 (learning from outliers), for the second.

    Example:
        >>> familiarity = Familiarity(4, 2, 1, pieces=True, pictures=True)
        >>> familiarity(torch.zeros(3, 4), torch.zeros(3, 3, 16, 16, dtype=torch.uint8)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        num_directions: int,
        pieces: bool = False,
        pictures: bool = False,
    ) -> None:
        super().__init__(num_features, num_classes, num_directions)
        self.weight: Tensor | None
        self.bias: Tensor | None
        self.unit: Tensor | None
        self.register_buffer("weight", torch.zeros(num_features) if pieces else None)
        self.register_buffer("bias", torch.zeros(()) if pieces else None)
        self.register_buffer("unit", torch.tensor([1.0, 0.0]) if pictures else None)
        self.pictures = Distance(len(APPEARANCE), num_classes, len(APPEARANCE)) if pictures else None

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments, in JSON types."""
        (classes, features), directions = self.means.shape, len(self.directions)
        more = {"pieces": self.weight is not None, "pictures": self.pictures is not None}
        there = {name: True for name, present in more.items() if present}
        return {"num_features": features, "num_classes": classes, "num_directions": directions, **there}

    def forward(self, features: Tensor, images: Tensor | None = None) -> Tensor:
        """How strange images are: about 1 for images like the training images, more for stranger ones.

        Args:
            features: B×D, what the network makes of the images.
            images: uint8 B×3×S×S, as the network saw them; without them the pictures do not count.

        Returns:
            float32 B.
        """
        measures = [self.distances(features)]
        if self.weight is not None and self.bias is not None:
            measures.append(features.float() @ self.weight + self.bias)
        if self.pictures is not None and self.unit is not None and images is not None:
            measures.append(self.pictures.distances(appearance(images)) * self.unit[0] + self.unit[1])
        return torch.stack(measures).amax(0)

    @torch.no_grad()
    def tell_from(self, weight: Tensor, bias: float, features: Tensor, scores: Tensor) -> None:
        """Count an image as strange, too, where a linear layer takes it for no whole cell.

        Args:
            weight: Float D.
            bias: Of the same layer, ``features @ weight + bias``, which is high for what is no whole cell.
            features: Float N×D, of whole cells, best of some that the network was not trained on.
            scores: Float N, what the layer says of them, or what one says that was not fitted on them.
        """
        factor, shift = _to_unit_of(self.distances(features), scores)
        self.weight = (weight.double() * factor).to(self.means)
        self.bias = (bias * factor + shift).to(self.means)

    @torch.no_grad()
    def look_at(self, known: Tensor, targets: Tensor, features: Tensor, unseen: Tensor) -> None:
        """Count an image as strange, too, where it looks like none of those that were trained on.

        Args:
            known: Float N×17, what `appearance` says of training images.
            targets: Their labels N.
            features: Float M×D, of whole cells, best of some that the network was not trained on.
            unseen: Float M×17, what `appearance` says of these.
        """
        self.pictures = Distance(known.shape[1], len(self.means), known.shape[1]).to(self.means.device)
        self.pictures.fit(known, targets)
        self.unit = torch.stack(_to_unit_of(self.distances(features), self.pictures.distances(unseen))).to(self.means)


def _to_unit_of(distances: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Factor and shift that give the scores the mean and the 99th percentile of the distances of the same images."""
    wanted, given = distances.double(), scores.double()
    reach = (torch.quantile(given, TYPICAL) - given.mean()).clamp(min=1e-6)
    factor = (torch.quantile(wanted, TYPICAL) - wanted.mean()) / reach
    return factor, wanted.mean() - factor * given.mean()


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
