"""From any image to one kind of tensor: uint8 RGB, 3×H×W; then to the square that a model wants."""

from __future__ import annotations

from cellnet.images.appearance import APPEARANCE, appearance
from cellnet.images.background import background_colour
from cellnet.images.decoding import MAX_PIXELS, MAX_SCANS, decode
from cellnet.images.listing import IMAGE_SUFFIXES, list_images
from cellnet.images.nucleus import nucleus_masks, nucleus_share
from cellnet.images.pixels import to_uint8_rgb
from cellnet.images.preprocess import IMAGENET_MEAN, IMAGENET_STD, INTERPOLATIONS, Preprocess
from cellnet.images.stacking import stack_images

__all__ = [
    "APPEARANCE",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "IMAGE_SUFFIXES",
    "INTERPOLATIONS",
    "MAX_PIXELS",
    "MAX_SCANS",
    "Preprocess",
    "appearance",
    "background_colour",
    "decode",
    "list_images",
    "nucleus_masks",
    "nucleus_share",
    "stack_images",
    "to_uint8_rgb",
]
