"""One row under one protocol: the network it makes, from which start, and how it is trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.accuracy.rows import Row

from cellnet.errors import ConfigError
from cellnet.experiments import Protocol, classifier_config, create_network
from cellnet.experiments.hybrid import FUSED_EPOCHS
from cellnet.experiments.study import MakeModel
from cellnet.labels import LabelSchema
from cellnet.registry import check_name
from cellnet.training import TrainConfig

SHUFFLING = ("without", "with")
"""The study's "shuffling" is one more random split: the split seed after the protocol's."""


@dataclass(frozen=True)
class Setting:
    """What all rows of a command share.

    Args:
        protocol_name: ``study`` or ``honest``.
        protocol: What it says.
        device: ``cuda`` or ``cpu``.
        image_size: Side of the images in pixels; None leaves it to the protocol.
        starts: Folder of the start files.
        hub: Start from the Hub's ImageNet weights, where the study did.
        compile: Compile the networks on a GPU.
        norm_batches: Batches over which the statistics of batch normalisation are measured before a model is judged; 0
            leaves it to the protocol, of which the study's keeps the running ones.
        rehearsal: Go a GPU's way on the processor: images that lie on the device, and are augmented there.
    """

    protocol_name: str
    protocol: Protocol
    device: str
    image_size: int | None = None
    starts: Path | None = None
    hub: bool = False
    compile: bool = False
    norm_batches: int = 0
    rehearsal: bool = False

    @property
    def epochs(self) -> int:
        """The protocol's number of epochs, beside which that of each row is long or short."""
        return int(self.protocol.train["epochs"])

    @property
    def trainer_device(self) -> str | None:
        """What the trainer calls it."""
        return "cpu" if self.device == "cpu" else None

    @property
    def of_all(self) -> dict[str, Any]:
        """Training options of the command and of this kind of device; they go before all others."""
        shared = {"norm_batches": self.norm_batches} if self.norm_batches else {}
        if self.device != "cuda":
            return shared | {"on_device": self.rehearsal}
        return shared | {
            "precision": "auto",
            "channels_last": True,
            "compile": self.compile,
            "on_device": True,
            "workers": min(8, os.cpu_count() or 0),
        }


@dataclass(frozen=True)
class Task:
    """One line of the table, to be trained.

    Args:
        row: The model.
        setting: What it shares with others.
        shuffled: ``without`` or ``with``; empty where the protocol knows no shuffling.
    """

    row: Row
    setting: Setting
    shuffled: str = ""

    @property
    def image_size(self) -> int:
        """Side of its images, pixels."""
        given = self.setting.image_size
        return int(self.setting.protocol.for_model(self.row.model)[1]["image_size"] if given is None else given)

    @property
    def split_seed(self) -> int:
        """Seed of its division of the images."""
        return self.setting.protocol.split_seed + (self.shuffled == "with")

    @property
    def path(self) -> Path:
        """Its place in a folder of tables."""
        parts = (self.setting.protocol_name, self.shuffled, f"{self.image_size}px")
        return Path("-".join(filter(None, parts))) / self.row.name

    def branches(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks that it is made of."""
        near = {task.row.name: task for task in tasks if task.path.parent == self.path.parent}
        return [near[name] for name in self.row.branches]

    def configs(self, epochs: int) -> list[TrainConfig]:
        """How its stages are trained.

        Args:
            epochs: Beside those of the protocol, which rows of another length follow in proportion.
        """
        setting, row = self.setting, self.row
        own = setting.protocol.for_model(row.model)[0].to_dict()
        balance = {"balance": "SMOTE"} if row.smote and setting.protocol_name == "study" else {}
        config = TrainConfig.from_dict({**own, **row.train, **balance, **setting.of_all})
        share = epochs / setting.epochs
        if row.kind == "fused":
            return [_scaled(replace(config, epochs=FUSED_EPOCHS), share)]
        first = replace(config, epochs=round(config.epochs * row.length))
        stages = [first, classifier_config(first)] if row.kind == "contrast" else [first]
        return [_scaled(stage, share) for stage in stages]

    def maker(self, labels: LabelSchema) -> MakeModel:
        """What makes its network; that of a fused row is made of trained ones.

        Raises:
            ConfigError: Its start file is not there.
        """
        options: dict[str, Any] = {**self.setting.protocol.for_model(self.row.model)[1], **self.row.options}
        options["image_size"] = self.image_size
        options["pretrained"] = self._from_hub
        if self.row.start == "file":
            options["weights"] = self._start_file()
        return partial(create_network, self.row.model, labels, **options)

    @property
    def start(self) -> str:
        """Where its weights start from, in words; empty for nothing."""
        if self.row.branches:
            return f"{' and '.join(self.row.branches)}, frozen"
        if self.row.start == "file":
            return self._start_file().name
        return "the Hub's ImageNet weights" if self._from_hub else ""

    @property
    def _from_hub(self) -> bool:
        return self.setting.hub and self.row.start == "hub" and self.row.kind != "fused"

    def _start_file(self) -> Path:
        folder, begin = self.setting.starts, f"{self.row.start_file}*.safetensors"
        if folder is None:
            raise ConfigError(
                f"The row {self.row.name} starts from a file {begin}; give its folder by --starts, or leave the row "
                "out by --rows."
            )
        files = sorted(folder.glob(begin))
        if len(files) != 1:
            found = ", ".join(file.name for file in files) or "none"
            raise ConfigError(
                f"The row {self.row.name} starts from one file {begin} in {folder}, where there is {found}; give "
                "another folder by --starts, or leave the row out by --rows."
            )
        return files[0]


def tasks_of(rows: Sequence[Row], setting: Setting, shuffling: str) -> list[Task]:
    """The lines that rows give under a protocol; a fused one comes after those that it is made of.

    Args:
        rows: The rows.
        setting: What they share.
        shuffling: ``both``, ``without`` or ``with``, where the protocol is the study's.

    Raises:
        UnknownNameError: Another word.
    """
    check_name("shuffling", shuffling, ["both", *SHUFFLING])
    if setting.protocol_name != "study":
        return [Task(row, setting) for row in rows]
    chosen = SHUFFLING if shuffling == "both" else (shuffling,)
    return [Task(row, setting, shuffled) for shuffled in chosen for row in rows]


def _scaled(config: TrainConfig, share: float) -> TrainConfig:
    """The same over a share of the epochs, warm-up included."""
    return replace(config, epochs=max(1, round(config.epochs * share)), warmup_epochs=config.warmup_epochs * share)
