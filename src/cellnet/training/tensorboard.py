"""The history of a run as TensorBoard shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from cellnet.errors import ConfigError
from cellnet.training.callbacks import Callback, Row

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "val_accuracy": "validation/accuracy",
    "val_macro_f1": "validation/macro_f1",
    "lr": "training/lr",
    "images_per_second": "training/images_per_second",
}
"""Columns of the history, and the names of their curves: one panel for what stands before the stroke."""


class TensorBoard(Callback):
    """Writes each epoch's figures for ``tensorboard --logdir FOLDER``; needs the extra ``cellnet[tensorboard]``.

    A run that was interrupted goes on in the same curves, each epoch once. One folder holds one run.

    Args:
        folder: Made at the end of the first epoch.

    Raises:
        ConfigError: TensorBoard is not installed; later, where the folder cannot be written.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: F401 (missed now, not after an epoch)
        except ImportError as error:
            raise ConfigError(
                'The curves for TensorBoard need a package that is not installed: pip install "cellnet[tensorboard]"'
            ) from error
        self.folder = Path(folder)
        self._written = 0
        self._writer: SummaryWriter | None = None

    def on_fit_start(self, epochs: int, steps_per_epoch: int, first_step: int) -> None:
        """Find the epochs that are written already."""
        # A run killed at once after its checkpoint has not written the epoch that this one ends: it comes again.
        self._written = max(first_step // steps_per_epoch - 1, 0)

    def on_epoch_end(self, row: Row, history: list[Row], improved: bool) -> None:
        """Write what is new in the history."""
        with self._writing():
            if self._writer is None:
                from torch.utils.tensorboard import SummaryWriter

                # Readers then drop these epochs where they stand in files of before.
                self._writer = SummaryWriter(self.folder, purge_step=self._written + 1)
            for each in history[self._written :]:
                for column, tag in TAGS.items():
                    self._writer.add_scalar(tag, each[column], each["epoch"])
            self._written = len(history)
            self._writer.flush()

    def on_fit_end(self) -> None:
        """Close the file."""
        if self._writer is not None:
            with self._writing():
                self._writer.close()
            self._writer = None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(
                f"Cannot write the curves for TensorBoard into {self.folder}: {reason}; free some space, or leave "
                "them out (without --tensorboard), and continue with resume (--resume)."
            ) from error
