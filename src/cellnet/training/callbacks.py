"""Small things that watch a run. The trainer calls them; they never change what it computes."""

from __future__ import annotations

import csv
from os import PathLike
from pathlib import Path
from typing import Any

from cellnet.files import atomic_path

Row = dict[str, Any]
"""One epoch of the history: epoch, train_loss, val_loss, val_accuracy, val_macro_f1, lr, seconds, images_per_second."""


class Callback:
    """Base class: override what you need. Where several processes train, those of the first one are called."""

    def on_fit_start(self, epochs: int, steps_per_epoch: int, first_step: int) -> None:
        """The run begins, or continues, after ``first_step`` of its ``epochs * steps_per_epoch`` steps."""

    def on_step(self, epoch: int, images: int) -> None:
        """A step over ``images`` images, of all processes, has been queued."""

    def on_loss(self, loss: float) -> None:
        """The mean loss of the running epoch so far; told every few steps, when it is read from the device anyway."""

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
