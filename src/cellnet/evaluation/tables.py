"""Figures of several models or runs as tables of text, for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cellnet.evaluation.intervals import Estimate

TITLES = {"accuracy": "accuracy", "macro_f1": "macro F1", "balanced_accuracy": "balanced accuracy"}

FIGURES = tuple(TITLES)
"""The figures by which models and runs are compared; the first is the accuracy."""

Line = tuple[str, str, Mapping[str, Estimate]]
"""Name, number of images, figures."""


def figure_table(what: str, lines: Sequence[Line], summary: Sequence[Line] = ()) -> str:
    """A line a run with its figures and their intervals; below a rule, what sums them up.

    Args:
        what: Heading of the first column.
        lines: The runs.
        summary: Further lines, below a rule.

    Example:
        >>> figures = {name: Estimate(0.9, 0.85, 0.93) for name in TITLES}
        >>> print(figure_table("fold", [("1", "200", figures)]))
        fold   images   accuracy                macro F1                balanced accuracy
        ─────────────────────────────────────────────────────────────────────────────────────
        1         200   90.0 % [85.0–93.0]      90.0 % [85.0–93.0]      90.0 % [85.0–93.0]
    """
    width = max(len(name) for name in (what, *(name for name, _, _ in (*lines, *summary))))
    header = f"{what:<{width}}{'images':>9}" + "".join(f"   {title:<21}" for title in TITLES.values())
    rule = "─" * len(header)

    def text(line: Line) -> str:
        name, images, figures = line
        cells = "".join(f"   {figures[key]:.1%}".ljust(24) for key in TITLES)
        return f"{name:<{width}}{images:>9}{cells}".rstrip()

    below = [rule, *map(text, summary)] if summary else []
    return "\n".join([header.rstrip(), rule, *map(text, lines), *below])
