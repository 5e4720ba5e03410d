"""Trained models as folders: save, find, load, publish, and test against their golden logits."""

from __future__ import annotations

from cellnet.hub.card import summarise
from cellnet.hub.checkpoint import load, save
from cellnet.hub.find import list_pretrained, load_pretrained, read_pretrained
from cellnet.hub.golden import SelfTest, self_test
from cellnet.hub.index import Published
from cellnet.hub.mirror import copy_pretrained
from cellnet.hub.publish import publish, push_to_hub
from cellnet.hub.record import record, refit
from cellnet.hub.sharing import share

__all__ = [
    "Published",
    "SelfTest",
    "copy_pretrained",
    "list_pretrained",
    "load",
    "load_pretrained",
    "publish",
    "push_to_hub",
    "read_pretrained",
    "record",
    "refit",
    "save",
    "self_test",
    "share",
    "summarise",
]
