"""Ctrl-C and SIGTERM: a run finishes its step, saves, and ends in a way that the caller can tell."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from cellnet.errors import CellnetError

SAME_SIGNAL_SECONDS = 1.0
"""A launcher passes on the Ctrl-C that the terminal sent to its processes too: within this time both are one."""


class Interrupted(CellnetError):  # noqa: N818 (nothing went wrong)
    """A run that was asked to end, and did after saving; the message says how to continue it.

    Attributes:
        exit_code: What a program ends with by custom: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class StopRequest:
    """Whether the process was asked to end.

    Attributes:
        number: The signal, or 0.
    """

    def __init__(self) -> None:
        self.number = 0
        self._time = 0.0

    def receive(self, number: int) -> bool:
        """Note a signal; True if an earlier one asked already."""
        now = time.monotonic()
        if not self.number:
            self.number, self._time = number, now
        return now - self._time > SAME_SIGNAL_SECONDS


@contextlib.contextmanager
def deferred_signals(active: bool = True) -> Iterator[StopRequest]:
    """Note Ctrl-C and SIGTERM within the block instead of acting on them; the second Ctrl-C stops at once.

    A signal that nothing in the block answered by an exception takes its usual effect at the end of it. Signals
    can be deferred in the main thread only; in another one the block changes nothing.

    Args:
        active: False changes nothing.
    """
    request = StopRequest()
    if not active or threading.current_thread() is not threading.main_thread():
        yield request
        return

    def receive(number: int, frame: FrameType | None) -> None:
        if request.receive(number):
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)

    # What the caller ignores, as the shell does with Ctrl-C for a program in the background, stays ignored.
    before = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM)
        if (handler := signal.getsignal(number)) not in (None, signal.SIG_IGN)
    }
    try:
        for number in before:
            signal.signal(number, receive)
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if request.number:
        signal.raise_signal(request.number)
