"""What watches a run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from cellnet.training import HistoryCSV, ProgressBar

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


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_in_a_terminal_and_in_a_log(terminal: bool) -> None:
    text = io.StringIO()
    bar = ProgressBar(Console(file=text, force_terminal=terminal, width=120), log_every=0)
    bar.on_fit_start(epochs=2, steps_per_epoch=2, first_step=2)
    bar.on_step(1, 32)
    bar.on_epoch_end(ROW, [ROW], improved=True)
    bar.on_fit_end()
    assert "val accuracy 90.00%" in text.getvalue()
    assert text.getvalue().rstrip().endswith("best") or terminal
    assert ("step 3 of 4" in text.getvalue()) != terminal


def test_history_is_replaced_whole(tmp_path: Path) -> None:
    history = HistoryCSV(tmp_path / "history.csv")
    history.on_epoch_end(ROW, [ROW], True)
    history.on_epoch_end(ROW | {"epoch": 2}, [ROW, ROW | {"epoch": 2}], False)
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[0]["val_macro_f1"]) == 0.88
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]
