"""Judging a model: metrics with 95 % intervals, calibration, the report that holds them, and models side by side."""

from cellnet.evaluation.calibrate import calibrate
from cellnet.evaluation.compare import Difference, ModelComparison, compare
from cellnet.evaluation.differential import Differential, differential
from cellnet.evaluation.evaluate import evaluate
from cellnet.evaluation.intervals import Estimate
from cellnet.evaluation.prevalence import PredictiveTable, read_prevalence
from cellnet.evaluation.report import Report
from cellnet.evaluation.stress import StressReport, plot_stress, stress

__all__ = [
    "Difference",
    "Differential",
    "Estimate",
    "ModelComparison",
    "PredictiveTable",
    "Report",
    "StressReport",
    "calibrate",
    "compare",
    "differential",
    "evaluate",
    "plot_stress",
    "read_prevalence",
    "stress",
]
