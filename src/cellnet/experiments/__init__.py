"""Whole experiments: from a data set to trained weights, a report and a card."""

from cellnet.experiments.run import RunResult, train_and_report

__all__ = ["RunResult", "train_and_report"]
