"""Classifiers: a backbone and a head that know their classes and their images."""

from cellnet.models.calibrators import (
    CALIBRATORS,
    Calibrator,
    IsotonicCalibration,
    TemperatureScaling,
    VectorScaling,
)
from cellnet.models.classifier import CellClassifier
from cellnet.models.contrastive import ContrastiveClassifier
from cellnet.models.describe import describe_models
from cellnet.models.factory import create_model, from_architecture, list_models
from cellnet.models.fusion import fuse
from cellnet.models.heads import FusionHead, Head, LinearHead, StudyHead
from cellnet.models.hybrid import HybridInceptionXception
from cellnet.models.restriction import restrict
from cellnet.models.segmenting import SegmentingClassifier
from cellnet.models.transfer import transfer

__all__ = [
    "CALIBRATORS",
    "Calibrator",
    "CellClassifier",
    "ContrastiveClassifier",
    "FusionHead",
    "Head",
    "HybridInceptionXception",
    "IsotonicCalibration",
    "LinearHead",
    "SegmentingClassifier",
    "StudyHead",
    "TemperatureScaling",
    "VectorScaling",
    "create_model",
    "describe_models",
    "from_architecture",
    "fuse",
    "list_models",
    "restrict",
    "transfer",
]
