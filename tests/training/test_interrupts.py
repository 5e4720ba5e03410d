"""Signals that wait for the end of a step."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from cellnet.training import Interrupted, interrupts
from cellnet.training.interrupts import deferred_signals


def test_a_signal_waits_for_an_answer() -> None:
    with pytest.raises(Interrupted, match="saved") as caught, deferred_signals() as request:  # noqa: PT012
        assert request.number == 0
        os.kill(os.getpid(), signal.SIGINT)
        assert request.number == signal.SIGINT
        raise Interrupted("saved", request.number)
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_without_an_answer_takes_effect_at_the_end() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), deferred_signals():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        reached = True
    assert reached


def test_the_second_ctrl_c_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "SAME_SIGNAL_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt), deferred_signals():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")


def test_one_ctrl_c_that_comes_twice_is_one() -> None:
    with pytest.raises(Interrupted), deferred_signals() as request:  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)  # from the terminal
        os.kill(os.getpid(), signal.SIGINT)  # from the launcher
        raise Interrupted("saved", request.number)


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with deferred_signals() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.number == 0


def test_other_threads_and_inactive_blocks_change_nothing() -> None:
    handlers = []

    def look() -> None:
        with deferred_signals():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    with deferred_signals(active=False):
        handlers.append(signal.getsignal(signal.SIGINT))
    assert handlers == [signal.default_int_handler] * 2
