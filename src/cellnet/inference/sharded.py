"""Very many image files: several processes predict every P-th of them each, and the first joins what they wrote."""

from __future__ import annotations

import contextlib
import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cellnet.errors import CellnetError, DataError
from cellnet.files import atomic_path
from cellnet.inference.predictions import Predictions
from cellnet.inference.predictor import best_device, predict

if TYPE_CHECKING:
    from cellnet.models import CellClassifier

SLOWEST = timedelta(days=7)
"""How long a process waits for the others, whose machines may be slower."""


@dataclass(frozen=True)
class Summary:
    """What a predictions file holds, in numbers.

    Args:
        images: Number of rows.
        labels: How often each class was the most probable.
        abstained: Readable images that the model should not be trusted with.
        errors: Why a file could not be read, by file.
        unreadable: Rows of such files, of which one may be given twice.
    """

    images: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    abstained: int = 0
    errors: dict[str, str] = field(default_factory=dict)
    unreadable: int = 0

    @classmethod
    def of(cls, predictions: Predictions) -> Summary:
        """The summary of some predictions."""
        return cls(
            len(predictions),
            Counter(label for label in predictions.labels if label),
            sum(bool(row.abstain) and row.error is None for row in predictions),
            {f: e for f, e in zip(predictions.files, predictions.errors, strict=True) if e},
            int((~predictions.readable).sum()),
        )

    def __add__(self, other: Summary) -> Summary:
        return Summary(
            self.images + other.images,
            self.labels + other.labels,
            self.abstained + other.abstained,
            self.errors | other.errors,
            self.unreadable + other.unreadable,
        )


def predict_files(
    model: CellClassifier,
    files: Sequence[Path],
    out: str | os.PathLike[str],
    *,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> Summary | None:
    """Classify image files and write a CSV file with one row a file, in their order.

    Started by ``torchrun`` or ``accelerate launch``, each process predicts its share into a file beside ``out``,
    and the first one joins these files and removes them. The processes must see one file system.

    Args:
        model: The model.
        files: Image files; those of the first process count.
        out: The CSV file, as `Predictions.to_csv` writes it.
        batch_size: Images at a time and process.
        device: Where to compute; default: where the model is, or with several processes a GPU each, where there is.
        progress: Show a progress bar on standard error.

    Returns:
        A summary of all rows; None in the processes that are not the first.

    Raises:
        CellnetError: As `predict` and `Predictions.to_csv`, in all processes if in one.
        DataError: The file of a process is missing.
    """
    with _processes() as (process, processes):
        if processes == 1:
            predictions = predict(model, files, batch_size=batch_size, device=device, progress=progress)
            predictions.to_csv(out)
            return Summary.of(predictions)
        if device in (None, "cuda") and torch.cuda.is_available():
            device = best_device(device)
        (files,) = _from_first([list(files)])
        parts = [Path(out).with_stem(f"{Path(out).stem}.part-{i + 1}-of-{processes}") for i in range(processes)]
        answer: Summary | CellnetError
        try:
            parts[process].unlink(missing_ok=True)  # of an earlier attempt
            share, shown = files[process::processes], progress and process == 0
            predictions = (
                predict(model, share, batch_size=batch_size, device=device, progress=shown)
                if share
                else Predictions([], model.labels, [])
            )
            predictions.to_csv(parts[process])
            answer = Summary.of(predictions)
        except CellnetError as error:
            answer = error
        summary = Summary()
        for each in _from_all(answer, processes):
            if isinstance(each, CellnetError):
                raise each
            summary += each
        if process > 0:
            return None
        join_parts(parts, out)
        return summary


def join_parts(parts: Sequence[Path], out: str | os.PathLike[str]) -> None:
    """Join the files of P processes, in which row i of process p is row i·P + p of all, and remove them.

    Memory does not grow with the number of rows.

    Raises:
        DataError: A file is missing; the others are kept.
        ConfigError: ``out`` cannot be written; the files are kept.
    """
    if missing := [part for part in parts if not part.exists()]:
        raise DataError(
            f"The predictions of a process are missing, {missing[0]}: it failed, or writes to another file system; "
            "predict again, with --out in a folder that all processes see."
        )
    with atomic_path(out) as temporary, ExitStack() as stack:
        # As in Predictions.to_csv: file names may be bytes that are not UTF-8.
        def opened(path: Path, mode: str) -> Any:
            return stack.enter_context(path.open(mode, encoding="utf-8", errors="surrogateescape", newline=""))

        readers = [csv.reader(opened(part, "r")) for part in parts]
        writer = csv.writer(opened(temporary, "w"))
        header, *_ = [next(reader) for reader in readers]
        writer.writerow(header)
        for rows in zip_longest(*readers):
            writer.writerows(row for row in rows if row is not None)
    for part in parts:
        part.unlink()


@contextlib.contextmanager
def _processes() -> Iterator[tuple[int, int]]:
    """Number of this process and how many there are, as a launcher says; they can talk within the block."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0, 1
        return
    ours = not torch.distributed.is_initialized()
    if ours:
        torch.distributed.init_process_group("gloo", timeout=SLOWEST)
    try:
        yield torch.distributed.get_rank(), torch.distributed.get_world_size()
    finally:
        if ours:
            torch.distributed.destroy_process_group()


def _from_first(items: list[Any]) -> list[Any]:
    torch.distributed.broadcast_object_list(items)
    return items


def _from_all(item: Any, processes: int) -> list[Any]:
    items: list[Any] = [None] * processes
    torch.distributed.all_gather_object(items, item)
    return items
