"""The model: a backbone and a head that know their classes and their images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from cellnet.backbones import Backbone, CompositeBackbone, Normalise, as_backbone
from cellnet.errors import ConfigError, DataError
from cellnet.images import Preprocess
from cellnet.labels import LabelSchema, as_schema
from cellnet.models.calibrators import Calibrator, TemperatureScaling
from cellnet.models.heads import Head, LinearHead
from cellnet.models.probes import Attributes, Familiarity
from cellnet.models.verbs import ModelVerbs

if TYPE_CHECKING:
    from cellnet.cards import WeightsCard
    from cellnet.hub.golden import Golden
    from cellnet.inference import PredictionSets, RiskControl


class CellClassifier(ModelVerbs, nn.Module):
    """Classifies images of single cells.

    It normalises inside: give it the pixels as `Preprocess` leaves them, not normalised ones.

    Args:
        backbone: The network from images to features.
        labels: The classes, in the order of the logits.
        preprocess: How images are cut and resized before, and the statistics to normalise with.
        head: From features BxD to logits BxC; dropout and a linear layer where it is None.
        dropout: Dropout of that default head.

    Attributes:
        calibrator: What `cellnet.inference.predict` turns logits into probabilities by: the softmax until calibrated.
        thresholds: Settings of abstention, empty until calibrated.
        risk_control: What the threshold of the probability guarantees, where a guarantee was asked for.
        sets: What `Predictions.sets` are made by, where a coverage was asked for.
        tta: Test-time augmentation: `cellnet.inference.predict` takes the mean of the logits over seven views of each
            image (as it is, turned, mirrored, cut wider and closer), at seven times the cost. It is the user's choice,
            and not stored; on images like the training images it gains nothing.
        nucleus_share: How large cells look in the training images, see `cellnet.images.nucleus_share`; None where
            nobody measured it.
        weights_card: Facts about the weights, where they came from a checkpoint.
        origins: Facts about the trained weights that the model started from, see `transfer`; None for weights
            without a card. `lineage` has those of its own weights too.
        probes: What is read off the features beside the classes, see `cellnet.models.probes`: `familiarity` and
            `attributes`, where they were fitted.
        fused: True for a copy made by `fuse`, which predicts and can be neither trained nor saved.
        golden: Images and logits to compare with, where they came from a checkpoint: see `self_test`.

    Raises:
        ConfigError: No `Backbone`, or statistics of its own for a composite one, which normalises branch by branch.
        LabelError: ``labels`` are no schema.

    Example:
        >>> from cellnet.models import create_model
        >>> model = create_model("cnn", image_size=32)
        >>> model(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        backbone: Backbone,
        labels: LabelSchema,
        preprocess: Preprocess,
        head: nn.Module | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        as_backbone(backbone)
        as_schema(labels)
        own = (preprocess.mean, preprocess.std)
        if isinstance(backbone, CompositeBackbone) and own != (backbone.mean, backbone.std):
            raise ConfigError(
                f"{backbone.name!r} normalises for each of its branches; leave out mean={own[0]} and std={own[1]}."
            )
        self.backbone = backbone
        self.labels = labels
        self.preprocess = preprocess
        self.normalise = Normalise(preprocess.mean, preprocess.std)
        self.head = LinearHead(backbone.num_features, len(labels), dropout) if head is None else head
        self.probes = nn.ModuleDict()
        self.calibrator: Calibrator = TemperatureScaling()
        self.thresholds: dict[str, float] = {}
        self.risk_control: RiskControl | None = None
        self.sets: PredictionSets | None = None
        self.tta = False
        self.fused = False
        self.nucleus_share: float | None = None
        self.weights_card: WeightsCard | None = None
        self.origins: tuple[WeightsCard | None, ...] = ()
        self.golden: Golden | None = None
        self._frozen: tuple[str, ...] = ()

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch of images.

        Args:
            images: Bx3xHxW, uint8 (0-255) or float (0-1).

        Returns:
            Logits BxC, in the order of `labels`.

        Raises:
            DataError: Another shape or dtype.
        """
        logits: Tensor = self.head(self.features(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Pooled features BxD of a batch of images, as `forward` takes them."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise DataError(
                f"Images of shape {tuple(images.shape)} are not a batch Bx3xHxW; "
                "use images[None] for one image, model.predict(...) for everything else."
            )
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise DataError(f"Images of {images.dtype} have no agreed range; give uint8 (0-255) or float (0-1).")
        features: Tensor = self.backbone(self.normalise(images))
        return features

    @property
    def familiarity(self) -> Familiarity | None:
        """How far an image lies from the training images; None where nobody fitted it."""
        probe = getattr(self.probes, "familiarity", None)
        return probe if isinstance(probe, Familiarity) else None

    @property
    def attributes(self) -> Attributes | None:
        """What a cell looks like, in words; None where nobody fitted it."""
        probe = getattr(self.probes, "attributes", None)
        return probe if isinstance(probe, Attributes) else None

    @property
    def temperature(self) -> float:
        """What logits are divided by: 1 until calibrated, and where `calibrator` is another method.

        Setting it puts a `TemperatureScaling` in the calibrator's place.
        """
        return self.calibrator.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.calibrator = TemperatureScaling(float(value))

    def freeze_backbone(self) -> None:
        """Stop training the backbone; its batch normalisation keeps its statistics, also after `train`."""
        self.freeze("backbone")

    def unfreeze_backbone(self) -> None:
        """Train the backbone, and whatever else was frozen, again."""
        for name in self._frozen:
            self.get_submodule(name).requires_grad_(True)
        self._frozen = ()
        self.train(self.training)

    def freeze(self, *names: str) -> None:
        """Stop training parts of the model, by the names of its modules, as `freeze_backbone` does."""
        self._frozen = tuple(sorted({*self._frozen, *names}))
        for name in names:
            self.get_submodule(name).requires_grad_(False).eval()

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the modules that are frozen."""
        return self._frozen

    @property
    def backbone_frozen(self) -> bool:
        """Whether the backbone is frozen."""
        return "backbone" in self._frozen

    def train(self, mode: bool = True) -> Self:
        """Switch to training (or evaluation); what is frozen stays in evaluation.

        Raises:
            ConfigError: A `fused` model is to be trained.
        """
        if mode and self.fused:
            raise ConfigError("A fused model only predicts; train the model that it was made of.")
        super().train(mode)
        for name in self._frozen:
            self.get_submodule(name).eval()
        return self

    @property
    def lineage(self) -> tuple[WeightsCard | None, ...]:
        """All weights that the model may have learned from: its `origins`, and its own where they have a card."""
        return self.origins if self.weights_card is None else (*self.origins, self.weights_card)

    def forget_weights(self) -> None:
        """Drop what was fitted or measured on weights that are to change, as `forget` does and more.

        Calibration, thresholds, probes and the size of cells go as well; `lineage` stays.
        """
        self.forget()
        self.probes.clear()
        self.temperature, self.thresholds, self.nucleus_share = 1.0, {}, None

    def forget(self) -> None:
        """Drop what holds for the model as it was loaded: card, golden logits, prediction sets and guarantee.

        `lineage` stays.
        """
        self.origins = self.lineage
        self.weights_card, self.golden, self.source = None, None, ""
        self.sets, self.risk_control = None, None

    @property
    def architecture(self) -> dict[str, Any]:
        """The model without its weights, in JSON types: `cellnet.models.from_architecture` builds it again.

        Raises:
            ConfigError: The head is not one of cellnet's.
        """
        if not isinstance(self.head, Head):
            raise ConfigError(
                f"The head {type(self.head).__name__} cannot be written down; "
                "derive it from cellnet.models.heads.Head, or use one of cellnet's heads."
            )
        backbone = self.backbone
        parts = backbone.branches if isinstance(backbone, CompositeBackbone) else (backbone,)
        return {
            "backbone": backbone.name,
            "statistics": [{"mean": list(part.mean), "std": list(part.std)} for part in parts],
            "head": self.head.architecture,
            "labels": self.labels.to_dict(),
            "preprocess": self.preprocess.to_dict(),
            **({"probes": {name: probe.architecture for name, probe in self.probes.items()}} if self.probes else {}),
        }
