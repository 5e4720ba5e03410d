"""A model that gets used to another laboratory's images before it judges them, without any label."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from cellnet.errors import ConfigError, DataError
from cellnet.inference.inputs import open_sources
from cellnet.inference.predictor import torch_device
from cellnet.models.normalisation import measure_statistics

if TYPE_CHECKING:
    from cellnet.models import CellClassifier

LEAST_IMAGES = 32
"""Statistics of fewer images would say more about these images than about their laboratory."""


def adapt(
    model: CellClassifier,
    inputs: Any,
    *,
    prior: float = 16.0,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    seed: int = 0,
) -> CellClassifier:
    """A copy of a model whose batch normalisation knows the statistics of these images.

    Other stains, microscopes and cameras shift what the layers of a network see; batch normalisation can take the
    shift out if it is told of it (Schneider et al. 2020, arXiv 2006.16971). No label is used, and no weight changes.
    The images should be many, of several classes, and of one laboratory; what is judged afterwards should come from
    there too.

    Args:
        model: The model, which stays as it is.
        inputs: Images as `predict` takes them, at least 32; unreadable ones are left out.
        prior: How many images the old statistics count for: each statistic becomes the mean of old and new ones, with
            the weights ``prior`` and the number of images. 0 forgets the old ones.
        batch_size: Images at a time; statistics are measured batch by batch.
        device: Where to compute; default: where the model is.
        seed: Of the order of the images, which mixes the classes.

    Returns:
        The copy, in evaluation mode. It has no card and no golden logits, since neither holds for it, and abstains by
        the old thresholds.

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
    images = []
    for source in open_sources(inputs)[0]:
        try:
            images.append(adapted.preprocess(source.read()))
        except DataError:
            continue
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
    adapted.weights_card, adapted.golden, adapted.source = None, None, ""
    return adapted.eval()
