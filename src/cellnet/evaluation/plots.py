"""The plots of a report, each a function that returns a matplotlib figure; no global state is touched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from cellnet.evaluation.calibration import ReliabilityBin
from cellnet.evaluation.intervals import Estimate, wilson
from cellnet.evaluation.selective import RiskPoint
from cellnet.evaluation.text import shorten
from cellnet.files import atomic_path

if TYPE_CHECKING:
    from cellnet.evaluation.figures import ClassFigures

# Blue for right and orange for wrong stay apart for every kind of colour vision (Okabe & Ito).
INK, MUTED, RULE, RIGHT, WRONG = "#1d2126", "#6b727a", "#dedbd5", "#2a5d9f", "#c4561a"

_RIGHT_SHADES = LinearSegmentedColormap.from_list("right", ["#ffffff", RIGHT])
_WRONG_SHADES = LinearSegmentedColormap.from_list("wrong", ["#ffffff", WRONG])


def clean(axes: Axes, x_label: str, y_label: str) -> None:
    """The look of all plots: quiet axes, named."""
    axes.set_xlabel(x_label, color=MUTED)
    axes.set_ylabel(y_label, color=MUTED)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(colors=MUTED, labelcolor=MUTED, color=RULE)
    axes.set_axisbelow(True)


def axis_start(lows: Sequence[float]) -> float:
    """Where an axis of shares that ends at 1 begins: a round number below all intervals.

    Example:
        >>> axis_start([0.973, 0.96]), axis_start([0.41])
        (0.95, 0.4)
    """
    lowest = min((low for low in lows if not math.isnan(low)), default=0.0)
    step = 0.05 if lowest >= 0.8 else 0.2
    # The rest of 1e-9 keeps 0.95, which no float is exactly, from falling to 0.90.
    return round(math.floor(lowest / step + 1e-9) * step, 2)


def shades(confusion: ArrayLike) -> NDArray[np.float64]:
    """Depth of colour, 0 to 1, of each cell of a confusion matrix.

    It is the share of the row; for mistakes its cube root, so that 1 in 1,000 still shows.
    """
    counts = np.asarray(confusion, np.float64)
    share: NDArray[np.float64] = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return np.where(np.eye(len(counts), dtype=bool), share, np.cbrt(share))


def confusion_matrix(confusion: ArrayLike, names: Sequence[str]) -> Figure:
    """Counts by true class (row) and predicted class (column); right calls are blue, wrong ones orange.

    Args:
        confusion: C×C counts.
        names: C class names.
    """
    counts = np.asarray(confusion, np.int64)
    depth = shades(counts)
    right = np.eye(len(counts), dtype=bool)[..., None]
    size = 2.4 + 0.62 * len(names)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(np.where(right, _RIGHT_SHADES(depth), _WRONG_SHADES(depth)))
    for (i, j), count in np.ndenumerate(counts):
        if count:
            colour = "white" if depth[i, j] > 0.6 else INK
            axes.text(j, i, f"{count:,}", ha="center", va="center", color=colour, fontsize=9)
    labels = [shorten(name) for name in names]
    axes.set_yticks(range(len(names)), labels, parse_math=False)
    axes.set_xticks(range(len(names)), labels, parse_math=False)
    axes.tick_params(axis="x", labelrotation=90)
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color=RULE, linewidth=0.6)
    clean(axes, "predicted class", "true class")
    axes.tick_params(which="both", length=0, labelcolor=INK)
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def per_class_intervals(per_class: Mapping[str, ClassFigures]) -> Figure:
    """Precision, recall and F1 of each class with their 95 % intervals, as a forest plot.

    Args:
        per_class: As `Report.per_class`; a figure that is NaN is left out.
    """
    names = list(per_class)
    figure = Figure(figsize=(9.5, 1.1 + 0.36 * len(names)), layout="constrained")
    columns = [
        ("precision", [per_class[name]["precision"] for name in names]),
        ("recall", [per_class[name]["recall"] for name in names]),
        ("F1", [per_class[name]["f1"] for name in names]),
    ]
    start = axis_start([estimate.low for _, column in columns for estimate in column])
    panels = figure.subplots(1, 3, sharey=True, gridspec_kw={"wspace": 0.08})
    for axes, (title, column) in zip(panels, columns, strict=True):
        for row, estimate in enumerate(column):
            axes.plot([estimate.low, estimate.high], [row, row], color=RIGHT, linewidth=2, alpha=0.55)
            axes.plot(estimate.value, row, "o", color=RIGHT, markersize=5)
        clean(axes, "", "")
        axes.set_title(title, color=INK, fontsize=10, loc="left")
        axes.set_xlim(start, 1.0 + (1 - start) * 0.02)
        ticks = np.linspace(start, 1, 3)
        axes.set_xticks(ticks, [f"{100 * tick:g}%" for tick in ticks])
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
    labels = [f"{shorten(name)}  ({per_class[name]['n']:,})" for name in names]
    panels[0].set_yticks(range(len(names)), labels, parse_math=False)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def differences(pairs: Mapping[str, Mapping[str, Estimate]], titles: Mapping[str, str]) -> Figure:
    """By how much the figures of two models differ, with 95 % intervals, beside no difference.

    Args:
        pairs: Differences of shares by figure, a row a pair.
        titles: Figures to show, and what to write above them.
    """
    figure = Figure(figsize=(9.5, 1.3 + 0.4 * len(pairs)), layout="constrained")
    panels = figure.subplots(1, len(titles), sharex=True, sharey=True, gridspec_kw={"wspace": 0.08})
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        axes.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for row, figures in enumerate(pairs.values()):
            value, low, high = (100 * end for end in figures[name].to_dict().values())
            axes.plot([low, high], [row, row], color=RIGHT, linewidth=2, alpha=0.55)
            axes.plot(value, row, "o", color=RIGHT, markersize=5)
        clean(axes, "points", "")
        axes.set_title(title, color=INK, fontsize=10, loc="left")
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
    panels[0].set_yticks(range(len(pairs)), list(pairs), parse_math=False)
    panels[0].set_ylim(len(pairs) - 0.5, -0.5)
    return figure


def reliability(bins: Sequence[ReliabilityBin]) -> Figure:
    """Accuracy against confidence, with Wilson intervals, over the number of images in each bin.

    Args:
        bins: As `calibration.reliability_bins` returns them.
    """
    figure = Figure(figsize=(4.8, 5.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    filled = [b for b in bins if b.n]
    for b in filled:
        interval = wilson(round(b.accuracy * b.n), b.n)
        upper.plot([b.confidence] * 2, [interval.low, interval.high], color=RIGHT, linewidth=2, alpha=0.45)
    upper.plot([b.confidence for b in filled], [b.accuracy for b in filled], "o", color=RIGHT, markersize=5)
    width = 0.92 / len(bins)
    lower.bar([(b.low + b.high) / 2 for b in filled], [b.n for b in filled], width=width, color=RIGHT)
    lower.set_yscale("log")
    lower.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    lower.set_ylim(bottom=0.7)
    clean(upper, "", "share that was right")
    clean(lower, "probability of the predicted class", "images")
    upper.set_xlim(0, 1.01)
    upper.set_ylim(0, 1.03)
    for axis in (upper.xaxis, upper.yaxis, lower.xaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    upper.grid(color=RULE, linewidth=0.6)
    return figure


def risk_coverage(points: Sequence[RiskPoint], metrics: Mapping[str, Estimate]) -> Figure:
    """Share of wrong images among the accepted, against the share accepted, with pointwise Wilson intervals.

    Args:
        points: As `selective.risk_coverage` returns them.
        metrics: As `Report.metrics`: where the model abstains, a cross shows what it accepts, and both intervals.
    """
    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    coverage = [point.coverage for point in points]
    axes.fill_between(
        coverage,
        [point.risk.low for point in points],
        [point.risk.high for point in points],
        color=RIGHT,
        alpha=0.18,
        linewidth=0,
    )
    axes.plot(coverage, [point.risk.value for point in points], color=RIGHT, marker="" if len(points) > 1 else "o")
    kept, right = metrics["coverage"], metrics["accepted_accuracy"]
    top = max(point.risk.high for point in points if point.coverage >= min(0.5, coverage[-1]))
    if 0 < kept.value < 1:
        axes.plot([kept.low, kept.high], [1 - right.value] * 2, color=WRONG, linewidth=2)
        axes.plot([kept.value] * 2, [1 - right.high, 1 - right.low], color=WRONG, linewidth=2)
        top = max(top, 1 - right.low)
    clean(axes, "share of the images accepted", "of those, share that was wrong")
    axes.set_xlim(0, 1.01)
    # With few images accepted, intervals are wide: they must not press the rest of the curve flat.
    axes.set_ylim(0, min(1.0, 1.15 * top))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.grid(color=RULE, linewidth=0.6)
    return figure


def describe_risk_coverage(points: Sequence[RiskPoint]) -> str:
    """What `risk_coverage` shows, in words for those who cannot see it.

    Args:
        points: As `selective.risk_coverage` returns them.
    """
    nearest = {min(points, key=lambda point: abs(point.coverage - share)): None for share in (0.5, 0.8, 0.9, 0.95, 1)}
    words = (f"{100 * p.risk.value:.1f} % if {100 * p.coverage:.0f} % are accepted" for p in nearest)
    return f"Of the images accepted, wrong are: {', '.join(words)}."


class Curve(NamedTuple):
    """How a column of the history is drawn and written."""

    column: str
    label: str
    colour: str
    dashes: str
    number: str


LOSSES = (
    Curve("train_loss", "training loss", MUTED, "-", "{:.3g}"),
    Curve("val_loss", "validation loss", RIGHT, "-", "{:.3g}"),
)
# They mostly run close together: through the dashes of the one the other is seen.
SHARES = (
    Curve("val_accuracy", "validation accuracy", RIGHT, "-", "{:.1%}"),
    Curve("val_macro_f1", "validation macro F1", WRONG, "--", "{:.1%}"),
)


def training_curves(history: Sequence[Mapping[str, Any]], best_epoch: int | None = None) -> Figure:
    """Loss, and accuracy with macro F1 where it is known, by epoch.

    Args:
        history: One row an epoch with ``epoch`` and some of ``train_loss``, ``val_loss``, ``val_accuracy``,
            ``val_macro_f1``; other columns are left alone.
        best_epoch: The epoch whose weights were chosen: it is marked, and the legend says what it reached.
    """
    figure = Figure(figsize=(9.5, 3.4), layout="constrained")
    epochs = _epochs(history)
    for axes, curves in zip(figure.subplots(1, 2), (LOSSES, SHARES), strict=True):
        drawn = [curve for curve in curves if _known(curve, history)]
        for curve in drawn:
            values, label = _values(curve, history), curve.label
            if best_epoch in epochs:
                label += f" {curve.number.format(values[epochs.index(best_epoch)])}"
            # A single epoch has no line, only its point.
            marker = "o" if len(values) < 15 else ""
            axes.plot(epochs, values, curve.dashes, marker=marker, color=curve.colour, label=label, markersize=3.5)
        if drawn and best_epoch in epochs:
            axes.axvline(best_epoch, color=MUTED, linewidth=1, zorder=0)
            axes.set_title(f"marked: epoch {best_epoch}, the chosen one", color=MUTED, fontsize=9, loc="right")
        clean(axes, "epoch", "loss" if curves is LOSSES else "")
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        if drawn:
            axes.legend(frameon=False, labelcolor=MUTED)
    left, right = figure.axes
    losses = [value for curve in LOSSES if _known(curve, history) for value in _values(curve, history)]
    if losses and max(losses) > 20 * min(losses) > 0:  # else one wild epoch would flatten all others
        left.set_yscale("log")
        left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        left.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        left.minorticks_off()
    right.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def describe_curves(history: Sequence[Mapping[str, Any]], best_epoch: int | None = None) -> str:
    """What `training_curves` shows, in words for those who cannot see it.

    Example:
        >>> rows = [{"epoch": 1, "val_accuracy": 0.5}, {"epoch": 2, "val_accuracy": 0.9}]
        >>> describe_curves(rows, best_epoch=2)
        'Curves from epoch 1 to 2; epoch 2 was chosen. Validation accuracy: from 50.0% to 90.0%, chosen 90.0%.'
    """
    epochs = _epochs(history)
    words = f"Curves from epoch {epochs[0]} to {epochs[-1]}"
    words += f"; epoch {best_epoch} was chosen." if best_epoch in epochs else "."
    for curve in (*LOSSES, *SHARES):
        if _known(curve, history):
            values = [curve.number.format(value) for value in _values(curve, history)]
            chosen = f", chosen {values[epochs.index(best_epoch)]}" if best_epoch in epochs else ""
            words += f" {curve.label[0].upper()}{curve.label[1:]}: from {values[0]} to {values[-1]}{chosen}."
    return words


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, facecolor="white")


def _epochs(history: Sequence[Mapping[str, Any]]) -> list[int]:
    return [int(row.get("epoch", i + 1)) for i, row in enumerate(history)]


def _known(curve: Curve, history: Sequence[Mapping[str, Any]]) -> bool:
    return all(curve.column in row for row in history)


def _values(curve: Curve, history: Sequence[Mapping[str, Any]]) -> list[float]:
    return [float(row[curve.column]) for row in history]
