"""Losses that PyTorch does not have."""

from cellnet.losses.focal import FocalLoss
from cellnet.losses.supcon import SupConLoss

__all__ = ["FocalLoss", "SupConLoss"]
