"""Models by name, and from the description in a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cellnet.backbones import (
    BACKBONES,
    Backbone,
    CompositeBackbone,
    Statistics,
    check_image_size,
    create_backbone,
    timm_spelling,
)
from cellnet.errors import ConfigError
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS, LabelSchema, as_schema
from cellnet.models.classifier import CellClassifier
from cellnet.models.heads import HEADS, FusionHead
from cellnet.models.hybrid import HybridInceptionXception
from cellnet.models.probes import PROBES
from cellnet.models.segmenting import SegmentingClassifier
from cellnet.registry import check_name, unknown_name

HYBRID_BACKBONE = "inception_v3+xception"
"""The networks of the model ``"hybrid"``."""


def list_models() -> list[str]:
    """The names that `create_model` takes, in alphabetical order, beside ``timm:<name>`` and ``a+b``."""
    return sorted({*BACKBONES.list(), "hybrid"})


def check_model_name(name: str) -> str:
    """The name, if it may be one that `create_model` takes.

    Raises:
        UnknownNameError: It is none; the message shows the nearest names.
    """
    if not set(name) & {":", "+"} and name not in list_models():
        raise unknown_name("model", name, [*list_models(), *timm_spelling(name)])
    return name


def create_model(
    name: str,
    labels: LabelSchema = PBC_LABELS,
    *,
    pretrained: bool = False,
    weights: str | Path | None = None,
    image_size: int | None = None,
    crop: float = 1.0,
    dropout: float | None = None,
    mean: Statistics | None = None,
    std: Statistics | None = None,
    head: str | None = None,
) -> CellClassifier:
    """Build a classifier, untrained but for the starting weights of its backbone.

    Args:
        name: ``"hybrid"`` for `HybridInceptionXception`, or a name that `create_backbone` takes.
        labels: The classes.
        pretrained: Download timm's weights for the backbone. False never touches the network.
        weights: Start the backbone from this local safetensors file, in timm's keys.
        image_size: Side of the images in pixels; the backbone's own where None.
        crop: Share of each image's shorter side that is seen, about the centre; see `Preprocess`.
        dropout: Dropout of the head; the head's own where None.
        mean: Channel means that the weights want, where they differ from the backbone's own.
        std: Channel standard deviations, likewise.
        head: ``"linear"`` (dropout 0.2) or ``"study"`` (dense 1024, dropout 0.5); the hybrid has its own.

    Raises:
        UnknownNameError: Unknown model or head; the message shows the nearest names.
        ConfigError: Options that exclude each other or are out of range, or an image size that the backbone does not
            take.
        LabelError: ``labels`` are no schema.
        WeightsError: The weights cannot be fetched, or the file does not fit.

    Example:
        >>> create_model("cnn", LabelSchema.from_names(["blast", "other"]), image_size=64).labels.names
        ('blast', 'other')
    """
    check_model_name(name)
    as_schema(labels)
    hybrid = name == "hybrid"
    if hybrid and head is not None:
        raise ConfigError(f"The hybrid has a head of its own; leave out head={head!r}.")
    kind = "fusion" if hybrid else check_name("head", "linear" if head is None else head, HEADS)
    backbone = create_backbone(HYBRID_BACKBONE if hybrid else name, pretrained=pretrained, weights=weights)
    preprocess = Preprocess(
        backbone.input_size if image_size is None else image_size,
        crop,
        mean=backbone.mean if mean is None else mean,
        std=backbone.std if std is None else std,
    )
    if preprocess.image_size != backbone.input_size:
        check_image_size(backbone, preprocess.image_size)
    return _assemble(backbone, labels, preprocess, kind, dropout)


def from_architecture(architecture: dict[str, Any]) -> CellClassifier:
    """The inverse of `CellClassifier.architecture`: the same model, untrained.

    Raises:
        ConfigError: The dictionary has not the form that ``architecture`` gives.
        UnknownNameError: A backbone or head that this version does not know.
        LabelError: The labels are not a schema.

    Example:
        >>> model = create_model("cnn", image_size=32, dropout=0.5)
        >>> from_architecture(model.architecture).architecture == model.architecture
        True
    """
    try:
        name, head, statistics = (architecture[key] for key in ("backbone", "head", "statistics"))
        labels, preprocess = LabelSchema.from_dict(architecture["labels"]), architecture["preprocess"]
        kind = check_name("head", head["name"], [*HEADS, "fusion"])
        backbone = create_backbone(name)
        parts = backbone.branches if isinstance(backbone, CompositeBackbone) else (backbone,)
        for part, numbers in zip(parts, statistics, strict=True):
            part.mean, part.std = tuple(numbers["mean"]), tuple(numbers["std"])
        if isinstance(backbone, CompositeBackbone):
            backbone = CompositeBackbone(backbone.branches)  # with the branches' new statistics
        model = _assemble(backbone, labels, Preprocess.from_dict(preprocess), kind, head["dropout"])
        model = SegmentingClassifier(model) if architecture.get("masks") else model
        for name, options in architecture.get("probes", {}).items():
            model.probes[check_name("probe", name, PROBES)] = PROBES[name](**options)
        return model
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"Not the architecture of a model ({type(error).__name__}: {error}); "
            "it needs what CellClassifier.architecture gives."
        ) from error


def _assemble(
    backbone: Backbone, labels: LabelSchema, preprocess: Preprocess, kind: str, dropout: float | None
) -> CellClassifier:
    options = {} if dropout is None else {"dropout": dropout}
    if kind == "fusion":
        if not isinstance(backbone, CompositeBackbone):
            raise ConfigError(f"A fusion head joins several backbones, {backbone.name!r} is one.")
        fusion = FusionHead([b.num_features for b in backbone.branches], len(labels), **options)
        return HybridInceptionXception(backbone, labels, preprocess, fusion)
    if not isinstance(backbone, CompositeBackbone):
        backbone.mean, backbone.std = preprocess.mean, preprocess.std
    return CellClassifier(backbone, labels, preprocess, HEADS[kind](backbone.num_features, len(labels), **options))
