"""A report as a table of text, for a terminal of 100 columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cellnet.evaluation.intervals import Estimate
    from cellnet.evaluation.report import Report

WIDTH = 100
NAME_WIDTH = 20

# (label, name in Report.metrics, format): two a line.
_TOTALS = (
    (("accuracy", "accuracy", ".2%"), ("balanced accuracy", "balanced_accuracy", ".2%")),
    (("macro F1", "macro_f1", ".2%"), ("weighted F1", "weighted_f1", ".2%")),
    (("macro precision", "macro_precision", ".2%"), ("weighted precision", "weighted_precision", ".2%")),
    (("kappa", "kappa", ".3f"), ("MCC", "mcc", ".3f")),
    (("ROC area", "macro_roc_auc", ".4f"), ("PR area", "macro_average_precision", ".4f")),
    (("calibration error", "ece", ".2%"), ("… class by class", "classwise_ece", ".2%")),
    (("Brier score", "brier", ".3f"), ("top-2 accuracy", "top_2_accuracy", ".2%")),
)


def shorten(name: str, width: int = NAME_WIDTH) -> str:
    """A name that takes at most ``width`` characters.

    Example:
        >>> shorten("segmented neutrophil granulocyte")
        'segmented neutrophi…'
    """
    return name if len(name) <= width else name[: width - 1] + "…"


def tell_apart(names: Sequence[str], width: int) -> list[str]:
    """Different names, or paths without the folders that all begin or end with, that are still different.

    They take at most ``width`` characters, unless neither their beginnings nor their ends would then tell them apart.

    Example:
        >>> tell_apart(["runs/first/predictions.csv", "runs/second/predictions.csv"], 18)
        ['first', 'second']
        >>> tell_apart(["a_long_experiment_of_seed_0", "a_long_experiment_of_seed_1"], 18)
        ['…eriment_of_seed_0', '…eriment_of_seed_1']
    """
    parts = [re.split(r"[/\\]", name) for name in names]
    for end in (0, -1):
        while min(map(len, parts)) > 1 and len({part[end] for part in parts}) == 1:
            for part in parts:
                part.pop(end)
    whole = ["/".join(part) for part in parts]
    tails = [name if len(name) <= width else "…" + name[1 - width :] for name in whole]
    cuts = ([shorten(name, width) for name in whole], tails)
    return next((cut for cut in cuts if len(set(cut)) == len(names)), whole)


def headline(report: Report) -> str:
    """Data set, part and number of images, e.g. ``"PBC · test part · 3,418 images"``."""
    unreadable = len(report.unreadable)
    words = (
        report.dataset,
        f"{report.part} part" if report.part else "",
        f"{report.n:,} image{'s' if report.n != 1 else ''}"
        + (f", {unreadable:,} more unreadable" if unreadable else ""),
    )
    return " · ".join(word for word in words if word)


def summary(report: Report) -> str:
    """Per class n, precision, recall and F1 with their intervals; then totals, subgroups, mistakes, limits."""
    lines = [report.title, headline(report), "", *_class_table(report), "", *_totals(report)]
    coverage, accepted = report.metrics["coverage"].value, report.metrics["accepted_accuracy"]
    if coverage < 1:
        lines.append(f"abstained on {100 * (1 - coverage):.1f} %; accuracy on the others {accepted}")
    if "set_coverage" in report.metrics:
        covered, size = report.metrics["set_coverage"], report.metrics["set_size"]
        lines.append(f"true class in the prediction set {covered}; classes in a set {size:.2f}")
    if report.subgroups:
        lines += ["", *_subgroup_table(report)]
    confused = report.most_confused(3)
    if confused:
        lines += ["", *_wrap("Most confused: " + ", ".join(f"{a} → {b} ({k})" for a, b, k in confused))]
    if report.notes:
        lines += ["", *_wrap(report.notes[0])]
    return "\n".join(lines)


def _wrap(words: str) -> list[str]:
    return textwrap.wrap(words, WIDTH)


def _class_table(report: Report) -> list[str]:
    width = max(5, *(len(shorten(name)) for name in report.per_class))
    header = f"{'class':<{width}}{'n':>8}" + "".join(f"   {title:<21}" for title in ("precision", "recall", "F1"))
    rule = "─" * (width + 8 + 3 * 24)
    lines = [header.rstrip(), rule]
    for name, figures in report.per_class.items():
        cells = "".join(_cell(figures[key]) for key in ("precision", "recall", "f1"))
        lines.append(f"{shorten(name):<{width}}{figures['n']:>8,}{cells}".rstrip())
    return [*lines, rule]


def _subgroup_table(report: Report) -> list[str]:
    names = [f"{name}: {value}" for name, values in report.subgroups.items() for value in values]
    width = max(8, *(len(shorten(name, 2 * NAME_WIDTH)) for name in names))
    figures = [figures for values in report.subgroups.values() for figures in values.values()]
    lines = [f"{'subgroup':<{width}}{'n':>8}   accuracy", "─" * (width + 8 + 24)]
    for name, row in zip(names, figures, strict=True):
        small = "   few images" if row["few"] else ""
        lines.append(f"{shorten(name, 2 * NAME_WIDTH):<{width}}{row['n']:>8,}{_cell(row['accuracy'])}{small}".rstrip())
    return lines


def _cell(estimate: Estimate) -> str:
    """Value and interval, so that the values stand below each other."""
    value, _, interval = f"{estimate:.1%}".partition(" % ")
    return f"   {value:>5}{' % ' + interval if interval else '':<16}"


def _totals(report: Report) -> list[str]:
    return [
        "".join(f"{label:<19}{format(report.metrics[name], spec):<27}" for label, name, spec in pair).rstrip()
        for pair in _TOTALS
    ]
