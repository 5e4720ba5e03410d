"""What a data set looks like: a table, a contact sheet, and a progress bar while it is read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cellnet.errors import DataError
from cellnet.files import atomic_path, check_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cellnet.datasets.base import CellDataset

T = TypeVar("T")


def title(dataset: CellDataset) -> str:
    """Name, part and size in a few words."""
    name = dataset.card.title if dataset.card else type(dataset).__name__
    part = f", {dataset.part}" if dataset.part else ""
    return f"{name}{part}: {len(dataset):,} images, {len(dataset.labels)} classes"


def summary(dataset: CellDataset) -> str:
    """A table of the classes with their number and share of images."""
    width = max(len("class"), *(len(name) for name in dataset.labels.names))
    lines = [title(dataset), f"label  {'class':<{width}}  images   share"]
    for label, (name, count) in enumerate(dataset.class_counts().items()):
        share = 100 * count / max(1, len(dataset))
        lines.append(f"{label:>5}  {name:<{width}}  {count:>6}  {share:>4.1f} %")
    if dataset.groups is not None:
        known = [group for group in dataset.groups.tolist() if group is not None]
        lines.append(f"{len(set(known))} groups hold {len(known):,} of the images")
    return "\n".join(lines)


def plot(dataset: CellDataset, path: str | os.PathLike[str] | None = None, per_class: int = 5) -> Figure:
    """A contact sheet with one row a class, see `CellDataset.plot`."""
    from matplotlib.figure import Figure  # no pyplot: it keeps every figure, and may open a window

    rows = [(name, np.flatnonzero(dataset.targets == label)) for label, name in enumerate(dataset.labels.names)]
    rows = [(name, members) for name, members in rows if len(members)]
    if not rows or per_class < 1:
        raise DataError(f"Nothing to show: {len(dataset)} images, per_class={per_class}; both must be above 0.")
    figure = Figure(figsize=(1.5 * per_class + 1.2, 1.5 * len(rows) + 0.4), layout="constrained")
    figure.suptitle(title(dataset))
    axes = figure.subplots(len(rows), per_class, squeeze=False)
    for (name, members), line in zip(rows, axes, strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for axis in line:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        count = min(per_class, len(members))
        for axis, place in zip(line, np.linspace(0, len(members) - 1, count).round().astype(int), strict=False):
            axis.imshow(dataset.image(members[place]).permute(1, 2, 0).numpy())
    if path is not None:
        check_picture(path)
        with atomic_path(path) as temporary:
            figure.savefig(temporary)
    return figure


def track(items: Iterable[T], total: int, description: str) -> Iterable[T]:
    """The items, with a progress bar on standard error while they are taken."""
    from rich.console import Console
    from rich.progress import track as rich_track

    return rich_track(items, description, total, console=Console(stderr=True))
