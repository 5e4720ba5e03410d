"""Backbones: networks from images to features, by name."""

from cellnet.backbones.base import Backbone, Statistics, as_backbone
from cellnet.backbones.cnn import PlainCNN
from cellnet.backbones.composite import CompositeBackbone
from cellnet.backbones.factory import BACKBONES, create_backbone
from cellnet.backbones.normalise import Normalise
from cellnet.backbones.probe import check_image_size
from cellnet.backbones.timm_backbone import STUDY_NETWORKS, TimmBackbone, timm_spelling
from cellnet.backbones.unet import UNet
from cellnet.backbones.weights import WeightsReport

__all__ = [
    "BACKBONES",
    "STUDY_NETWORKS",
    "Backbone",
    "CompositeBackbone",
    "Normalise",
    "PlainCNN",
    "Statistics",
    "TimmBackbone",
    "UNet",
    "WeightsReport",
    "as_backbone",
    "check_image_size",
    "create_backbone",
    "timm_spelling",
]
