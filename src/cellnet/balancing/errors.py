"""The error of samplers that scikit-learn's tools may call."""

from __future__ import annotations

from cellnet.errors import DataError


class SamplingError(DataError, ValueError):
    """Arrays that cannot be resampled as asked; a `ValueError` too, which is what scikit-learn's tools expect."""
