"""Batch normalisation folded into the convolutions before it: the same logits, sooner."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized

if TYPE_CHECKING:
    from cellnet.models.classifier import CellClassifier

TOLERANCE = 1e-3
"""How far features may move, as a share of the largest; rounding moves them by a millionth."""


def fuse(model: CellClassifier) -> CellClassifier:
    """A copy of a model that gives the same logits up to rounding, and sooner: for prediction alone.

    In evaluation, batch normalisation multiplies and adds numbers that are known beforehand, so that the weights of the
    convolution before it can do it at once. Which layers follow each other is seen by watching one random image go
    through, since forward passes can be written in any way. What the copy computes is compared with the model; where
    it is something else (weights that are standardised when they are used, say), the copy is a plain one.

    Args:
        model: The model, which stays as it is.

    Returns:
        The copy, in evaluation mode, with card, calibration and thresholds. It can be neither trained nor saved.

    Example:
        >>> from cellnet.models import create_model
        >>> model = create_model("cnn", image_size=32)
        >>> images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        >>> bool(torch.allclose(fuse(model)(images), model.eval()(images), atol=1e-5))
        True
    """
    fused = copy.deepcopy(model).eval()
    side, place = model.preprocess.image_size, next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, generator=generator).to(place)
    with torch.no_grad():
        pairs, wanted = _watch(fused, image)
        names = {module: name for name, module in fused.named_modules()}
        for convolution, norm in pairs:
            folded = fuse_conv_bn_eval(convolution, norm)
            convolution.weight, convolution.bias = folded.weight, folded.bias
            # timm's layers hold the activation that follows.
            fused.set_submodule(names[norm], getattr(norm, "act", None) or nn.Identity())
        moved = (fused.features(image) - wanted).abs().max()
    if not moved <= TOLERANCE * wanted.abs().max():
        return copy.deepcopy(model).eval()
    fused.fused = True
    return fused.to(memory_format=torch.channels_last)


def _watch(model: CellClassifier, image: Tensor) -> tuple[list[tuple[nn.Conv2d, nn.BatchNorm2d]], Tensor]:
    """Convolutions whose result goes into a batch normalisation, each layer used once; and the features."""
    made: list[tuple[Tensor, nn.Conv2d]] = []  # the results are kept, so that no other tensor gets their identity
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    used = Counter[nn.Module]()

    def after(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        used[module] += 1
        if isinstance(module, nn.Conv2d) and not is_parametrized(module):
            made.append((result, module))
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            pairs.extend((convolution, module) for tensor, convolution in made if tensor is given[0])

    watched = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))]
    hooks = [module.register_forward_hook(after) for module in watched]
    try:
        features = model.features(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in pairs if all(used[module] == 1 for module in pair)], features
