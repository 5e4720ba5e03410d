"""What keeps the history of a run."""

from __future__ import annotations

import csv
from pathlib import Path

from cellnet.training import HistoryCSV

ROW = {"epoch": 1, "train_loss": 0.5, "val_macro_f1": 0.88}


def test_history_is_replaced_whole(tmp_path: Path) -> None:
    history = HistoryCSV(tmp_path / "history.csv")
    history.on_epoch_end(ROW, [ROW], True)
    history.on_epoch_end(ROW | {"epoch": 2}, [ROW, ROW | {"epoch": 2}], False)
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[0]["val_macro_f1"]) == 0.88
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]
