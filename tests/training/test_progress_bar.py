"""What a person sees of a run, on a clock that the tests turn."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cellnet.training import ProgressBar

ROW = {
    "epoch": 1,
    "train_loss": 0.5,
    "val_loss": 0.4,
    "val_accuracy": 0.9,
    "val_macro_f1": 0.88,
    "lr": 0.001,
    "images_per_second": 120.0,
    "seconds": 3.0,
}


class Run:
    """A bar, its text so far, and the time."""

    def __init__(self, terminal: bool = False, width: int = 120, log_every: float = 0.0) -> None:
        self.now = 0.0
        self.text = io.StringIO()
        console = Console(
            file=self.text,
            force_terminal=terminal,
            force_interactive=terminal,
            color_system=None,
            width=width,
            get_time=lambda: self.now,
        )
        self.bar = ProgressBar(console, log_every)

    def steps(self, count: int, seconds: float, images: int = 32, epoch: int = 0) -> None:
        for _ in range(count):
            self.now += seconds
            self.bar.on_step(epoch, images)

    @property
    def line(self) -> str:
        """The bar, or the last line, as it is now."""
        if self.bar.console.is_interactive:
            self.bar.progress.refresh()
        return self.text.getvalue().rstrip("\n").rpartition("\n")[2].rpartition("\x1b[2K")[2]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_in_a_terminal_and_in_a_log(terminal: bool) -> None:
    run = Run(terminal)
    run.bar.on_fit_start(epochs=2, steps_per_epoch=2, first_step=2)
    run.steps(1, 0.1, epoch=1)
    run.bar.on_epoch_end(ROW, [ROW], improved=True)
    run.bar.on_fit_end()
    assert "val accuracy 90.00%" in run.text.getvalue()
    assert "images/s  best\n" in run.text.getvalue()
    assert ("step 3 of 4" in run.text.getvalue()) != terminal


def test_a_bar_of_80_columns_holds_everything() -> None:
    run = Run(terminal=True, width=80)
    run.bar.on_fit_start(epochs=30, steps_per_epoch=1500, first_step=0)
    run.bar.on_epoch_end(ROW, [ROW], improved=True)
    run.steps(41, 0.25, images=256, epoch=1)
    run.bar.on_loss(0.41234)
    line = run.line
    run.bar.on_fit_end()
    assert line.split()[:2] == ["epoch", "2/30"]
    assert line.endswith("41/45000 1024 images/s 3:07:20 loss 0.4123 macro F1 88.0%")  # (45000 - 41) / 4 seconds
    assert len(line) <= 80


def test_a_line_in_a_log_says_the_same() -> None:
    run = Run()
    run.bar.on_fit_start(epochs=2, steps_per_epoch=1000, first_step=0)
    run.bar.on_epoch_end(ROW, [ROW], improved=True)
    run.steps(1, 0.5, epoch=1)
    assert run.line == "epoch 2/2  step 1 of 2000  0 images/s  macro F1 88.0%"  # one step says nothing of the pace
    run.bar.on_loss(0.25)
    run.steps(10, 0.5, epoch=1)
    assert run.line == "epoch 2/2  step 11 of 2000  64 images/s  17 min left  loss 0.2500  macro F1 88.0%"
    run.bar.on_epoch_end(ROW, [ROW, ROW], improved=False)
    run.steps(1, 0.5)
    assert "  loss" not in run.line  # of an epoch before


def test_a_line_in_a_log_is_not_broken() -> None:
    run = Run(width=40)
    run.bar.on_fit_start(epochs=1, steps_per_epoch=10, first_step=0)
    run.bar.on_epoch_end(ROW, [ROW], improved=True)
    assert run.line.startswith("epoch   1  train loss")
    assert run.line.endswith("best")


def test_lines_in_a_log_keep_their_distance() -> None:
    run = Run(log_every=60.0)
    run.bar.on_fit_start(epochs=1, steps_per_epoch=1000, first_step=0)
    run.steps(100, 2.5)
    assert run.text.getvalue().count("\n") == 4


@pytest.mark.parametrize("terminal", [True, False])
def test_the_second_training_of_a_bar_knows_nothing_of_the_first(terminal: bool) -> None:
    run = Run(terminal)
    run.bar.on_fit_start(epochs=1, steps_per_epoch=50, first_step=0)
    run.bar.on_loss(0.5)
    run.steps(50, 0.1, images=320)
    run.bar.on_epoch_end(ROW, [ROW], improved=True)
    run.bar.on_fit_end()

    run.now += 1000  # the test part is judged
    run.bar.on_fit_start(epochs=3, steps_per_epoch=100, first_step=100)
    run.steps(20, 0.5, images=10, epoch=1)
    line = run.line
    run.bar.on_fit_end()
    assert line.startswith("epoch 2/3")
    assert "20 images/s" in line
    assert ("0:01:30" if terminal else "2 min left") in line  # 180 steps
    assert "loss" not in line
    assert "F1" not in line


def test_the_pace_is_that_of_the_last_two_minutes() -> None:
    run = Run()
    run.bar.on_fit_start(epochs=1, steps_per_epoch=1000, first_step=0)
    run.steps(200, 1.0)
    run.steps(61, 2.0)
    assert "16 images/s" in run.line
