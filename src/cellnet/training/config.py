"""How a model is trained: one frozen dataclass that round-trips through TOML."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

from cellnet.augment import PRESETS
from cellnet.errors import ConfigError
from cellnet.registry import check_name

OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine", "linear", "step")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
MONITORS = {"val_loss": -1, "val_accuracy": +1, "val_macro_f1": +1}
"""What can choose the best epoch, with the sign of better."""

INDIFFERENT = frozenset({"workers", "preload", "checkpoint_minutes"})
"""Options that change nothing of a run's result."""


@dataclass(frozen=True)
class TrainConfig:
    """Every choice of a training run that is not the model or the data.

    Args:
        epochs: Number of passes over the training part.
        batch_size: Images a process and batch.
        optimizer: ``adam``, ``adamw``, ``rmsprop`` or ``sgd`` (Nesterov momentum).
        lr: Peak learning rate.
        weight_decay: Weight decay; 1-D parameters (biases, normalisation) are left out.
        momentum: Momentum of ``sgd`` and ``rmsprop``.
        schedule: ``constant``, ``cosine`` or ``linear`` (down to 0), or ``step`` (a tenth after each third).
        warmup_epochs: Epochs, or a part of one, in which the rate rises linearly from 0.
        freeze_epochs: First epochs that train the head alone.
        label_smoothing: Share of the target given to all classes, in [0, 1).
        class_weights: ``None`` or ``"balanced"`` (inverse to the class counts of the training part).
        augmentation: Preset of `cellnet.augment`.
        mixup: Shape of the shares in which two images of a batch are laid over each other, e.g. 0.2; 0 for none.
        cutmix: The same for pasting a rectangle of one image into another, e.g. 1; with both, either by chance.
        precision: ``auto`` is bf16 on a GPU that has it and fp32 elsewhere.
        channels_last: Memory layout that convolutions prefer.
        ema: Decay of the exponential moving average of the weights, e.g. 0.999; None for none.
        gradient_clip: Largest norm of the gradient; None for no limit.
        gradient_accumulation: Batches a step: their mean gradient makes one update of the weights. A step sees
            ``batch_size × processes × gradient_accumulation`` images.
        monitor: ``val_loss``, ``val_accuracy`` or ``val_macro_f1``: chooses the best epoch.
        patience: Stop after so many epochs without a better one; None trains to the end.
        seed: Every random draw of the training follows from it. Initial weights are drawn when the model is made:
            call ``torch.manual_seed`` before `create_model`, as ``cellnet train`` does.
        workers: Processes that load images; 0 loads in the training process.
        preload: Decode and resize every image once and keep it in memory as uint8, in each process.
        checkpoint_minutes: Time between checkpoints within an epoch, which are written beside that at the end of
            each; 0 writes one after every step.

    Raises:
        ConfigError: A value out of its range.
        UnknownNameError: An unknown word, with the nearest right one.

    Example:
        >>> TrainConfig(optimizer="adm")
        Traceback (most recent call last):
        cellnet.errors.UnknownNameError: Unknown optimizer 'adm'. Did you mean 'adam' or 'adamw'? Known: adam, ...
    """

    epochs: int = 30
    batch_size: int = 32
    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    freeze_epochs: int = 0
    label_smoothing: float = 0.0
    class_weights: str | None = None
    augmentation: str = "light"
    mixup: float = 0.0
    cutmix: float = 0.0
    precision: str = "auto"
    channels_last: bool = True
    ema: float | None = None
    gradient_clip: float | None = None
    gradient_accumulation: int = 1
    monitor: str = "val_macro_f1"
    patience: int | None = None
    seed: int = 0
    workers: int = 0
    preload: bool = True
    checkpoint_minutes: float = 10.0

    def __post_init__(self) -> None:
        check_name("optimizer", self.optimizer, OPTIMIZERS)
        check_name("schedule", self.schedule, SCHEDULES)
        check_name("precision", self.precision, PRECISIONS)
        check_name("monitor", self.monitor, MONITORS)
        check_name("augmentation", self.augmentation, PRESETS)
        if self.class_weights is not None:
            check_name("class_weights", self.class_weights, ["balanced"])
        limits: dict[str, tuple[float, float]] = {
            "epochs": (1, 1e6),
            "batch_size": (1, 1e6),
            "lr": (1e-12, 1e3),
            "weight_decay": (0, 1e3),
            "momentum": (0, 0.9999),
            "warmup_epochs": (0, 1e6),
            "freeze_epochs": (0, 1e6),
            "label_smoothing": (0, 0.9999),
            "mixup": (0, 100),
            "cutmix": (0, 100),
            "ema": (0, 0.999999),
            "gradient_clip": (1e-12, 1e12),
            "gradient_accumulation": (1, 1e6),
            "patience": (1, 1e6),
            "seed": (0, 2**63 - 1),
            "workers": (0, 1024),
            "checkpoint_minutes": (0, 1e6),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is None and name in ("ema", "gradient_clip", "patience"):
                continue
            wanted = "a whole number" if isinstance(getattr(type(self), name), int) else "a number"
            kinds = (int,) if wanted == "a whole number" or name == "patience" else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                raise ConfigError(f"{name}={value!r} is out of range; give {wanted} from {low:g} to {high:g}.")

    def to_dict(self) -> dict[str, Any]:
        """The values by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """A config from values by name.

        Raises:
            UnknownNameError: A key that is not an option, with the nearest right one.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            check_name("training option", key, known)
        return cls(**values)

    def to_toml(self) -> str:
        """The values as TOML; options that are None are left out."""
        # JSON writes strings, numbers, true and false exactly as TOML reads them.
        lines = (f"{k} = {json.dumps(v)}" for k, v in self.to_dict().items() if v is not None)
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, path: str | PathLike[str]) -> TrainConfig:
        """Read what `to_toml` writes; options left out keep their defaults.

        Raises:
            ConfigError: The file is missing or not TOML.
            UnknownNameError: An unknown key.
        """
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"Cannot read the config {path}: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not TOML: {error}.") from error
        return cls.from_dict(values)

    def difference(self, other: TrainConfig) -> dict[str, tuple[Any, Any]]:
        """Options in which two configs differ, but for speed: name -> (this one's value, the other's)."""
        mine, theirs = self.to_dict(), other.to_dict()
        return {k: (mine[k], theirs[k]) for k in mine if mine[k] != theirs[k] and k not in INDIFFERENT}
