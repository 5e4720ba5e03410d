"""Which image sizes a backbone takes, found out by trying."""

from __future__ import annotations

import torch

from cellnet.backbones.base import Backbone
from cellnet.errors import ConfigError
from cellnet.images.preprocess import MIN_IMAGE_SIZE


def check_image_size(backbone: Backbone, image_size: int) -> None:
    """Check that a backbone takes square images of ``image_size`` pixels.

    Each network has limits of its own (InceptionV3 75 px, some transformers one size only) that are written
    down nowhere, so one black image is sent through.

    Raises:
        ConfigError: It does not; the message names a size that works.

    Example:
        >>> from cellnet.backbones.cnn import PlainCNN
        >>> check_image_size(PlainCNN(), 8)
        Traceback (most recent call last):
        cellnet.errors.ConfigError: 'cnn' cannot take images of 8 px; give 16 px or more.
    """
    if _runs(backbone, image_size):
        return
    fails, works = max(image_size, MIN_IMAGE_SIZE - 1), backbone.input_size
    while works - fails > 1:
        middle = (fails + works) // 2
        fails, works = (fails, middle) if _runs(backbone, middle) else (middle, works)
    more = " or more" if works < backbone.input_size else ""
    raise ConfigError(f"{backbone.name!r} cannot take images of {image_size} px; give {works} px{more}.")


def _runs(backbone: Backbone, image_size: int) -> bool:
    training = [module for module in backbone.modules() if module.training]
    some = next(backbone.parameters())
    try:
        with torch.no_grad():
            backbone.eval()(some.new_zeros(1, 3, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError):
        return False
    finally:
        for module in training:
            module.training = True
    return True
