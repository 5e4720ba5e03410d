"""Trained models as folders: save, find, load, and test against their golden logits."""

from __future__ import annotations

from cellnet.hub.checkpoint import load, save
from cellnet.hub.find import list_pretrained, load_pretrained
from cellnet.hub.golden import SelfTest, self_test

__all__ = ["SelfTest", "list_pretrained", "load", "load_pretrained", "save", "self_test"]
