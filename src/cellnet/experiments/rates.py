"""Looking for a learning rate: let it rise and see where the loss stops falling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain, islice, repeat
from os import PathLike
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cellnet.augment import create_augmentation
from cellnet.datasets import CellDataset, create_loader
from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.evaluation.plots import MUTED, RIGHT, RULE, WRONG
from cellnet.files import atomic_path, check_picture
from cellnet.inference import torch_device
from cellnet.models import CellClassifier
from cellnet.training import Objective, TrainConfig
from cellnet.training.objectives import check_objective, create_objective
from cellnet.training.schedules import create_optimizer

SMOOTHING = 0.9
"""Weight of the past in the smoothed loss."""

DIVERGED = 4.0
"""The search ends where the smoothed loss is so many times its lowest."""


@dataclass(frozen=True, eq=False)
class LearningRates:
    """Learning rates and the loss at each; made by `find_learning_rate`.

    Args:
        rates: Rising, one a step.
        losses: The smoothed loss after each step.
        suggestion: A peak rate for `TrainConfig`.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    suggestion: float

    def __str__(self) -> str:
        lowest = int(self.losses.argmin())
        return (
            f"lr={self.suggestion:.1e}, a tenth of {self.rates[lowest]:.1e}, where the loss was lowest "
            f"({self.losses[lowest]:.3f}; {self.losses[0]:.3f} at {self.rates[0]:.1e})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types."""
        return {"suggestion": self.suggestion, "rates": self.rates.tolist(), "losses": self.losses.tolist()}

    def plot(self, path: str | PathLike[str] | None = None) -> Figure:
        """Loss against rate, with the suggestion.

        Args:
            path: Where to save it too; the suffix chooses the format (png, pdf, svg).

        Raises:
            ConfigError: The figure cannot be written to ``path``.
        """
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(self.rates, self.losses, color=RIGHT)
        axes.axvline(self.suggestion, color=WRONG, linestyle="--")
        axes.set_xscale("log")
        axes.set_ylim(top=min(float(self.losses.max()), 2 * float(self.losses[0])))
        axes.set_xlabel(f"learning rate (suggested: {self.suggestion:.1e})", color=MUTED)
        axes.set_ylabel("smoothed training loss", color=MUTED)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=RULE, linewidth=0.6)
        if path is not None:
            check_picture(path)
            with atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=150, facecolor="white")
        return figure


def find_learning_rate(
    model: CellClassifier,
    train: CellDataset,
    config: TrainConfig | None = None,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    device: str | None = None,
) -> LearningRates:
    """Train for some steps while the rate rises exponentially, and suggest a tenth of the rate of the lowest loss.

    The model is left as it was, and so is torch's global generator. Optimizer, batch size, augmentation and loss are
    the config's; its schedule, ``sampling``, ``balance``, ``load_size``, ``start_size``, mixup, cutmix, EMA,
    accumulation, clipping and mixed precision are left out.

    Args:
        model: The model.
        train: Training part.
        config: How it is to be trained.
        lowest: First rate.
        highest: Last rate, unless the loss diverges before.
        steps: Number of steps, each over one batch.
        device: ``"cpu"``, or None for the best device there is.

    Raises:
        DataError: A validation or test part, or fewer than two images.
        LabelError: The labels of the part are not the model's.
        ConfigError: Rates or steps out of range, a loss that falls at no rate or is not finite, or a model that the
            config's loss cannot train.

    Source: Smith 2017, arXiv:1506.01186 (the range test).

    Example:
        >>> from cellnet import create_model, load_dataset
        >>> cells = load_dataset("synthetic", per_class=4, image_size=32)
        >>> found = find_learning_rate(create_model("cnn", cells.labels, image_size=32), cells, steps=20)
        >>> 1e-6 < found.suggestion < 0.1
        True
    """
    config = config or TrainConfig()
    if not 0 < lowest < highest or steps < 10:
        raise ConfigError(
            f"lowest={lowest!r}, highest={highest!r}, steps={steps!r} cannot be used; give rising rates above 0 and "
            "at least 10 steps."
        )
    if train.part not in (None, "train"):
        raise DataError(f"The {train.part!r} part must not choose the learning rate; give the training part.")
    if train.labels.hash != model.labels.hash:
        raise LabelError("The images have other labels than the model; make the model with labels=dataset.labels.")
    if len(train) < 2:
        raise DataError(f"{len(train)} images are too few to look for a learning rate; give the training part.")
    objective = create_objective(config, train)
    check_objective(objective, model, config, teacher=False)

    place = torch_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    home, modes = next(model.parameters()).device, [(module, module.training) for module in model.modules()]
    before = {key: value.detach().clone() for key, value in model.state_dict().items()}
    try:
        with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
            torch.manual_seed(config.seed)
            rising = np.geomspace(lowest, highest, steps)
            rates, losses = _rise(model.to(place).train(), train, objective, config, rising)
    finally:
        model.zero_grad(set_to_none=True)
        model.load_state_dict(before)
        model.to(home)
        for module, training in modes:
            module.training = training
    if not len(losses):
        raise ConfigError("The first loss is not finite, before any step; check the model's weights and the images.")
    best = int(losses.argmin())
    if best == 0:
        raise ConfigError(
            f"The loss falls at no rate from {lowest:g} to {highest:g}; check images and labels, start lower, or give "
            "more steps."
        )
    return LearningRates(rates, losses, float(rates[best]) / 10)


def _rise(
    model: CellClassifier,
    train: CellDataset,
    objective: Objective,
    config: TrainConfig,
    rates: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rates that were tried, and the smoothed loss after each."""
    place = next(model.parameters()).device
    augment = create_augmentation(config.augmentation)
    images = train.with_transform(lambda image: augment(model.preprocess(image)))
    loader = create_loader(images, min(config.batch_size, len(images)), shuffle=True, seed=config.seed, drop_last=True)
    optimizer = create_optimizer(model, config)
    shares = [group["lr"] / config.lr for group in optimizer.param_groups]  # layers may have rates of their own
    smooth, lowest, losses = 0.0, math.inf, []
    for step, (batch, targets) in enumerate(islice(chain.from_iterable(repeat(loader)), len(rates))):
        loss = objective(model, batch.to(place), targets.to(place))
        smooth = SMOOTHING * smooth + (1 - SMOOTHING) * loss.item()
        unbiased = smooth / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(unbiased) or unbiased > DIVERGED * lowest:
            break
        lowest = min(lowest, unbiased)
        losses.append(unbiased)
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = share * float(rates[step])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return rates[: len(losses)], np.array(losses)
