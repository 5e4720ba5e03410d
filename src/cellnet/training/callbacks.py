"""Small things that watch a run. The trainer calls them; they never change what it computes."""

from __future__ import annotations

import csv
import time
from os import PathLike
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cellnet.files import atomic_path

Row = dict[str, Any]
"""One epoch of the history: epoch, train_loss, val_loss, val_accuracy, val_macro_f1, lr, seconds, images_per_second."""


class Callback:
    """Base class: override what you need. Where several processes train, those of the first one are called."""

    def on_fit_start(self, epochs: int, steps_per_epoch: int, first_step: int) -> None:
        """The run begins, or continues, after ``first_step`` of its ``epochs * steps_per_epoch`` steps."""

    def on_step(self, epoch: int, images: int) -> None:
        """A step over ``images`` images, of all processes, has been queued."""

    def on_epoch_end(self, row: Row, history: list[Row], improved: bool) -> None:
        """An epoch is over, validated and saved."""

    def on_fit_end(self) -> None:
        """The run is over, also when it failed."""


class HistoryCSV(Callback):
    """Writes the history after every epoch, whole or not at all."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)

    def on_epoch_end(self, row: Row, history: list[Row], improved: bool) -> None:
        """Write every row so far."""
        write_history(self.path, history)


def write_history(path: str | PathLike[str], history: list[Row]) -> None:
    """Write the rows of a run as CSV, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)


class ProgressBar(Callback):
    """Bar of the run with throughput and time left, and a line per epoch; on standard error.

    Where that is not a terminal, as in a log file, a line each ``log_every`` seconds takes the bar's place.
    """

    def __init__(self, console: Console | None = None, log_every: float = 60.0) -> None:
        self.console = console or Console(stderr=True)
        self.log_every = log_every
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f} images/s"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._images = 0
        self._start = self._logged = 0.0
        self._epochs = 0

    def on_fit_start(self, epochs: int, steps_per_epoch: int, first_step: int) -> None:
        """Show the bar of the whole run."""
        self._epochs = epochs
        self._start = self._logged = time.perf_counter()
        if self.console.is_terminal:
            self.progress.start()
        self._task = self.progress.add_task("training", total=epochs * steps_per_epoch, completed=first_step, rate=0.0)

    def on_step(self, epoch: int, images: int) -> None:
        """Advance the bar."""
        self._images += images
        if self._task is None:
            return
        now = time.perf_counter()
        rate = self._images / max(now - self._start, 1e-9)
        self.progress.update(self._task, advance=1, rate=rate, description=f"epoch {epoch + 1}/{self._epochs}")
        if not self.console.is_terminal and now - self._logged >= self.log_every:
            self._logged = now
            task = self.progress.tasks[self._task]
            left = (task.total or 0) - task.completed
            self.console.print(
                f"epoch {epoch + 1}/{self._epochs}  step {task.completed:.0f} of {task.total:.0f}  "
                f"{rate:.0f} images/s  {left * images / rate / 60:.0f} min left",
                highlight=False,
            )

    def on_epoch_end(self, row: Row, history: list[Row], improved: bool) -> None:
        """Print the epoch's line."""
        self.console.print(
            f"epoch {row['epoch']:>3}  train loss {row['train_loss']:.4f}  val loss {row['val_loss']:.4f}  "
            f"val accuracy {row['val_accuracy']:.2%}  val macro F1 {row['val_macro_f1']:.2%}  "
            f"{row['images_per_second']:.0f} images/s{'  best' if improved else ''}",
            highlight=False,
        )

    def on_fit_end(self) -> None:
        """Take the bar away."""
        self.progress.stop()
