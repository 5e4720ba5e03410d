"""How a model is trained: one frozen dataclass that round-trips through TOML."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any

from cellnet.augment import PRESETS, create_augmentation
from cellnet.errors import ConfigError
from cellnet.files import read_toml
from cellnet.registry import check_name

OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine", "linear", "step")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
CLASS_WEIGHTS = ("balanced", "effective")
SAMPLINGS = ("shuffled", "class_balanced", "m_per_class")
MONITORS = {"val_loss": -1, "val_accuracy": +1, "val_macro_f1": +1}
"""What can choose the best epoch, with the sign of better."""

INDIFFERENT = frozenset({"workers", "preload", "checkpoint_minutes"})
"""Options that change nothing of a run's result."""


_PRESETS = Path(__file__).with_name("presets")


def list_presets() -> list[str]:
    """Names of the recipes that come with cellnet, for `TrainConfig.preset`.

    Example:
        >>> list_presets()
        ['best', 'fast']
    """
    return sorted(file.stem for file in _PRESETS.glob("*.toml"))


@dataclass(frozen=True)
class TrainConfig:
    """Every choice of a training run that is not the model or the data.

    Args:
        epochs: Number of passes over the training part.
        batch_size: Images a process and batch.
        optimizer: ``adam``, ``adamw``, ``rmsprop`` or ``sgd`` (Nesterov momentum).
        lr: Peak learning rate.
        layer_decay: Rate of a layer as a share of that of the layer above it, in (0, 1]: 0.8 lets the first layers of
            pretrained weights change little, 1 treats all alike.
        weight_decay: Weight decay; 1-D parameters (biases, normalisation) are left out.
        momentum: Momentum of ``sgd`` and ``rmsprop``.
        schedule: ``constant``, ``cosine`` or ``linear`` (down to 0), or ``step`` (a tenth after each third).
        warmup_epochs: Epochs, or a part of one, in which the rate rises linearly from 0.
        freeze_epochs: First epochs that train the head alone.
        label_smoothing: Share of the target given to all classes, in [0, 1).
        class_weights: None; ``balanced`` (inverse to the class counts of the training part) or ``effective`` (to its
            effective numbers of images, see `cellnet.balancing.effective_number_weights`).
        focal_gamma: γ of the focal loss, e.g. 2: images that are right already count less; 0 is cross-entropy.
        balance: Sampler that balances the training part, by name and with its own defaults: ``SMOTE``,
            ``EmbeddingSMOTE`` (in the features of the network as its training begins), or one of imbalanced-learn,
            e.g. ``RandomOverSampler``; see `cellnet.balancing.create_sampler`. None for none.
        sampling: What an epoch has: ``shuffled``, each image once; ``class_balanced``, equally many images of each
            class; or ``m_per_class``, the same in each batch, for losses that compare images.
        images_per_class: Images of a class in a batch of ``m_per_class``.
        augmentation: Preset of `cellnet.augment`.
        mixup: Shape of the shares in which two images of a batch are laid over each other, e.g. 0.2; 0 for none.
        cutmix: The same for pasting a rectangle of one image into another, e.g. 1; with both, either by chance.
        load_size: Side in pixels at which training images are kept and augmented, before they are brought to the
            model's own; at least that. Larger ones stay sharp when an augmentation zooms in, and cost time. None takes
            the model's.
        start_size: Side in pixels of the images in the first epoch; it grows over two thirds of the epochs to the
            model's own (progressive size, Tan & Le 2021, arXiv 2104.00298), on which it is always judged. None
            trains on the model's size all the time.
        mask_weight: Weight of finding the nucleus beside the classes, for a `SegmentingClassifier`; the masks to learn
            follow from the stain, see `cellnet.images.nucleus_masks`.
        distill_weight: Share of a teacher's soft labels in the targets, where the trainer is given a teacher.
        distill_temperature: What the teacher's logits are divided by: above 1, its labels are softer.
        precision: ``auto`` is bf16 on a GPU that has it and fp32 elsewhere.
        channels_last: Memory layout that convolutions prefer.
        compile: Compile the network with ``torch.compile``: some minutes at the start, then faster steps.
        ema: Decay of the exponential moving average of the weights, e.g. 0.999; None for none.
        norm_batches: Batches, of images as they are, over which the statistics of batch normalisation are measured
            anew before the model is judged; 0 keeps the running ones, which lag behind the weights.
        gradient_clip: Largest norm of the gradient; None for no limit.
        gradient_accumulation: Batches a step: their mean gradient makes one update of the weights. A step sees
            ``batch_size × processes × gradient_accumulation`` images.
        fit_batch: Where memory does not suffice for a batch, halve it and double the accumulation, until it does.
        monitor: ``val_loss``, ``val_accuracy`` or ``val_macro_f1``: chooses the best epoch.
        patience: Stop after so many epochs without a better one; None trains to the end.
        seed: Every random draw of the training follows from it. Initial weights are drawn when the model is made:
            call ``torch.manual_seed`` before `create_model`, as ``cellnet train`` does.
        workers: Processes that load images; 0 loads in the training process.
        preload: Decode and resize every image once and keep it in memory as uint8, in each process.
        on_device: Hold the images on the device that computes, as bytes, and augment whole batches there: for a GPU,
            which otherwise waits for them. The presets ``none``, ``light`` and ``strong`` can; draws follow from the
            seed, and are others than one by one. ``workers`` then read the images, once.
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
    layer_decay: float = 1.0
    weight_decay: float = 1e-4
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    freeze_epochs: int = 0
    label_smoothing: float = 0.0
    class_weights: str | None = None
    focal_gamma: float = 0.0
    balance: str | None = None
    sampling: str = "shuffled"
    images_per_class: int = 4
    augmentation: str = "light"
    mixup: float = 0.0
    cutmix: float = 0.0
    load_size: int | None = None
    start_size: int | None = None
    mask_weight: float = 0.0
    distill_weight: float = 0.5
    distill_temperature: float = 1.0
    precision: str = "auto"
    channels_last: bool = True
    compile: bool = False
    ema: float | None = None
    norm_batches: int = 0
    gradient_clip: float | None = None
    gradient_accumulation: int = 1
    fit_batch: bool = False
    monitor: str = "val_macro_f1"
    patience: int | None = None
    seed: int = 0
    workers: int = 0
    preload: bool = True
    on_device: bool = False
    checkpoint_minutes: float = 10.0

    def __post_init__(self) -> None:
        check_name("optimizer", self.optimizer, OPTIMIZERS)
        check_name("schedule", self.schedule, SCHEDULES)
        check_name("precision", self.precision, PRECISIONS)
        check_name("monitor", self.monitor, MONITORS)
        check_name("augmentation", self.augmentation, PRESETS)
        check_name("sampling", self.sampling, SAMPLINGS)
        if self.class_weights is not None:
            check_name("class_weights", self.class_weights, CLASS_WEIGHTS)
        if self.balance is not None:
            from cellnet.balancing import list_samplers  # takes a second

            check_name("sampler", self.balance, list_samplers())
        for name in ("channels_last", "compile", "fit_batch", "preload", "on_device"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name}={getattr(self, name)!r} must be true or false.")
        if self.on_device and (names := create_augmentation(self.augmentation).one_by_one):
            raise ConfigError(
                f"on_device=True augments whole batches, and augmentation={self.augmentation!r} changes some things "
                f"one image at a time ({', '.join(names)}); give augmentation='strong', or leave out on_device."
            )
        limits: dict[str, tuple[float, float]] = {
            "epochs": (1, 1e6),
            "batch_size": (1, 1e6),
            "lr": (1e-12, 1e3),
            "layer_decay": (0.01, 1),
            "weight_decay": (0, 1e3),
            "momentum": (0, 0.9999),
            "warmup_epochs": (0, 1e6),
            "freeze_epochs": (0, 1e6),
            "label_smoothing": (0, 0.9999),
            "focal_gamma": (0, 100),
            "images_per_class": (2, 1e6),
            "mixup": (0, 100),
            "cutmix": (0, 100),
            "load_size": (8, 1e5),
            "start_size": (8, 1e5),
            "mask_weight": (0, 1e3),
            "distill_weight": (0, 1),
            "distill_temperature": (0.01, 100),
            "ema": (0, 0.999999),
            "norm_batches": (0, 1e6),
            "gradient_clip": (1e-12, 1e12),
            "gradient_accumulation": (1, 1e6),
            "patience": (1, 1e6),
            "seed": (0, 2**63 - 1),
            "workers": (0, 1024),
            "checkpoint_minutes": (0, 1e6),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            default = getattr(type(self), name)
            if value is None and default is None:
                continue
            whole = isinstance(default, int) or name in ("patience", "load_size", "start_size")
            wanted, kind = ("a whole number", Integral) if whole else ("a number", Real)
            number: float = math.nan
            if isinstance(value, kind) and not isinstance(value, bool):  # NumPy's too, as numbers that TOML knows
                number = int(value) if isinstance(value, Integral) else float(value)
            if not low <= number <= high:
                raise ConfigError(f"{name}={value!r} is out of range; give {wanted} from {low:g} to {high:g}.")
            object.__setattr__(self, name, number)

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

    @classmethod
    def preset(cls, name: str) -> TrainConfig:
        """One of cellnet's own recipes, a TOML file in ``presets`` beside this one; ``best.toml`` has the reasons.

        Args:
            name: A name of `list_presets`.

        Raises:
            UnknownNameError: No such preset.

        Example:
            >>> TrainConfig.preset("best").ema
            0.998
        """
        check_name("preset", name, list_presets())
        return cls.from_toml(_PRESETS / f"{name}.toml")

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
        return cls.from_dict(read_toml(path))

    def difference(self, other: TrainConfig) -> dict[str, tuple[Any, Any]]:
        """Options in which two configs differ, but for speed: name -> (this one's value, the other's)."""
        mine, theirs = self.to_dict(), other.to_dict()
        return {k: (mine[k], theirs[k]) for k in mine if mine[k] != theirs[k] and k not in INDIFFERENT}
