"""What TensorBoard's own reader finds in a run's folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cellnet.errors import ConfigError
from cellnet.training import TensorBoard

HISTORY = [
    {
        "epoch": epoch,
        "train_loss": 1 / epoch,
        "val_loss": 1.1 / epoch,
        "val_accuracy": 1 - 0.5 / epoch,
        "val_macro_f1": 1 - 0.6 / epoch,
        "lr": 1e-3 / epoch,
        "images_per_second": 100.0 + epoch,
        "seconds": 9.0,
    }
    for epoch in range(1, 7)
]
STEPS = 5  # an epoch


def session(folder: Path, first_step: int, until: int) -> None:
    """A start of a run after a number of steps, which then ends after epoch ``until``."""
    callback = TensorBoard(folder)
    callback.on_fit_start(len(HISTORY), STEPS, first_step)
    for epoch in range(first_step // STEPS, until):
        callback.on_epoch_end(HISTORY[epoch], HISTORY[: epoch + 1], improved=True)
    callback.on_fit_end()
    for file in folder.glob("events.*"):  # by name in the order of the second they were made in: too coarse here
        file.rename(folder / f"{len(list(folder.iterdir()))}.tfevents")


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag, as TensorBoard draws them."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = reader.EventAccumulator(str(folder), size_guidance={reader.SCALARS: 0})
    accumulator.Reload()
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}


def column(name: str) -> list[tuple[int, float]]:
    return [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in HISTORY]


def test_every_figure_of_every_epoch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    session(tmp_path, 0, 6)
    assert curves(tmp_path) == {
        "loss/train": column("train_loss"),
        "loss/validation": column("val_loss"),
        "validation/accuracy": column("val_accuracy"),
        "validation/macro_f1": column("val_macro_f1"),
        "training/lr": column("lr"),
        "training/images_per_second": column("images_per_second"),
    }


@pytest.mark.parametrize(
    "sessions",
    [
        [(0, 2), (2 * STEPS + 3, 6)],  # stopped within an epoch
        [(0, 2), (2 * STEPS, 6)],  # between two
        [(0, 2), (3 * STEPS, 6)],  # killed after the checkpoint, before this was told of the epoch
        [(0, 4), (3 * STEPS - 1, 6)],  # the last checkpoint was damaged
        [(0, 2), (2 * STEPS, 2), (2 * STEPS, 6), (6 * STEPS, 6)],  # stopped at once; given back when finished
        [(0, 4), (0, 6)],  # begun anew
    ],
)
def test_a_run_that_goes_on_has_each_epoch_once(tmp_path: Path, sessions: list[tuple[int, int]]) -> None:
    pytest.importorskip("tensorboard")
    for first_step, until in sessions:
        session(tmp_path, first_step, until)
    assert curves(tmp_path)["loss/train"] == column("train_loss")


def test_without_the_package_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r'pip install "cellnet\[tensorboard\]"'):
        TensorBoard(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"Cannot write the curves .*file.*; free some space, or leave them out"):
        session(tmp_path / "file", 0, 1)
