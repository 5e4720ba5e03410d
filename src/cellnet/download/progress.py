"""A progress bar of bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Show = Callable[[int, int | None], None]
"""Called with the bytes that are done, and all there are, or None where nobody knows."""


@contextlib.contextmanager
def progress_bar(description: str, wanted: bool) -> Iterator[Show]:
    """A bar on standard error while the block runs; where it is not wanted, showing does nothing."""
    if not wanted:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
