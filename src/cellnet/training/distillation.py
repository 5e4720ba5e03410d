"""Learning from a teacher: its soft labels say which classes resemble each other in which image."""

from __future__ import annotations

import torch
from torch import Tensor

from cellnet.errors import ConfigError, LabelError
from cellnet.images import Preprocess
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier
from cellnet.training.sizes import shrink


class Teacher:
    """A trained model that says what it thinks of each image that a student learns from.

    The student's targets are ``(1 - weight) × label + weight × softmax(teacher / temperature)``, on the very images
    that the student sees, augmented and mixed (a consistent teacher, Beyer et al. 2022, arXiv 2106.05237); images
    that a student sees smaller, the teacher sees at full size. Cross-entropy with them has the gradient of Hinton's
    distillation (2015, arXiv 1503.02531) at a student's temperature of 1.

    Args:
        model: The teacher. Its training images must not be among the student's test images.
        weight: Share of its labels, in [0, 1].
        temperature: What its logits are divided by.

    Attributes:
        model: The teacher, in evaluation, without gradients.
    """

    def __init__(self, model: CellClassifier, weight: float = 0.5, temperature: float = 1.0) -> None:
        self.model = model.eval().requires_grad_(False)
        self.weight = weight
        self.temperature = temperature

    def check(self, labels: LabelSchema, preprocess: Preprocess) -> None:
        """Refuse a student that this teacher cannot teach.

        Raises:
            LabelError: The student has other classes.
            ConfigError: The student's images are cut otherwise.
        """
        own = self.model.preprocess
        if labels.names != self.model.labels.names:
            raise LabelError(
                f"The teacher knows the classes {', '.join(self.model.labels.names)}, the model to train "
                f"{', '.join(labels.names)}; train a teacher on the same labels."
            )
        if preprocess.crop != own.crop:
            raise ConfigError(
                f"The teacher was trained on images cut with crop={own.crop}, the model to train cuts with "
                f"crop={preprocess.crop}; cells would have another size. Use the same crop."
            )

    @torch.no_grad()
    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """The targets that a student learns.

        Args:
            images: uint8 N×3×S×S, on the teacher's device.
            targets: float N×C, the labels as shares of classes.

        Returns:
            float32 N×C.
        """
        logits = self.model(shrink(images, self.model.preprocess.image_size)).float()
        return torch.lerp(targets, (logits / self.temperature).softmax(1), self.weight)
