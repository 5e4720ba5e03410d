"""Balancing classes: SMOTE on images, imbalanced-learn's samplers, weights, and balanced orders of training."""

from cellnet.balancing.adapter import balance
from cellnet.balancing.embedding import EmbeddingSMOTE
from cellnet.balancing.errors import SamplingError
from cellnet.balancing.mixtures import Parents, parents
from cellnet.balancing.named import create_sampler, list_samplers
from cellnet.balancing.plots import plot_parents
from cellnet.balancing.sampling import ClassBalancedSampler, MPerClassSampler
from cellnet.balancing.smote import SMOTE
from cellnet.balancing.weights import balanced_class_weights, effective_number_weights

__all__ = [
    "SMOTE",
    "ClassBalancedSampler",
    "EmbeddingSMOTE",
    "MPerClassSampler",
    "Parents",
    "SamplingError",
    "balance",
    "balanced_class_weights",
    "create_sampler",
    "effective_number_weights",
    "list_samplers",
    "parents",
    "plot_parents",
]
