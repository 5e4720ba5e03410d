"""When a run is looked at, and what all processes conclude."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from cellnet.training.interrupts import StopRequest
from cellnet.training.lookout import GO_ON, Lookout


class Processes:
    """Stands for an accelerator: this process and others, whose rows are given."""

    def __init__(self, *others: list[float]) -> None:
        self.num_processes = 1 + len(others)
        self.others = torch.tensor(others)

    def gather(self, row: torch.Tensor) -> torch.Tensor:
        return torch.cat([row, self.others]) if len(self.others) else row


def create(*others: list[float], save_seconds: float = 1e6, **request: Any) -> Lookout:
    asked = StopRequest()
    asked.number = request.get("number", 0)
    accelerator: Accelerator = Processes(*others)  # type: ignore[assignment]
    return Lookout(accelerator, asked, save_seconds)


def looked_at(lookout: Lookout, steps: int) -> list[int]:
    """The steps that a look came after."""
    steps_with_look = []
    for step in range(1, steps + 1):
        lookout.note(torch.tensor(1.0))
        if lookout.look(last=False) is not GO_ON:
            steps_with_look.append(step)
    return steps_with_look


def test_quick_steps_are_looked_at_rarely() -> None:
    assert looked_at(create(), 120) == [1, 51, 101]


@pytest.mark.parametrize(("seconds", "expected"), [(0.9, [1, 3, 5, 7]), (5.0, [1, 2, 3, 4, 5, 6, 7])])
def test_slow_steps_are_looked_at_often(seconds: float, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    lookout, steps = create(), []
    for step in range(1, 8):
        now += seconds
        lookout.note(torch.tensor(1.0))
        if lookout.look(last=False) is not GO_ON:
            steps.append(step)
    assert steps == expected


def test_a_checkpoint_after_every_step() -> None:
    lookout = create(save_seconds=0)
    for _ in range(3):
        lookout.note(torch.tensor(1.0))
        assert lookout.look(last=False).save


def test_the_time_of_a_checkpoint_counts_from_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    lookout = create(save_seconds=10)
    answers = []
    for seconds in (4, 7, 0, 9, 2):
        now += seconds
        lookout.note(torch.tensor(1.0))
        answers.append(lookout.look(last=True).save)
        if answers[-1]:
            lookout.saved()
    assert answers == [False, True, False, False, True]


def test_losses_come_in_order_and_once() -> None:
    lookout = create()
    seen: list[float] = []
    for step in range(130):
        lookout.note(torch.tensor(float(step)))
        seen += lookout.look(last=step == 129).losses
    assert seen == list(range(130))


def test_one_process_alone_stops_at_once() -> None:
    lookout = create(number=15)
    looked_at(lookout, 1)
    lookout.note(torch.tensor(1.0))
    assert lookout.look(last=False).stop == 15


def test_all_processes_conclude_from_one_table() -> None:
    # Columns: the losses, the signal, whether a checkpoint is due, and steps until the next look.
    lookout = create([3.0, 2.0, 0.0, 1.0, 7.0])
    for value in (1.0, 4.0):
        lookout.note(torch.tensor(value))
    orders = lookout.look(last=True)
    assert orders.losses == (2.0, 3.0)
    assert orders.stop == 0
    assert not orders.save  # the clock of the first process counts
    assert orders.bad is None


def test_a_signal_to_any_process_stops_all() -> None:
    lookout = create([1.0, 15.0, 0.0, 1.0])
    lookout.note(torch.tensor(1.0))
    assert lookout.look(last=True).stop == 15


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_found_in_its_process(value: float) -> None:
    lookout = create([1.0, value, value, 0.0, 0.0, 1.0])
    for _ in range(3):
        lookout.note(torch.tensor(1.0))
    assert lookout.look(last=True).bad == (1, 1)
