"""A classifier that also says where the nucleus is."""

from __future__ import annotations

from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from cellnet.backbones import UNet
from cellnet.errors import ConfigError
from cellnet.models.classifier import CellClassifier


class SegmentingClassifier(CellClassifier):
    """A `CellClassifier` on a U-Net, with one layer more that marks each place as nucleus or not.

    The layer learns from masks that `cellnet.images.nucleus_masks` makes, beside the classes (``mask_weight`` of
    `cellnet.TrainConfig`); until then its output means nothing.

    Args:
        model: The classifier; it is shared, not copied.

    Raises:
        ConfigError: Its backbone is no U-Net.

    Example:
        >>> from cellnet.models import create_model
        >>> model = SegmentingClassifier(create_model("unet", image_size=32))
        >>> model.segment(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape
        torch.Size([2, 16, 16])
    """

    backbone: UNet

    def __init__(self, model: CellClassifier) -> None:
        if not isinstance(model.backbone, UNet):
            raise ConfigError(f"The backbone {model.backbone.name!r} makes no masks; use create_model('unet').")
        super().__init__(model.backbone, model.labels, model.preprocess, model.head)
        self.origins = model.lineage
        self.mark = nn.Conv2d(model.backbone.num_maps, 1, 1)

    @overload
    def forward(self, images: Tensor) -> Tensor: ...
    @overload
    def forward(self, images: Tensor, *, masks: Literal[True]) -> tuple[Tensor, Tensor]: ...
    def forward(self, images: Tensor, *, masks: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Logits of a batch of images; with ``masks`` those of each place as well.

        Args:
            images: B×3×H×W, as `CellClassifier.forward` takes them.
            masks: Whether to mark places.

        Returns:
            Logits B×C; or these, and logits B×H/2×W/2 of the places.
        """
        if not masks:
            return super().forward(images)
        maps = self.backbone.decode(self.normalise(images))
        logits: Tensor = self.head(self.backbone.pool(maps))
        places: Tensor = self.mark(maps)[:, 0]
        return logits, places

    @torch.inference_mode()
    def segment(self, images: Tensor) -> Tensor:
        """How probably each place is nucleus: B×H/2×W/2, 0-1. Call ``eval()`` before.

        Args:
            images: B×3×H×W, uint8 or float 0-1, as `Preprocess` leaves them.
        """
        return self.forward(images, masks=True)[1].sigmoid()

    @property
    def architecture(self) -> dict[str, Any]:
        """As that of the classifier, and that there are masks."""
        return {**super().architecture, "masks": True}
