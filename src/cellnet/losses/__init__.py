"""Losses that PyTorch does not have."""

from cellnet.losses.supcon import SupConLoss

__all__ = ["SupConLoss"]
