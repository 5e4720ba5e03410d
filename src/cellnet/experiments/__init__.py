"""Whole experiments: from a data set to trained weights, a report and a card; and many trainings, one answer."""

from cellnet.experiments.compare import compare_trials, repeat_splits
from cellnet.experiments.comparison import Comparison
from cellnet.experiments.contrastive import classifier_config, train_contrastive
from cellnet.experiments.cross_validation import CrossValidation, cross_validate
from cellnet.experiments.hybrid import create_network, train_fused, train_two_stages
from cellnet.experiments.protocol import Protocol, list_protocols, load_protocol, load_run_file
from cellnet.experiments.rates import LearningRates, find_learning_rate
from cellnet.experiments.run import RunResult, train_and_report
from cellnet.experiments.trials import Trial, vary, vary_singly

__all__ = [
    "Comparison",
    "CrossValidation",
    "LearningRates",
    "Protocol",
    "RunResult",
    "Trial",
    "classifier_config",
    "compare_trials",
    "create_network",
    "cross_validate",
    "find_learning_rate",
    "list_protocols",
    "load_protocol",
    "load_run_file",
    "repeat_splits",
    "train_and_report",
    "train_contrastive",
    "train_fused",
    "train_two_stages",
    "vary",
    "vary_singly",
]
