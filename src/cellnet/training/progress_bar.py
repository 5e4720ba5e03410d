"""A run as a person sees it in a terminal or a log."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from cellnet.training.callbacks import Callback, Row

SPEED_SECONDS = 120.0
"""Throughput and time left follow the last two minutes: growing images, or a network that thaws, change the pace."""


class ProgressBar(Callback):
    """Bar of the run with throughput, time left, loss and last macro F1, and a line per epoch; on standard error.

    Where that is not a terminal, as in a log file, a line each ``log_every`` seconds takes the bar's place. One bar
    can watch several trainings in turn.
    """

    def __init__(self, console: Console | None = None, log_every: float = 60.0) -> None:
        self.console = console or Console(stderr=True)
        self.log_every = log_every
        whole = Column(no_wrap=True)  # in a narrow window the bar gives way, not the numbers
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(table_column=whole),
            _Throughput(table_column=whole),
            TimeRemainingColumn(table_column=whole),
            TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[metric]}"),
            console=self.console,
            speed_estimate_period=SPEED_SECONDS,
            transient=True,
            expand=True,
        )
        self._logged = 0.0

    def on_fit_start(self, epochs: int, steps_per_epoch: int, first_step: int) -> None:
        """Show the bar of the whole run; nothing of a training before stays."""
        for task in self.progress.task_ids:
            self.progress.remove_task(task)
        self.progress.add_task(
            "training",
            total=epochs * steps_per_epoch,
            completed=first_step,
            first_step=first_step,
            epochs=epochs,
            images=0,
            loss="",
            metric="",
        )
        self._logged = self.console.get_time()
        if self.console.is_interactive:
            self.progress.start()

    def on_step(self, epoch: int, images: int) -> None:
        """Advance the bar."""
        task = self._task
        description = f"epoch {epoch + 1}/{task.fields['epochs']}"
        self.progress.update(task.id, advance=1, description=description, images=task.fields["images"] + images)
        if self.console.is_interactive or self.console.get_time() - self._logged < self.log_every:
            return
        self._logged = self.console.get_time()
        self._print(
            description,
            f"step {task.completed:.0f} of {task.total:.0f}",
            _throughput(task),
            "" if task.time_remaining is None else f"{task.time_remaining / 60:.0f} min left",
            task.fields["loss"],
            task.fields["metric"],
        )

    def on_loss(self, loss: float) -> None:
        """Show the loss of the running epoch."""
        self.progress.update(self._task.id, loss=f"loss {loss:.4f}")

    def on_epoch_end(self, row: Row, history: list[Row], improved: bool) -> None:
        """Print the epoch's line."""
        self.progress.update(self._task.id, loss="", metric=f"macro F1 {row['val_macro_f1']:.1%}")
        self._print(
            f"epoch {row['epoch']:>3}",
            f"train loss {row['train_loss']:.4f}",
            f"val loss {row['val_loss']:.4f}",
            f"val accuracy {row['val_accuracy']:.2%}",
            f"val macro F1 {row['val_macro_f1']:.2%}",
            f"{row['images_per_second']:.0f} images/s",
            "best" if improved else "",
        )

    def on_fit_end(self) -> None:
        """Take the bar away."""
        if self.console.is_interactive:
            self.progress.stop()

    @property
    def _task(self) -> Task:
        (task,) = self.progress.tasks
        return task

    def _print(self, *words: str) -> None:
        # Nobody made a log file as narrow as a console that is none is taken to be.
        self.console.print("  ".join(filter(None, words)), highlight=False, soft_wrap=not self.console.is_terminal)


class _Throughput(ProgressColumn):
    """Worked out when the bar is drawn, ten times a second at most, and not in every step."""

    def render(self, task: Task) -> Text:
        return Text(_throughput(task))


def _throughput(task: Task) -> str:
    steps = max(task.completed - task.fields["first_step"], 1)
    return f"{(task.speed or 0) * task.fields['images'] / steps:.0f} images/s"
