"""A model that gets used to another laboratory's images before it judges them, without any label."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from cellnet.errors import ConfigError, DataError
from cellnet.images import Preprocess, nucleus_share
from cellnet.images.preprocess import MAX_CROP
from cellnet.inference.inputs import Source, open_sources
from cellnet.inference.predictor import torch_device
from cellnet.models.normalisation import measure_statistics

if TYPE_CHECKING:
    from cellnet.models import CellClassifier

LEAST_IMAGES = 32
"""Statistics of fewer images would say more about these images than about their laboratory."""

MOST_IMAGES = 4096
"""More tell no more about a laboratory, and all of them stand in memory."""

NEARLY = 1.15
"""Cells that look larger or smaller by less than this factor are left as they are: so much do smears differ."""

FACTORS = (0.5, 3.0)
"""How far the cut may follow the nuclei: farther, something else than a nucleus was found."""


def adapt(
    model: CellClassifier,
    inputs: Any,
    *,
    crop: float | None = None,
    prior: float = 16.0,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    seed: int = 0,
) -> CellClassifier:
    """A copy of a model that knows how these images look: how large their cells are, and the statistics of its layers.

    Where cells look larger or smaller than in the training images, because images are cut closer or wider around them,
    the copy cuts them anew: a margin of background is added, or some of it is cut away, until nuclei take the same
    share of the image (`nucleus_share`). And other stains, microscopes and cameras shift what the layers of a network
    see; batch normalisation can take the shift out if it is told of it (Schneider et al. 2020, arXiv 2006.16971). No
    label is used, and no weight changes.
    The images should be many, of several classes, and of one laboratory; what is judged afterwards should come from
    there too.

    Args:
        model: The model, which stays as it is.
        inputs: Images as `predict` takes them, at least 32; unreadable ones are left out. Of more than
            4,096, evenly chosen ones are looked at.
        crop: The copy's `Preprocess.crop`, where it shall not follow from the nuclei. The model's own keeps the images
            as they are; so does None for a model that does not know its ``nucleus_share``.
        prior: How many images the old statistics count for: each statistic becomes the mean of old and new ones, with
            the weights ``prior`` and the number of images. 0 forgets the old ones.
        batch_size: Images at a time; statistics are measured batch by batch.
        device: Where to compute; default: where the model is.
        seed: Of the order of the images, which mixes the classes.

    Returns:
        The copy, in evaluation mode. It has no card, no golden logits, no prediction sets and no guarantee, since none
        holds for it, and abstains by the old thresholds.

    Raises:
        ConfigError: A number out of range, or a network without batch normalisation.
        DataError: Too few images, or as `predict`.

    Example:
        >>> from cellnet import create_model, load_dataset
        >>> cells = load_dataset("synthetic", per_class=6, image_size=32)
        >>> model = create_model("cnn", cells.labels, image_size=32)
        >>> before, after = (net.predict(cells.image(0)).logits for net in (model, adapt(model, cells)))
        >>> bool((before == after).all())
        False
    """
    if prior < 0 or batch_size < 2:
        raise ConfigError(f"prior={prior!r} must be at least 0, and batch_size={batch_size!r} at least 2.")
    adapted = copy.deepcopy(model).eval()
    layers = [layer for layer in adapted.modules() if isinstance(layer, _BatchNorm)]
    if not layers:
        raise ConfigError(
            f"{model.backbone.name!r} has no batch normalisation that could adapt; use another model, such as "
            "mobilenet_v2."
        )
    sources = list(open_sources(inputs)[0])
    sources = sources[:: math.ceil(len(sources) / MOST_IMAGES) or 1]
    if crop is not None:
        adapted.preprocess = replace(adapted.preprocess, crop=crop)
    images = _read(sources, adapted.preprocess)
    if crop is None and images and model.nucleus_share is not None:
        adapted.preprocess = _match_scale(adapted.preprocess, images, model.nucleus_share)
        if adapted.preprocess != model.preprocess:
            images = _read(sources, adapted.preprocess)
    if len(images) < LEAST_IMAGES:
        raise DataError(f"{len(images)} readable images are too few to adapt to; give at least {LEAST_IMAGES}.")

    place = next(adapted.parameters()).device if device is None else torch_device(device)
    adapted.to(place)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    # Equal shares, so that no batch is too small to have statistics.
    batches = torch.tensor(order).tensor_split(max(1, len(order) // batch_size))
    statistics = [
        buffer for layer in layers for buffer in (layer.running_mean, layer.running_var) if buffer is not None
    ]
    old = [buffer.clone() for buffer in statistics]
    adapted._frozen = ()
    measure_statistics(adapted, (torch.stack([images[i] for i in batch.tolist()]).to(place) for batch in batches))
    share = len(images) / (len(images) + prior)
    for buffer, before in zip(statistics, old, strict=True):
        buffer.copy_(torch.lerp(before, buffer, share))
    adapted.probes.clear()  # they were fitted on other features
    adapted.thresholds.pop("distance", None)
    adapted.forget()
    return adapted.eval()


def _read(sources: Sequence[Source], preprocess: Preprocess) -> list[Tensor]:
    images = []
    for source in sources:
        with contextlib.suppress(DataError):
            images.append(preprocess(source.read()))
    return images


def _match_scale(preprocess: Preprocess, images: Sequence[Tensor], wanted: float) -> Preprocess:
    """Cut so that nuclei take the ``wanted`` share of the image; where they nearly do, nothing changes."""
    factor = math.sqrt(nucleus_share(images) / wanted)
    if 1 / NEARLY < factor < NEARLY or factor == 0:
        return preprocess
    lowest, highest = FACTORS
    return replace(preprocess, crop=min(preprocess.crop * min(max(factor, lowest), highest), MAX_CROP))
