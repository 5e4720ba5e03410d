"""A folder of many trainings: each in a run folder of its own, and none is done twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError
from cellnet.evaluation import Estimate
from cellnet.evaluation.tables import FIGURES
from cellnet.experiments.run import train_and_report
from cellnet.files import write_text
from cellnet.inference import Predictions
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier
from cellnet.tensors import hash_tensors
from cellnet.training import Callback, TrainConfig
from cellnet.training.memory import with_batch
from cellnet.training.processes import on_main_process
from cellnet.training.run_folder import RunFolder

MakeModel = Callable[[], CellClassifier]
"""Makes a new model; torch's generator is seeded with the config's seed before, for the initial weights."""

Announce = Callable[[str], None]
"""Takes a line for the user."""


@dataclass(frozen=True, eq=False)
class StudyRun:
    """One finished training of a study, as its folder has it.

    Args:
        name: Name of its folder.
        figures: Those of `FIGURES`, on its test part.
        predictions: For each image of its test part.
        notes: What the figures do not say.
        n_train: Images that it learned from, those that chose the epoch included.
        best_epoch: The epoch that was chosen.
        seconds: Time of the training.
    """

    name: str
    figures: dict[str, Estimate]
    predictions: Predictions
    notes: tuple[str, ...]
    n_train: int
    best_epoch: int
    seconds: float

    @property
    def n(self) -> int:
        """Number of images that it was judged on."""
        return int(self.predictions.readable.sum())

    def to_row(self) -> dict[str, Any]:
        """Its figures as one flat row: each value with the ends of its interval, sizes, epoch and time."""
        cells: dict[str, Any] = {"n_train": self.n_train, "n_test": self.n}
        for name, figure in self.figures.items():
            cells |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
        return cells | {"best_epoch": self.best_epoch, "seconds": round(self.seconds, 1)}


class StudyFolder:
    """The folder of a study: ``study.json`` says what it is, and each training has a folder in it.

    Args:
        path: The folder; made where it is not there.
        identity: What must be the same to continue the study, in JSON types.
        resume: Continue the study that the folder holds; start one where it holds none.
        announce: Told in words which training begins, or was done before; in the first process alone.
        device: Of all its trainings, see `train_and_report`.

    Raises:
        ConfigError: The folder holds something else; the message says what differs.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        identity: Mapping[str, Any],
        resume: bool,
        announce: Announce | None = None,
        device: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.announce = announce or (lambda words: None)
        self.device = device
        on_main_process(lambda: self._claim(identity, resume), device)

    def _claim(self, identity: Mapping[str, Any], resume: bool) -> None:
        statement = self.path / "study.json"
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path} is a file; name a folder for the study.")
        if not statement.exists():
            # A start that was killed may have left a hidden temporary file.
            if self.path.exists() and any(not path.name.startswith(".") for path in self.path.iterdir()):
                raise ConfigError(f"{self.path} is not empty and holds no study; choose another folder for this one.")
            write_text(statement, json.dumps(identity, indent=2) + "\n")
            return
        if not resume:
            raise ConfigError(
                f"{self.path} already holds a study; continue it with resume (--resume), or choose another folder."
            )
        check_same(self.path, read_facts(statement, f"put it back, or delete {self.path} and begin anew"), identity)

    def is_done(
        self,
        name: str,
        parts: Sequence[CellDataset],
        model: Mapping[str, Any],
        config: TrainConfig,
        *,
        starting_weights: str = "",
        distill: CellClassifier | None = None,
    ) -> bool:
        """Whether a training was done before; ask in the first process.

        Args:
            name: Name of its folder.
            parts: Training, validation and test part.
            model: Its model, as `identify` says it.
            config: How it is trained.
            starting_weights: See `train_and_report`, as for the other argument.
            distill: See `train_and_report`.

        Raises:
            ConfigError: It was done, or begun, with another model, other images or other options.
        """
        folder = self.path / name
        done = folder / "done.json"
        if done.is_file():
            before = _read_done(folder)
            options = TrainConfig.from_dict(before["config"]).difference(config)
            identity = _identity(parts, model, starting_weights, distill)
            check_same(folder, before["identity"], identity, options)
            return True
        begun = RunFolder(folder).config()
        if begun is not None:
            check_same(
                folder, {}, {}, begun.difference(with_batch(config, begun.batch_size) if config.fit_batch else config)
            )
        return False

    def run(
        self,
        name: str,
        parts: Sequence[CellDataset],
        make_model: MakeModel,
        config: TrainConfig,
        *,
        split: str = "",
        callbacks: Sequence[Callback] = (),
        command: str = "",
        starting_weights: str = "",
        distill: CellClassifier | None = None,
    ) -> StudyRun:
        """Train and judge one model, or read what its folder has if that was done before.

        A training that was interrupted goes on where it was.

        Args:
            name: Name of its folder.
            parts: Training, validation and test part.
            make_model: Makes the model.
            config: How to train it.
            split: See `train_and_report`, as for the other arguments.
            callbacks: See `train_and_report`.
            command: See `train_and_report`.
            starting_weights: See `train_and_report`.
            distill: See `train_and_report`.

        Raises:
            ConfigError: It was done with another model, other images or other options.
        """
        folder = self.path / name
        torch.manual_seed(config.seed)
        model = make_model()
        described = identify(model)  # before it is trained
        start: Any = {"starting_weights": starting_weights, "distill": distill}
        if on_main_process(lambda: self.is_done(name, parts, described, config, **start)):
            self._announce(f"{name}: done before")
        else:
            self._announce(f"{name}: {len(parts[0]):,} images to train on, {len(parts[-1]):,} to judge on")
            result = train_and_report(
                parts,
                model,
                config,
                folder,
                name=name,
                split=split,
                resume=True,
                device=self.device,
                callbacks=callbacks,
                command=command,
                **start,
            )
            facts = {
                "identity": _identity(parts, described, **start),
                "config": config.to_dict(),
                "n_train": sum(len(part) for part in parts if part.part != "test"),
                "best_epoch": result.fit.best_epoch,
                "seconds": sum(row["seconds"] for row in result.fit.history),
            }
            # Last: only what is whole counts as done.
            on_main_process(lambda: write_text(folder / "done.json", json.dumps(facts, indent=2) + "\n"))
        return on_main_process(lambda: read_run(folder, model.labels))

    def _announce(self, words: str) -> None:
        on_main_process(lambda: self.announce(words))


def identify(model: CellClassifier) -> dict[str, Any]:
    """A model in the identity of a training: its architecture, with a hash in place of all the words of its labels."""
    return {**model.architecture, "labels": model.labels.hash}


def _identity(
    parts: Sequence[CellDataset], model: Mapping[str, Any], starting_weights: str, distill: CellClassifier | None
) -> dict[str, Any]:
    return {
        **model,
        "starting_weights": starting_weights,
        "teacher": None if distill is None else hash_tensors(distill.state_dict()),
        **{str(part.part): part.fingerprint() for part in parts},
    }


def read_facts(path: Path, cure: str, *keys: str) -> dict[str, Any]:
    """What a JSON file of a study says.

    Args:
        path: The file.
        cure: What helps where it cannot be read.
        *keys: What it must have.

    Raises:
        ConfigError: It is missing or damaged, or lacks a key.
    """
    try:
        facts = dict(json.loads(path.read_text(encoding="utf-8")))
        if missing := [key for key in keys if key not in facts]:
            raise ValueError(f"no {missing[0]}")
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is missing or damaged ({error}); {cure}.") from error
    return facts


def _read_done(folder: Path) -> dict[str, Any]:
    keys = ("identity", "config", "n_train", "best_epoch", "seconds")
    return read_facts(folder / "done.json", "delete it and resume: the model is judged anew", *keys)


def read_run(folder: Path, labels: LabelSchema) -> StudyRun:
    """A finished training, as `StudyFolder.run` left it.

    Raises:
        ConfigError: A file of it is missing or damaged; the message says what to delete.
        DataError: Its predictions are.
    """
    facts = _read_done(folder)
    cure = f"delete {folder / 'done.json'} and resume: the model is judged anew"
    report = read_facts(folder / "report" / "metrics.json", cure, "metrics", "notes")
    return StudyRun(
        folder.name,
        {name: Estimate(**report["metrics"][name]) for name in FIGURES},
        # Read back even when just made: a continued study is the same to the last digit as one in a single go.
        Predictions.read_csv(folder / "report" / "predictions.csv", labels),
        tuple(report["notes"]),
        facts["n_train"],
        facts["best_epoch"],
        facts["seconds"],
    )


def check_same(
    folder: Path,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    options: Mapping[str, tuple[Any, Any]] | None = None,
) -> None:
    """Refuse to continue something else than what a folder holds.

    Args:
        folder: The folder, for the message.
        before: What it was, by name.
        now: What it is to be.
        options: Differences already found: name -> (old value, new value).

    Raises:
        ConfigError: They differ; the message says in what.
    """
    changes = {key: (before.get(key), now[key]) for key in now if before.get(key) != now[key]} | dict(options or {})
    if changes:
        words = "; ".join(f"{name} was {old!r}, is {new!r}" for name, (old, new) in changes.items())
        raise ConfigError(f"{folder} cannot be continued: {words}. Use the same values, or another folder.")
