"""Is a data set fit to train and to judge on? `audit` looks for leaks, wrong files and signals beside the cell."""

from __future__ import annotations

from cellnet.datasets.audit.report import Audit, Pair
from cellnet.datasets.audit.run import audit

__all__ = ["Audit", "Pair", "audit"]
