"""Judging a model: metrics with 95 % intervals, calibration, and the report that holds them."""

from cellnet.evaluation.calibrate import calibrate
from cellnet.evaluation.differential import Differential, differential
from cellnet.evaluation.evaluate import evaluate
from cellnet.evaluation.intervals import Estimate
from cellnet.evaluation.report import Report
from cellnet.evaluation.stress import StressReport, plot_stress, stress

__all__ = [
    "Differential",
    "Estimate",
    "Report",
    "StressReport",
    "calibrate",
    "differential",
    "evaluate",
    "plot_stress",
    "stress",
]
