"""A classifier that learns by contrast: its backbone brings cells of one class together, its head looks on."""

from __future__ import annotations

from typing import Any, Literal, overload

from torch import Tensor, nn

from cellnet.errors import ConfigError
from cellnet.models.classifier import CellClassifier


class ContrastiveClassifier(CellClassifier):
    """A `CellClassifier` with a projection head, on whose output a contrastive loss is computed.

    The first stage of supervised contrastive training (Khosla et al. 2020, arXiv 2004.11362). The classifier's own head
    is trained at the same time on features whose gradient ends there: it changes nothing of the backbone, and says at
    any time how far the classes lie apart. `classifier` takes the projection away again.

    Args:
        model: The classifier; it is shared, not copied.
        dim: Length of the projections.

    Raises:
        ConfigError: ``dim`` is below 1, or the head is not one of cellnet's.

    Example:
        >>> import torch
        >>> from cellnet.models import create_model
        >>> model = ContrastiveClassifier(create_model("cnn", image_size=32), dim=16)
        >>> projections, logits = model(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), project=True)
        >>> projections.shape, logits.shape
        (torch.Size([2, 16]), torch.Size([2, 8]))
    """

    def __init__(self, model: CellClassifier, dim: int = 128) -> None:
        if dim < 1:
            raise ConfigError(f"dim={dim!r} must be at least 1; the paper takes 128.")
        super().__init__(model.backbone, model.labels, model.preprocess, model.head)
        self.origins = model.lineage
        width = model.backbone.num_features
        self.dim = dim
        self.projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, dim))

    @overload
    def forward(self, images: Tensor) -> Tensor: ...
    @overload
    def forward(self, images: Tensor, *, project: Literal[True]) -> tuple[Tensor, Tensor]: ...
    def forward(self, images: Tensor, *, project: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Logits of a batch of images; with ``project`` the projections for a contrastive loss as well.

        Args:
            images: B×3×H×W, as `CellClassifier.forward` takes them.
            project: Whether to project; the gradient of the logits then ends at the head.

        Returns:
            Logits B×C; or projections B×D, not normalised, and these.
        """
        if not project:
            return super().forward(images)
        features = self.features(images)
        logits: Tensor = self.head(features.detach())
        projections: Tensor = self.projection(features)
        return projections, logits

    def classifier(self) -> CellClassifier:
        """The classifier alone, with the weights as they are now."""
        classifier = CellClassifier(self.backbone, self.labels, self.preprocess, self.head)
        classifier.origins = self.lineage
        return classifier

    @property
    def architecture(self) -> dict[str, Any]:
        """As that of the classifier, and the length of the projections: for the identity of a run."""
        return {**super().architecture, "projection": self.dim}
