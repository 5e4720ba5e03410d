"""What a run keeps on disk, and whether a run may use a folder.

A run folder holds

- ``config.toml``: the options; ``run.json``: what must be the same on resume (``identity``), and for each time the
  run was started or continued its versions, hardware and data (``sessions``),
- ``history.csv``: one row an epoch,
- ``checkpoint.safetensors``: everything needed to continue, but for the best weights,
- ``best.safetensors``, and at the end ``last.safetensors``: weights in the model's own keys,
- ``checkpoint-previous.safetensors`` and ``best-previous.safetensors``: the same from one save before.

A process may be killed at any moment: a save first writes the best weights, where they are new, then the checkpoint
that names them by their SHA-256, and what either replaces is kept until the next one.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from os import PathLike
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from cellnet.errors import ConfigError, WeightsError
from cellnet.files import write_text
from cellnet.tensors import read_tensors, write_tensors
from cellnet.training.callbacks import Row, write_history
from cellnet.training.checkpoint import load_state, save_state
from cellnet.training.config import TrainConfig

LOCK_SECONDS = 10.0
"""How long to wait for a folder in use: processes that load images outlive a killed run for some seconds."""


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
        self._run = self.path / "run.json"
        self._lock = FileLock(self.path / ".run.lock")
        self._best_hash: str | None = None

    def claim(
        self, config: TrainConfig, identity: dict[str, Any], session: dict[str, Any], resume: bool
    ) -> dict[str, Any] | None:
        """Take the folder for this run, until `release`.

        Args:
            config: The run's options.
            identity: Model and data of the run: what must be the same to continue it.
            session: What a reader should know of this start of the run.
            resume: Continue the run that the folder holds; start one where it holds none.

        Returns:
            The state to continue from, or None to start from the beginning.

        Raises:
            ConfigError: The folder holds another run (the message says which values differ), or something else,
                or another process trains in it now.
            WeightsError: There are checkpoints, but none is whole.
        """
        self._refuse_foreign_files()
        self._acquire()
        if not self._run.exists():
            write_text(self._config, config.to_toml())
            self._write_run(identity, [session])
            return None
        if not resume:
            raise ConfigError(
                f"{self.path} already holds a run; continue it with resume (--resume), or choose another folder."
            )
        run = self._read_run()
        before = run["identity"]
        # An earlier version of cellnet may have noted less.
        changes = {k: (before[k], identity[k]) for k in identity if before.get(k, identity[k]) != identity[k]}
        changes |= TrainConfig.from_toml(self._config).difference(config)
        if changes:
            words = "; ".join(f"{name} was {old!r}, is {new!r}" for name, (old, new) in changes.items())
            raise ConfigError(
                f"The run in {self.path} cannot be continued: {words}. Use the same values, or another folder."
            )
        state = self._load()
        self._write_run(identity, [*run["sessions"], session])
        return state

    def config(self) -> TrainConfig | None:
        """The options of the run that the folder holds, or None.

        Raises:
            CellnetError: They cannot be read.
        """
        return TrainConfig.from_toml(self._config) if self._run.exists() else None

    def release(self) -> None:
        """Let other processes have the folder."""
        self._lock.release()

    def save(self, state: dict[str, Any], best: dict[str, Tensor] | None) -> None:
        """Write a checkpoint; the one before stays as well, and is the one to continue from if this one fails.

        Args:
            state: A tree for `save_state`.
            best: The best weights, where they are not those of the checkpoint before.

        Raises:
            ConfigError: The folder cannot be written, or the disk is full.
        """
        if best is not None:
            new = _beside(self.best, "new")
            self._best_hash = write_tensors(new, best)
            _rotate(new, self.best)
        new = _beside(self.checkpoint, "new")
        save_state(new, state | {"best_hash": self._best_hash})
        _rotate(new, self.checkpoint)

    def finish(self, last: dict[str, Tensor], history: list[Row]) -> None:
        """Write what a finished run has beside its best weights.

        Raises:
            ConfigError: The folder cannot be written, or the disk is full.
        """
        write_tensors(self.last, last)
        write_history(self.history, history)

    def _refuse_foreign_files(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path} is a file; name a folder for the run's files.")
        if self.path.exists() and not self._run.exists():
            names = {path.name for path in self.path.iterdir() if not path.name.startswith(".")}
            if names - {self._config.name}:  # which a run that was killed as it began may have left
                raise ConfigError(f"{self.path} is not empty and holds no run; choose another folder for this one.")

    def _acquire(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=LOCK_SECONDS)
        except Timeout as error:
            raise ConfigError(
                f"Another process is training in {self.path}; wait for its end, or choose another folder."
            ) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"Cannot write into {self.path}: {reason}; choose another folder.") from error

    def _read_run(self) -> dict[str, Any]:
        try:
            run = json.loads(self._run.read_text(encoding="utf-8"))
            return {"identity": dict(run["identity"]), "sessions": list(run["sessions"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self._run} is damaged, or of an earlier version of cellnet; train anew in another folder."
            ) from error

    def _write_run(self, identity: dict[str, Any], sessions: list[dict[str, Any]]) -> None:
        write_text(self._run, json.dumps({"identity": identity, "sessions": sessions}, indent=2) + "\n")

    def _load(self) -> dict[str, Any] | None:
        """The newest state that is whole, with its best weights; None where nothing was saved yet."""
        problems = []
        for path in (self.checkpoint, _beside(self.checkpoint, "previous")):
            if not path.exists():
                continue
            try:
                state = load_state(path)
                best = self._load_best(state["best_hash"])
            except WeightsError as error:
                problems.append(str(error))
                continue
            if problems:
                warnings.warn(f"{problems[0]} The run continues from the checkpoint before.", stacklevel=2)
            path.replace(self.checkpoint)
            self._best_hash = state["best_hash"]
            return state | {"best_weights": best}
        if problems:
            raise WeightsError(
                f"No checkpoint in {self.path} can be used: {' '.join(problems)} Train anew in another folder."
            )
        return None

    def _load_best(self, sha256: str | None) -> dict[str, Tensor]:
        if sha256 is None:  # of the first epoch, which has no best one before it
            return {}
        for path in (self.best, _beside(self.best, "previous")):
            with contextlib.suppress(WeightsError):
                weights = read_tensors(path, sha256)
                path.replace(self.best)
                return weights
        raise WeightsError(f"{self.best} is missing or damaged: it has not the SHA-256 that the checkpoint states.")


def _beside(path: Path, word: str) -> Path:
    return path.with_stem(f"{path.stem}-{word}")


def _rotate(new: Path, path: Path) -> None:
    """Put a file in its place, and keep the one that it replaces."""
    if path.exists():
        path.replace(_beside(path, "previous"))
    new.replace(path)
