"""What a run keeps on disk, and whether a new run may use a folder.

A run folder holds ``config.toml``, ``run.json`` (what must not change on resume), ``history.csv``,
``checkpoint.safetensors`` (everything needed to continue), ``best.safetensors`` and ``last.safetensors``
(weights in the model's own keys).
"""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from cellnet.errors import ConfigError
from cellnet.files import write_text
from cellnet.training.checkpoint import load_state
from cellnet.training.config import TrainConfig


class RunFolder:
    """The files of one run.

    Args:
        path: The folder; made when first written to.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint.safetensors"
        self.history = self.path / "history.csv"
        self.best = self.path / "best.safetensors"
        self.last = self.path / "last.safetensors"
        self._config = self.path / "config.toml"
        self._identity = self.path / "run.json"

    def claim(self, config: TrainConfig, identity: dict[str, Any], resume: bool) -> dict[str, Any] | None:
        """Take the folder for this run.

        Args:
            config: The run's options.
            identity: Model and data of the run: what must be the same to continue it.
            resume: Continue the run that the folder holds; start one where it holds none.

        Returns:
            The state to continue from, or None to start from the beginning.

        Raises:
            ConfigError: The folder holds another run; the message says which values differ.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path} is a file; name a folder for the run's files.")
        if not self._identity.exists():
            if self.path.exists() and any(self.path.iterdir()):
                raise ConfigError(f"{self.path} is not empty and holds no run; choose another folder for this one.")
            write_text(self._config, config.to_toml())
            write_text(self._identity, json.dumps(identity, indent=2) + "\n")
            return None
        if not resume:
            raise ConfigError(
                f"{self.path} already holds a run; continue it with resume (--resume), or choose another folder."
            )
        before = json.loads(self._identity.read_text(encoding="utf-8"))
        changes = {k: (before.get(k), identity[k]) for k in identity if before.get(k) != identity[k]}
        changes |= TrainConfig.from_toml(self._config).difference(config)
        if changes:
            words = "; ".join(f"{name} was {old!r}, is {new!r}" for name, (old, new) in changes.items())
            raise ConfigError(
                f"The run in {self.path} cannot be continued: {words}. Use the same values, or another folder."
            )
        return load_state(self.checkpoint) if self.checkpoint.exists() else None
