"""Judging a model: metrics with 95 % intervals, calibration, the report that holds them, and models side by side."""

from cellnet.evaluation.compare import Difference, ModelComparison, compare
from cellnet.evaluation.evaluate import evaluate
from cellnet.evaluation.intervals import Estimate
from cellnet.evaluation.report import Report

__all__ = ["Difference", "Estimate", "ModelComparison", "Report", "compare", "evaluate"]
