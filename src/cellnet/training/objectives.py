"""What the trainer minimises."""

from __future__ import annotations

from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError
from cellnet.images import nucleus_masks
from cellnet.losses import FocalLoss
from cellnet.models import ContrastiveClassifier, SegmentingClassifier
from cellnet.training.config import TrainConfig


class Objective(Protocol):
    """Computes the loss of one batch; the trainer knows nothing else about the task.

    An attribute ``views`` above 1 asks for so many augmented views of each image, one after the other.
    """

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of a batch, a scalar with gradient.

        Args:
            model: The network.
            images: uint8 N×3×S×S; N·V×3×S×S where there are V views of each image.
            targets: int64 N; or float N×C, the share of each class, where mixup or cutmix made the images.
        """
        ...


class Classification:
    """Cross-entropy of the logits, with label smoothing (Szegedy et al. 2016, arXiv 1512.00567) and weights.

    Args:
        label_smoothing: Share of the target given to all classes, in [0, 1).
        class_weights: float32 tensor of shape (C,), or None.
        focal_gamma: γ of `cellnet.losses.FocalLoss`; 0 is cross-entropy.
    """

    def __init__(
        self, label_smoothing: float = 0.0, class_weights: Tensor | None = None, focal_gamma: float = 0.0
    ) -> None:
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.focal_gamma = focal_gamma

    def __repr__(self) -> str:
        weights = None if self.class_weights is None else self.class_weights.tolist()
        return (
            f"{type(self).__qualname__}(label_smoothing={self.label_smoothing}, class_weights={weights}, "
            f"focal_gamma={self.focal_gamma})"
        )

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of a batch, computed in float32."""
        return self.of_logits(model(images), targets)

    def of_logits(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of logits N×C, computed in float32."""
        logits = logits.float()
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        if self.focal_gamma:
            loss: Tensor = FocalLoss(self.focal_gamma, weights, self.label_smoothing)(logits, targets)
            return loss
        return F.cross_entropy(logits, targets, weights, label_smoothing=self.label_smoothing)


class WithNucleus(Classification):
    """Cross-entropy, and how well the nucleus is found: binary cross-entropy with the masks of `nucleus_masks`.

    Args:
        mask_weight: Weight of the second.
        **options: Of `Classification`.
    """

    def __init__(self, mask_weight: float, **options: Any) -> None:
        super().__init__(**options)
        self.mask_weight = mask_weight

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, mask_weight={self.mask_weight})"

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of a batch for a `SegmentingClassifier`, computed in float32."""
        logits, places = model(images, masks=True)
        masks = nucleus_masks(images).float()[:, None]
        shares = F.interpolate(masks, places.shape[-2:], mode="area")[:, 0]
        found = F.binary_cross_entropy_with_logits(places.float(), shares)
        return self.of_logits(logits, targets) + self.mask_weight * found


class Contrastive(nn.Module):
    """A contrastive loss of the projections of two views of each image, for a `ContrastiveClassifier`.

    The cross-entropy of its head is added, whose gradient ends at the head: both are minimised apart.

    Args:
        loss: Takes projections B×V×D and labels B, such as `cellnet.losses.SupConLoss`.
    """

    views = 2

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of a batch of V views of each of B images, computed in float32.

        Args:
            model: A `ContrastiveClassifier`.
            images: uint8 B·V×3×S×S.
            targets: int64 B.
        """
        projections, logits = model(images, project=True)
        views = len(images) // len(targets)
        contrast: Tensor = self.loss(projections.view(len(targets), views, -1), targets)
        return contrast + F.cross_entropy(logits.float(), targets.repeat_interleave(views))


def views_of(objective: Objective) -> int:
    """How many views of an image an objective asks for."""
    return int(getattr(objective, "views", 1))


def in_words(objective: Objective | None) -> dict[str, str | None]:
    """An objective for the identity of a run: its name, and its options where it tells them."""
    words = None
    if objective is not None:
        words = repr(objective) if isinstance(objective, nn.Module) else type(objective).__qualname__
    # Under a name of their own, which runs of an earlier version lack.
    return {"objective": words, "objective_options": repr(objective) if isinstance(objective, Classification) else None}


def check_objective(objective: Objective, model: nn.Module, config: TrainConfig, *, teacher: bool) -> None:
    """Refuse an objective whose model lacks what it needs, or that cannot do what is wanted.

    Args:
        objective: What is minimised.
        model: The model to train.
        config: How.
        teacher: Whether there is one.

    Raises:
        ConfigError: It is so.
    """
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ConfigError(
            "No weight of the model can be trained: all are frozen, as those of a teacher are. Call "
            "model.requires_grad_(True), and give a teacher that is another model."
        )
    if isinstance(objective, Contrastive) and not isinstance(model, ContrastiveClassifier):
        raise ConfigError(
            "A contrastive objective trains a ContrastiveClassifier; give "
            "cellnet.models.ContrastiveClassifier(model), or see cellnet.experiments.train_contrastive."
        )
    if isinstance(objective, WithNucleus) and not isinstance(model, SegmentingClassifier):
        raise ConfigError(
            f"mask_weight={objective.mask_weight:g} trains a SegmentingClassifier; give "
            "cellnet.models.SegmentingClassifier(cellnet.create_model('unet')), or mask_weight=0."
        )
    mixed = [name for name in ("mixup", "cutmix") if getattr(config, name)]
    if views_of(objective) > 1 and (mixed or teacher):
        what = " and ".join([*mixed, *(["a teacher"] if teacher else [])])
        raise ConfigError(f"An objective of several views compares images of whole classes; train without {what}.")


def create_objective(config: TrainConfig, train: CellDataset) -> Classification:
    """The objective of a config.

    Args:
        config: Says how far labels are smoothed, and whether classes are weighted.
        train: The training part, whose class counts give the weights.

    Raises:
        ConfigError: Classes are to be weighted, and one is absent.
    """
    weights = None
    if config.class_weights is not None:
        from cellnet.balancing import balanced_class_weights, effective_number_weights  # takes a second

        weigh = balanced_class_weights if config.class_weights == "balanced" else effective_number_weights
        weights = weigh(train.targets, len(train.labels))
    options: dict[str, Any] = {
        "label_smoothing": config.label_smoothing,
        "class_weights": weights,
        "focal_gamma": config.focal_gamma,
    }
    return WithNucleus(config.mask_weight, **options) if config.mask_weight else Classification(**options)
