"""From images to predictions: calibration, out-of-distribution score, abstention, prediction sets."""

from __future__ import annotations

from cellnet.inference.adaptation import adapt
from cellnet.inference.conformal import (
    PredictionSets,
    RiskControl,
    check_promised,
    guarantees,
    least_images,
    likely_start,
)
from cellnet.inference.explanation import Explanation, explain, similarity_to_untrained
from cellnet.inference.familiarity import fit_familiarity
from cellnet.inference.neighbours import Neighbour, NeighbourIndex
from cellnet.inference.ood import abstain, energy_score, familiar_up_to, fit_thresholds, softmax
from cellnet.inference.predictions import Prediction, Predictions
from cellnet.inference.predictor import evaluation_mode, predict, torch_device

__all__ = [
    "Explanation",
    "Neighbour",
    "NeighbourIndex",
    "Prediction",
    "PredictionSets",
    "Predictions",
    "RiskControl",
    "abstain",
    "adapt",
    "check_promised",
    "energy_score",
    "evaluation_mode",
    "explain",
    "familiar_up_to",
    "fit_familiarity",
    "fit_thresholds",
    "guarantees",
    "least_images",
    "likely_start",
    "predict",
    "similarity_to_untrained",
    "softmax",
    "torch_device",
]
