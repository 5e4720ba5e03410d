"""Judging a model: metrics with 95 % intervals, calibration, and the report that holds them."""

from cellnet.evaluation.calibrate import calibrate
from cellnet.evaluation.evaluate import evaluate
from cellnet.evaluation.intervals import Estimate
from cellnet.evaluation.report import Report

__all__ = ["Estimate", "Report", "calibrate", "evaluate"]
