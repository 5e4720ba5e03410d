"""A report as a page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from cellnet.errors import ImageError
from cellnet.evaluation import calibration, intervals, plots, subgroups, text
from cellnet.pages import percent, picture, render_page

if TYPE_CHECKING:
    from cellnet.evaluation.intervals import Estimate
    from cellnet.evaluation.report import Report

PICTURE_SIZE = 264
"""Longer side of the pictures of the mistakes, in pixels: twice of what is shown, sharp on dense screens."""

THUMBNAIL_SIZE = 88
"""The same of the small pictures in a table."""

EXAMPLE_SIZE, EXAMPLES, MOST_EXAMPLES = 144, 3, 240
"""The same of the examples behind the confusion matrix, their number a cell, and in the whole page. With 5 to 8 kB each
they add at most 2 MB to it, however many images were judged."""

# The page's own colours take the place of the plots', so that the plots follow a dark screen.
_COLOURS = {
    plots.INK: "var(--ink)",
    plots.MUTED: "var(--muted)",
    plots.RULE: "var(--rule)",
    plots.RIGHT: "var(--right)",
    plots.WRONG: "var(--wrong)",
}


@dataclass(frozen=True)
class Row:
    """One image as the page shows it: all text, but for the picture, is escaped by the template."""

    file: str
    name: str
    true: str
    label: str
    probability: float
    second: str | None
    true_probability: float
    right: bool
    abstain: bool
    picture: str | None


def render(report: Report, embedding: Figure | None = None) -> str:
    """The page as text.

    Args:
        report: What to show. Its ``images`` are asked for the pictures.
        embedding: What `Report.embedding` gave, if it is to be shown.
    """
    shown = [e for f in report.per_class.values() for e in (f["recall"], f["precision"])]
    shown += [f["accuracy"] for values in report.subgroups.values() for f in values.values() if not f["few"]]
    settings = _flat(report.settings or {})
    return render_page(
        Path(__file__).with_name("report.html.j2"),
        kind="report",
        title=report.title,
        overview=text.headline(report),
        report=report,
        spread=_spread,
        shorten=text.shorten,
        sentences=_sentences(report),
        axis=plots.axis_start([estimate.low for estimate in shown]),
        confusion=report.matured()[0].tolist(),
        classes=report.matured()[1],
        shares=_shares(report),
        examples=_examples(report),
        most=EXAMPLES,
        few=subgroups.FEW,
        lineage=report.lineage_errors(),
        curves=_svg("curves", plots.training_curves(report.history, report.best_epoch)) if report.history else None,
        curves_in_words=plots.describe_curves(report.history, report.best_epoch) if report.history else "",
        embedding=None if embedding is None else _svg("embedding", embedding),
        reliability=_svg("reliability", plots.reliability(report.reliability())),
        bins=calibration.NUM_BINS,
        risk_coverage=_svg("risk", plots.risk_coverage(report.risk_coverage(), report.metrics)),
        risks_in_words=plots.describe_risk_coverage(report.risk_coverage()),
        worst=[_row(report, i, PICTURE_SIZE) for i in report.worst(24)],
        typical=[_row(report, i, PICTURE_SIZE) for i in report.typical()] if report.images else [],
        uncertain=[_row(report, i, THUMBNAIL_SIZE) for i in report.least_certain(12)],
        unreadable=[(report.predictions.files[i], report.predictions.errors[i]) for i in report.unreadable],
        settings=[(name, value) for name, value in settings if "." not in name],
        configuration=[(name, value) for name, value in settings if "." in name],
        level=intervals.LEVEL,
        details=report.to_dict(),
    )


def _spread(estimate: Estimate, start: float, width: float) -> tuple[float, float, float]:
    """Where value, low and high lie on an axis from ``start`` to 1 that is ``width`` long."""
    ends = (estimate.value, estimate.low, estimate.high)
    value, low, high = (round(max(0.0, (x - start) / (1 - start)) * width, 1) for x in ends)
    return value, low, high


def _sentences(report: Report) -> list[str]:
    """The result in plain words."""
    right, accuracy = int(report.confusion.trace()), report.accuracy
    kind = "image was" if report.n == 1 else "images were"
    words = [
        f"{right:,} of {report.n:,} {kind} named correctly. On more images like these, the accuracy most "
        f"likely lies between {percent(accuracy.low)} and {percent(accuracy.high)} %."
    ]
    present = {name: f["recall"] for name, f in report.per_class.items() if f["n"]}
    lowest = min(present, key=lambda name: present[name].value)
    if present[lowest].value < 1 and len(present) > 1:
        words.append(
            f"Least well recognised: {lowest}, with {percent(present[lowest].value)} % of its "
            f"{report.per_class[lowest]['n']:,} images."
        )
    for true, label, count in report.most_confused(1):
        words.append(f"Most frequent mistake: {true} taken for {label}, {_times(count)}.")
    if report.metrics["coverage"].value < 1:
        share, kept = 1 - report.metrics["coverage"].value, report.metrics["accepted_accuracy"]
        words.append(
            f"The model abstains on {percent(share)} % of the images"
            + ("." if math.isnan(kept.value) else f"; of the others {percent(kept.value)} % are right.")
        )
    return words


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def _shares(report: Report) -> list[list[float]]:
    """The confusion matrix as shares of its rows, made visible as in `plots.confusion_matrix`."""
    return [[round(x, 3) for x in row] for row in plots.shades(report.matured()[0]).tolist()]


def _examples(report: Report) -> dict[tuple[str, str], list[Row]]:
    """Images of each cell of the confusion matrix that is not empty; the mistakes have the first claim to pictures."""
    names, found = report.schema.names, {}
    mistakes = [(true, label) for true, label, _ in report.most_confused(len(names) ** 2)]
    left = MOST_EXAMPLES
    for true, label in (*mistakes, *((name, name) for name in names)):
        rows = report.examples(true, label, EXAMPLES)
        found[true, label] = [_row(report, i, EXAMPLE_SIZE if place < left else 0) for place, i in enumerate(rows)]
        left -= len(rows)
    return found


def _row(report: Report, index: int, size: int) -> Row:
    """An image of the report, with a picture of at most ``size`` pixels a side; 0 is none."""
    prediction = report.predictions[index]
    target = int(report.targets[index])
    return Row(
        file=prediction.file,
        name=PurePath(prediction.file).name,
        true=report.schema.names[target],
        label=str(prediction.label),
        probability=prediction.probability,
        second=prediction.second,
        true_probability=float(prediction.probabilities[target]),
        right=prediction.label == report.schema.names[target],
        abstain=prediction.abstain,
        picture=_look(report, index, size) if size else None,
    )


def _look(report: Report, index: int, size: int) -> str | None:
    try:
        image = report.images(index) if report.images else None
    except ImageError:  # the file has gone since it was predicted: the page says so by its absence
        return None
    return None if image is None else picture(image, size)


def _svg(plot: str, figure: Figure) -> Markup:
    """A figure to stand within the page: text as text, colours from the page, nothing that points outside."""
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": plot, "font.size": 10}):
        figure.savefig(stream, format="svg", dpi=150, transparent=True)
    drawing = stream.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r' xmlns(:\w+)?="[^"]*"', "", drawing)
    # Two plots in one page must not share names; only those that are hashes, salted by plot, are pointed to.
    drawing = re.sub(r' id="[\w.]+_\d+"', "", drawing)
    drawing = re.sub(r"font: [^;\"]*?(\d+)px [^;\"]*", r"font-size: \1px; font-family: inherit", drawing)
    for colour, name in _COLOURS.items():
        drawing = drawing.replace(colour, name)
    return Markup(drawing)  # noqa: S704 - made by matplotlib, which escapes the texts it draws


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows of dotted name and value."""
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", str(value)))
    return rows
