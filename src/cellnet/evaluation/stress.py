"""How a model bears images that get worse: eight perturbations at five strengths each."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from cellnet.augment import adjust_colour, blur, jpeg, perturb_stain, rotate_scale
from cellnet.errors import DataError, ImageError
from cellnet.evaluation import plots
from cellnet.evaluation.clusters import Units, wilson_of_groups
from cellnet.evaluation.intervals import Estimate, bootstrap_mean, wilson
from cellnet.files import atomic_path
from cellnet.images import background_colour
from cellnet.inference.predictor import predict

if TYPE_CHECKING:
    from cellnet.datasets import CellDataset
    from cellnet.models import CellClassifier

STRENGTHS = (1, 2, 3, 4, 5)
MOST_IMAGES = 400
"""Images that are looked at, unless told otherwise: forty times each."""

Change = Callable[[Tensor, int, np.random.Generator], Tensor]
"""uint8 3×H×W, a strength of 1 to 5 and random numbers, to uint8 of the same shape."""


def _sign(draw: np.random.Generator) -> int:
    return 1 if draw.random() < 0.5 else -1


def _stain(image: Tensor, strength: int, draw: np.random.Generator) -> Tensor:
    """More of one dye and less of the other, by 12 % a step."""
    factor = 1.12 ** (strength * _sign(draw))
    return perturb_stain(image, (factor, 1 / factor, 1.0))


def _brightness(image: Tensor, strength: int, draw: np.random.Generator) -> Tensor:
    """Darker by 9 % a step."""
    return adjust_colour(image, brightness=1 - 0.09 * strength)


def _blur(image: Tensor, strength: int, draw: np.random.Generator) -> Tensor:
    """Gaussian blur of 0.2 to 1.6 % of the side."""
    return blur(image, (0.002, 0.004, 0.007, 0.011, 0.016)[strength - 1] * min(image.shape[-2:]))


def _noise(image: Tensor, strength: int, draw: np.random.Generator) -> Tensor:
    """Gaussian noise with a standard deviation of 5 to 50 grey levels."""
    level = (5, 10, 18, 30, 50)[strength - 1]
    noise = draw.normal(0, level, image.shape).astype(np.float32)
    return (image + torch.from_numpy(noise)).round().clamp(0, 255).to(torch.uint8)


def _jpeg(image: Tensor, strength: int, draw: np.random.Generator) -> Tensor:
    """JPEG of quality 50 down to 5."""
    return jpeg(image, (50, 30, 18, 10, 5)[strength - 1])


def _scale(image: Tensor, strength: int, draw: np.random.Generator) -> Tensor:
    """Cells larger or smaller by 15 % a step."""
    return rotate_scale(image, scale=1.15 ** (strength * _sign(draw)))


def _rotation(image: Tensor, strength: int, draw: np.random.Generator) -> Tensor:
    """Turned by 9 degrees a step, one way or the other, on from a right angle."""
    return rotate_scale(image, angle=90 * int(draw.integers(4)) + 9 * strength * _sign(draw))


def _occlusion(image: Tensor, strength: int, draw: np.random.Generator) -> Tensor:
    """A square of background over 2 to 32 % of the image, somewhere about its middle."""
    height, width = image.shape[-2:]
    side = round((0.14, 0.24, 0.35, 0.46, 0.57)[strength - 1] * min(height, width))
    top, left = (
        int(np.clip(length * draw.uniform(0.3, 0.7) - side / 2, 0, length - side)) for length in (height, width)
    )
    covered = image.clone()
    covered[:, top : top + side, left : left + side] = background_colour(image)[:, None, None]
    return covered


PERTURBATIONS: dict[str, Change] = {
    "stain": _stain,
    "brightness": _brightness,
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "scale": _scale,
    "rotation": _rotation,
    "occlusion": _occlusion,
}
"""What is done to the images, by name; the first line of each says how much of it."""


@dataclass(frozen=True)
class StressReport:
    """What is left of a model's accuracy; made by `stress`.

    Args:
        model: Name of the model.
        images: Number of images that were judged.
        clean: Accuracy on the images as they are.
        accuracy: Name of a perturbation -> accuracy at each strength.
        mean: Mean accuracy over all perturbations and strengths.
        confident_errors: Name -> share of the images at each strength that were called wrongly and not abstained from.
    """

    model: str
    images: int
    clean: Estimate
    accuracy: Mapping[str, tuple[Estimate, ...]]
    mean: Estimate
    confident_errors: Mapping[str, tuple[Estimate, ...]]

    def __str__(self) -> str:
        lines = [f"{'':<12}{''.join(f'{s:>9}' for s in STRENGTHS)}   wrong without a warning at 5"]
        for name, row in self.accuracy.items():
            figures = "".join(f"{100 * estimate.value:>8.1f} " for estimate in row)
            lines.append(f"{name:<12}{figures}  {100 * self.confident_errors[name][-1].value:.1f}")
        lines.append(f"clean {self.clean}, mean {self.mean}; {self.images} images, accuracy in per cent")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain JSON types."""
        return {
            "model": self.model,
            "images": self.images,
            "clean": self.clean.to_dict(),
            "mean": self.mean.to_dict(),
            "accuracy": {name: [e.to_dict() for e in row] for name, row in self.accuracy.items()},
            "confident_errors": {name: [e.to_dict() for e in row] for name, row in self.confident_errors.items()},
        }

    def to_csv(self, path: str | PathLike[str]) -> Path:
        """Write one row a perturbation and strength.

        Raises:
            ConfigError: The file cannot be written.
        """
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(
                ["model", "perturbation", "strength", "images", "accuracy", "low", "high", "confident_errors"]
            )
            for name, row in {"none": (self.clean,), **self.accuracy}.items():
                wrong = self.confident_errors.get(name, ())
                for strength, e in enumerate(row, start=int(name != "none")):
                    silent = f"{wrong[strength - 1].value:.4f}" if wrong else ""
                    numbers = [f"{x:.4f}" for x in (e.value, e.low, e.high)]
                    writer.writerow([self.model, name, strength, self.images, *numbers, silent])
        return Path(path)


def stress(
    model: CellClassifier,
    dataset: CellDataset,
    *,
    images: int = MOST_IMAGES,
    name: str = "",
    batch_size: int = 32,
    device: str | torch.device | None = None,
    seed: int = 0,
) -> StressReport:
    """Judge a model on images that are perturbed in eight ways, at five strengths each.

    The perturbations are `PERTURBATIONS`, in the manner of Hendrycks & Dietterich 2019 (arXiv 1903.12261), chosen for
    smears. They are the same for every model, so that models can be compared by them. Strength 5 is more than a
    laboratory should see; how a model behaves there shows whether it knows that it does not know. The intervals take
    the images of one group together, as those of a report do.

    Args:
        model: The model; its temperature and thresholds are applied.
        dataset: Labelled images that it was not trained on.
        images: How many of them, evenly chosen; those that cannot be read are left out.
        name: Of the model, for table and plot; default: that of its card.
        batch_size: Images at a time.
        device: Where to compute; default: where the model is.
        seed: Of the random draws.

    Raises:
        DataError: Training images, or none that can be read.
        CellnetError: As `cellnet.inference.predict`.
    """
    if dataset.part == "train":
        raise DataError("These are training images, which say nothing about new ones; stress the model on others.")
    if images < 1 or not len(dataset):
        raise DataError(f"There is nothing to look at: images={images}, and the data set has {len(dataset)}.")
    every = np.linspace(0, len(dataset) - 1, min(images, len(dataset))).round().astype(int)
    chosen = np.array([i for i in every if _can_be_read(dataset, int(i))], np.int64)
    if not len(chosen):
        raise DataError(f"None of the {len(every)} images could be read; check their files.")
    targets = dataset.targets[chosen]
    units = Units.of(None if dataset.groups is None else dataset.groups[chosen].tolist(), len(chosen))

    def judge(change: Change | None, strength: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        stream = (
            dataset.image(int(i))
            if change is None
            else change(dataset.image(int(i)), strength, np.random.default_rng([seed, strength, int(i)]))
            for i in chosen
        )
        result = predict(model, stream, batch_size=batch_size, device=device)
        right = result.probabilities.argmax(1) == targets
        return right, ~right & ~result.abstain

    def share(flags: np.ndarray[Any, Any]) -> Estimate:
        return (
            wilson_of_groups(units.sums(flags), units.sizes) if units.grouped else wilson(int(flags.sum()), len(flags))
        )

    clean, _ = judge(None, 0)
    accuracy: dict[str, tuple[Estimate, ...]] = {}
    silent: dict[str, tuple[Estimate, ...]] = {}
    rights = []
    for key, change in PERTURBATIONS.items():
        pairs = [judge(change, strength) for strength in STRENGTHS]
        rights += [right for right, _ in pairs]
        accuracy[key], silent[key] = (tuple(map(share, column)) for column in zip(*pairs, strict=True))
    card = model.weights_card
    return StressReport(
        name or (card.name if card else model.backbone.name),
        len(chosen),
        share(clean),
        accuracy,
        bootstrap_mean(units.sums(np.mean(rights, axis=0)), prior=[1.0, 0.0], sizes=units.sizes, tails=units.tails),
        silent,
    )


def _can_be_read(dataset: CellDataset, index: int) -> bool:
    try:
        dataset.image(index)
    except ImageError:
        return False
    return True


def plot_stress(*reports: StressReport) -> Figure:
    """Accuracy against strength, one small plot a perturbation and one line a model, with its interval."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    colours = [plots.RIGHT, plots.WRONG, plots.INK, plots.MUTED]
    for axes, name in zip(figure.subplots(2, 4, sharex=True, sharey=True).flat, PERTURBATIONS, strict=True):
        for report, colour in zip(reports, colours * len(reports), strict=False):
            row = (report.clean, *report.accuracy[name])
            at = [0, *STRENGTHS]
            axes.plot(at, [e.value for e in row], color=colour, marker="o", markersize=3, label=report.model)
            axes.fill_between(at, [e.low for e in row], [e.high for e in row], color=colour, alpha=0.15, linewidth=0)
        plots.clean(axes, "", "")
        axes.set_title(name, fontsize=10, loc="left", color=plots.INK)
        axes.grid(axis="y", color=plots.RULE, linewidth=0.6)
        axes.set_ylim(0, 1.02)
    figure.supxlabel("strength", color=plots.MUTED, fontsize=10)
    figure.supylabel("accuracy", color=plots.MUTED, fontsize=10)
    figure.axes[0].legend(frameon=False, fontsize=8, labelcolor=plots.MUTED, loc="lower left")
    return figure
