"""A protocol: all that the figures of a study rest on, in one TOML file that a reader can follow."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from cellnet.errors import ConfigError
from cellnet.files import read_toml
from cellnet.models.factory import check_model_name
from cellnet.registry import check_name
from cellnet.training import TrainConfig

MODEL_OPTIONS = ("image_size", "crop", "pretrained", "head", "dropout", "mean", "std")
"""Options of `create_model` that a protocol can give."""


@dataclass(frozen=True)
class Protocol:
    """How images are divided, and how models are made and trained.

    Args:
        split: Shares of train, validation and test.
        split_seed: Seed of the division.
        model: Options of `create_model`, those of `MODEL_OPTIONS`.
        train: Training options, fields of `TrainConfig`.
        models: What is different for one model: name -> tables ``model`` and ``train``.

    Raises:
        UnknownNameError: A key that is none, with the nearest right one.
        ConfigError: A value out of range, or a table that is none.

    Example:
        >>> study = load_protocol("study")
        >>> config, options = study.for_model("hybrid")
        >>> config.lr, options["image_size"], study.split
        (0.0001, 224, (0.56, 0.14, 0.3))
    """

    split: tuple[float, ...] = (0.7, 0.1, 0.2)
    split_seed: int = 0
    model: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.split, list | tuple):
            raise ConfigError(f"split={self.split!r} of the protocol is not a list of shares, such as [0.7, 0.1, 0.2].")
        object.__setattr__(self, "split", tuple(self.split))
        _check_tables({"model": self.model, "train": self.train, "models": self.models})
        _check_tables(self.models)
        for tables in ({"model": self.model, "train": self.train}, *self.models.values()):
            _check_tables(tables)
            for name in tables:
                check_name("table of a protocol", name, ["model", "train"])
            for option in tables.get("model", {}):
                check_name("model option of a protocol", option, MODEL_OPTIONS)
        for name in self.models:
            check_model_name(name)
        for name in ("", *self.models):
            self.for_model(name)  # a wrong training option is found here, not after hours

    def trains_apart(self, name: str, option: str) -> bool:
        """Whether the protocol gives this training option to this model by itself."""
        return option in self.models.get(name, {}).get("train", {})

    def for_model(self, name: str) -> tuple[TrainConfig, dict[str, Any]]:
        """The training config of a model, and the options of `create_network` for it.

        Args:
            name: Name of the model; one that the protocol does not know by itself has the general options.
        """
        own = self.models.get(name, {})
        options = {**self.model, **own.get("model", {})}
        if name == "hybrid":
            options.pop("head", None)  # it has a head of its own
        for statistic in ("mean", "std"):
            if isinstance(options.get(statistic), list):
                options[statistic] = tuple(options[statistic])
        return TrainConfig.from_dict({**self.train, **own.get("train", {})}), options


def _check_tables(tables: Mapping[str, Any]) -> None:
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise ConfigError(f"{name}={table!r} of the protocol is no table; write [{name}] above its values.")


def list_protocols() -> list[str]:
    """The protocols that come with cellnet.

    Example:
        >>> list_protocols()
        ['honest', 'study']
    """
    folder = files("cellnet.experiments") / "protocols"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def load_protocol(name: str | PathLike[str]) -> Protocol:
    """A protocol that comes with cellnet, or one of your own.

    Args:
        name: A name of `list_protocols`, or a TOML file, whose name ends in ``.toml``.

    Raises:
        UnknownNameError: No such protocol, or a key in the file that is none.
        ConfigError: The file is missing, not TOML, or has a value that cannot be used.
    """
    path = Path(name)
    if path.suffix == ".toml":
        values = read_toml(path)
        _check_keys(values, path, Protocol.__dataclass_fields__)
        return Protocol(**values)
    check_name("protocol", str(name), list_protocols())
    source = files("cellnet.experiments") / "protocols" / f"{name}.toml"
    return Protocol(**tomllib.loads(source.read_text(encoding="utf-8")))


def load_run_file(file: str | PathLike[str]) -> tuple[Protocol, dict[str, Any]]:
    """All that makes a training again, as it stands beside shipped weights: a protocol and words of the command line.

    Args:
        file: A TOML file: that of a protocol, and beside its keys a table ``[options]`` with options of the command by
            their long names, e.g. ``model = "hybrid"``, ``image-size = 128``; or training options alone, such as a
            run's ``config.toml``.

    Returns:
        The protocol, and the options; none where the file has no such table.

    Raises:
        UnknownNameError: A key that is none, with the nearest right one.
        ConfigError: The file is missing, not TOML, or has a value that cannot be used.
    """
    values = read_toml(file)
    known = [*Protocol.__dataclass_fields__, "options"]
    if not any(isinstance(value, dict) for value in values.values()) and not values.keys() & {*known}:
        return Protocol(train=TrainConfig.from_toml(file).to_dict()), {}
    _check_keys(values, file, known)
    options = values.pop("options", {})
    _check_tables({"options": options})
    return Protocol(**values), dict(options)


def _check_keys(values: Iterable[str], file: str | PathLike[str], known: Iterable[str]) -> None:
    for key in values:
        check_name(f"key of the protocol {file}", key, known)
