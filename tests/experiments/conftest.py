"""Many trainings in little time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path

import pytest

from cellnet.datasets import CellDataset, load_dataset
from cellnet.evaluation import Report
from cellnet.files import write_text
from cellnet.models import CellClassifier, create_model
from cellnet.training import Callback, TrainConfig


@pytest.fixture(scope="session")
def cells() -> CellDataset:
    """48 drawn cells, six a class, 32 px."""
    return load_dataset("synthetic", per_class=6, image_size=32, seed=3)


@pytest.fixture(scope="session")
def make_model(cells: CellDataset) -> Callable[[], CellClassifier]:
    return lambda: create_model("cnn", cells.labels, image_size=32)


@pytest.fixture(scope="session")
def config() -> TrainConfig:
    return TrainConfig(epochs=2, batch_size=8, lr=3e-3)


@pytest.fixture(scope="module", autouse=True)
def bare_reports() -> Iterator[None]:
    """Reports without figures and page, which take most of the time of so short a training."""

    def save(report: Report, folder: str | PathLike[str]) -> Path:
        report.predictions.to_csv(Path(folder) / "predictions.csv")
        return write_text(Path(folder) / "metrics.json", json.dumps(report.to_dict()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Report, "save", save)
        yield


class Witness(Callback):
    """Notes each training that begins, as the number of steps that were done before; stops one as Ctrl-C would."""

    def __init__(self, stop: tuple[int, int] | None = None) -> None:
        self.begun: list[int] = []
        self.stop = stop

    def on_fit_start(self, epochs: int, steps_per_epoch: int, first: int) -> None:
        self.begun.append(first)

    def on_step(self, epoch: int, images: int) -> None:
        if (len(self.begun), epoch) == self.stop:
            raise KeyboardInterrupt


@pytest.fixture
def witness() -> type[Witness]:
    return Witness
