"""Files from the net: fetched whole or not at all, checked, and unpacked so that nothing leaves its folder."""

from __future__ import annotations

from cellnet.download.fetch import fetch, is_offline
from cellnet.download.limits import Limits
from cellnet.download.obtain import obtain
from cellnet.download.unpack import unpack

__all__ = ["Limits", "fetch", "is_offline", "obtain", "unpack"]
