"""Train the rows of the table, one after another; what is done is read, what was cut off goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from benchmarks.accuracy.cells import Cells, describe
from benchmarks.accuracy.hardware import PeakMemory
from benchmarks.accuracy.pace import Parts, epochs_within
from benchmarks.accuracy.table import check_data, data_in_words, results_file, write
from benchmarks.accuracy.tasks import Setting, Task

from cellnet.datasets import CellDataset
from cellnet.errors import CellnetError
from cellnet.experiments import RunResult, train_and_report, train_contrastive, train_fused
from cellnet.experiments.study import StudyFolder, check_same
from cellnet.files import write_text
from cellnet.hub import load
from cellnet.images import Preprocess
from cellnet.training import Callback, Interrupted


class Table:
    """A folder of trained rows: each has its plan, its run and, when it is done, its cells.

    Args:
        out: The folder.
        images: The data set.
        tasks: All rows that are wanted.
        results: Folder of the CSV files.
        say: Told what happens, a line each.
        callbacks: Things that watch the trainings.
        command: Gives the command that makes one row again, for so many epochs.

    Raises:
        ConfigError: The folder holds other rows than of this data set, or none.
    """

    def __init__(
        self,
        out: Path,
        images: CellDataset,
        tasks: Sequence[Task],
        results: Path,
        *,
        say: Callable[[str], None],
        callbacks: Sequence[Callback] = (),
        command: Callable[[Task, int], str],
    ) -> None:
        self.out, self.images, self.tasks = out, images, list(tasks)
        self.say, self.callbacks, self.command = say, list(callbacks), command
        self.file = results_file(results, self._setting.device)
        self._sized: dict[int, CellDataset] = {}
        self._parts: dict[tuple[int, int], Parts] = {}
        check_data(self.file, self.data)
        StudyFolder(out, {"study": "the table of accuracies", "data": self.data}, resume=True)

    def run(self, epochs: int | None, budget: float | None) -> list[str]:
        """Train what is not done yet, and write each row into the table as soon as it is.

        Args:
            epochs: Epochs beside those of the protocol; None leaves them to the budget, or to the protocol.
            budget: Minutes of all rows together that have no plan yet.

        Returns:
            What went wrong, a line for each row that failed; the others are in the table.

        Raises:
            ConfigError: A row was planned otherwise, or the budget is too small.
            Interrupted: The command was asked to end; it can be given again.
        """
        self._plan(epochs, budget)
        failures = []
        for task in self.tasks:
            try:
                write(self.file, [self._cells(task)])
            except Interrupted:
                raise
            except CellnetError as error:
                failures.append(f"{task.path}: {error}")
                self.say(failures[-1])
        return failures

    def _plan(self, epochs: int | None, budget: float | None) -> None:
        waiting = []
        for task in self.tasks:
            if not self._plan_file(task).exists():
                waiting.append(task)
                continue
            plan = json.loads(self._plan_file(task).read_text(encoding="utf-8"))
            check_same(self.out / task.path, plan, self._wanted(task) | ({} if epochs is None else {"epochs": epochs}))
        for row in {task.row.name: task for task in waiting if not task.row.branches}.values():
            row.maker(self.images.labels)()  # a size or a start file that does not fit is found now, not after hours
        if waiting and epochs is None:
            epochs = self._setting.epochs
            if budget is not None:
                epochs = epochs_within(budget, waiting, self._parts_of, self.tasks, self.say)
        for task in waiting:
            write_text(self._plan_file(task), json.dumps(self._wanted(task) | {"epochs": epochs}, indent=2) + "\n")

    def _wanted(self, task: Task) -> dict[str, Any]:
        """What must be the same to go on with a row, beside its epochs."""
        setting = self._setting
        return {
            "start": task.start,
            "device": setting.device,
            "compile": setting.compile,
            "norm_batches": setting.norm_batches,
        }

    def _cells(self, task: Task) -> Cells:
        """The cells of a row, read where it is done."""
        done = self.out / task.path / "row.json"
        if done.exists():
            self.say(f"{task.path}: done before")
            cells: Cells = json.loads(done.read_text(encoding="utf-8"))
            return cells
        epochs = json.loads(self._plan_file(task).read_text(encoding="utf-8"))["epochs"]
        self.say(f"{task.path}: {', then '.join(str(config.epochs) for config in task.configs(epochs))} epochs")
        memory = PeakMemory(self._setting.device)
        result = self._train(task, epochs)
        facts = {"data": self.data, "command": self.command(task, epochs)}
        cells = describe(task, epochs, result, self._parts_of(task), self.out / task.path, memory) | facts
        write_text(done, json.dumps(cells, indent=2, ensure_ascii=False) + "\n")  # last: only what is whole is done
        self.say(f"{task.path}: {cells['accuracy']}")
        return cells

    def _train(self, task: Task, epochs: int) -> RunResult:
        configs, parts, out = task.configs(epochs), self._parts_of(task), self.out / task.path / "run"
        shared: dict[str, Any] = {
            "split": f"stratified by class, identical images together, split seed {task.split_seed}",
            "resume": True,
            "device": self._setting.trainer_device,
            "callbacks": self.callbacks,
            "command": self.command(task, epochs),
            "starting_weights": task.start,
        }
        if task.row.kind == "fused":
            branches = [load(self.out / branch.path / "run" / "model") for branch in task.branches(self.tasks)]
            return train_fused(parts, branches, configs[0], out, **shared)
        make = task.maker(self.images.labels)
        if task.row.kind == "contrast":
            return train_contrastive(parts, make, (configs[0], configs[1]), out, name=task.row.name, **shared)
        torch.manual_seed(configs[0].seed)
        return train_and_report(parts, make(), configs[0], out, name=task.row.name, **shared)

    @cached_property
    def data(self) -> str:
        """The data set in words."""
        return data_in_words(self.images)

    @property
    def _setting(self) -> Setting:
        return self.tasks[0].setting

    def _plan_file(self, task: Task) -> Path:
        return self.out / task.path / "plan.json"

    def _parts_of(self, task: Task) -> Parts:
        """Training, validation and test part, in memory at the size of the row; made once for all rows."""
        size = task.image_size
        if size not in self._sized:
            self._sized[size] = self.images.preload(Preprocess(size))
        key = (size, task.split_seed)
        if key not in self._parts:
            self._parts[key] = self._sized[size].split(self._setting.protocol.split, seed=task.split_seed)
        return self._parts[key]
