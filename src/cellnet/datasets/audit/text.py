"""An audit as text, for a terminal of 100 columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from cellnet.datasets.columns import short_name

if TYPE_CHECKING:
    from cellnet.datasets.audit.report import Audit, Pair

WIDTH = 100

KINDS = {
    "identical": "identical files",
    "near": "the same cell, stored or photographed twice",
    "overlap": "two cells of one field, in images that overlap",
    "group": "a group, such as a donor, in two parts",
}
"""Kinds of pairs, and what they are."""

LIMIT = (
    "Not found: rotated or mirrored copies, and images of one donor or slide that show different cells. Only the "
    "laboratory knows those; give them as groups, and one that stands in two parts is found."
)


def counts(audit: Audit, kind: str) -> dict[str, int]:
    """Number of pairs of a kind, of those across parts, and of those with two labels."""
    pairs = [pair for pair in audit.pairs if pair.kind == kind]
    return {
        "pairs": len(pairs),
        "across_parts": sum(pair.leak for pair in pairs),
        "two_labels": sum(pair.conflict for pair in pairs),
    }


def shown_kinds(audit: Audit) -> dict[str, str]:
    """Kinds of pairs to be counted in a table, and what they are; groups only where one stands in two parts."""
    return {kind: words for kind, words in KINDS.items() if kind != "group" or counts(audit, kind)["pairs"]}


def headline(audit: Audit) -> str:
    """Title and sizes, e.g. ``"PBC · train 700 · test 300 images"``."""
    several = len(audit.images) > 1
    sizes = [f"{part} {count:,}" if several else f"{count:,}" for part, count in audit.images.items()]
    return " · ".join([audit.title, *sizes]) + " images"


def verdict(audit: Audit) -> str:
    """The first thing to know."""
    if len(audit.images) == 1:
        count = len(audit.pairs)
        if not count:
            return "No two images show the same spot of a smear." if audit.near else "No two files are identical."
        return f"{count:,} pair{'s' * (count > 1)} of images must stay in one part of a split."
    count = len(audit.leaks)
    if count:
        return f"LEAK: {count:,} pair{'s' * (count > 1)} of images stand{'s' * (count == 1)} in two parts."
    return "No leak: no spot of a smear stands in two parts." if audit.near else "No leak: no file stands in two parts."


def summary(audit: Audit) -> str:
    """The whole audit, the most important first."""
    lines = [headline(audit), verdict(audit), "", *_pair_table(audit), *_pairs(audit), "", *_files(audit)]
    lines += ["", *_share_table(audit), ""]
    if audit.drift:
        lines += _paragraph("Parts", "; ".join(audit.drift.sentences()))
    if audit.frame_probe:
        lines += _paragraph("Frame", str(audit.frame_probe))
    return "\n".join([*lines, "", *textwrap.wrap(LIMIT, WIDTH)])


def describe(pair: Pair) -> str:
    """A pair in a line."""
    sides = (
        (f"{part} " if pair.leak else "") + short_name(file) + (f" [{label}]" if pair.label_a != pair.label_b else "")
        for part, file, label in (
            (pair.part_a, pair.file_a, pair.label_a),
            (pair.part_b, pair.file_b, pair.label_b),
        )
    )
    return f"{' = '.join(sides)} ({pair.kind}{f' {pair.group}' if pair.group else ''})"


def _pair_table(audit: Audit) -> list[str]:
    width = max(map(len, KINDS.values())) + 2
    header = f"{'pairs of images':<{width}}{'pairs':>8}{'across parts':>14}{'two labels':>12}"
    rows = []
    for kind, words in shown_kinds(audit).items():
        if kind in ("near", "overlap") and not audit.near:
            continue
        number = counts(audit, kind)
        two = "–" if kind in ("overlap", "group") else f"{number['two_labels']:,}"
        rows.append(f"{words:<{width}}{number['pairs']:>8,}{number['across_parts']:>14,}{two:>12}")
    return [header, "─" * len(header), *rows]


def _pairs(audit: Audit) -> list[str]:
    lines = []
    for title, pairs in (("Across parts", audit.leaks), ("One cell, two labels", audit.label_conflicts)):
        if pairs:
            lines += ["", f"{title}:", *(f"  {describe(pair)}" for pair in pairs[:5])]
            lines += [f"  and {len(pairs) - 5:,} more"] if len(pairs) > 5 else []
    return lines


def _files(audit: Audit) -> list[str]:
    lines = [f"{len(audit.unreadable):,} unreadable, {len(audit.stray):,} stray files"]
    lines += [f"  unreadable: {entry.reason}" for entry in audit.unreadable[:5]]
    lines += [f"  stray: {file}" for file in audit.stray[:5]]
    hidden = max(0, len(audit.unreadable) - 5) + max(0, len(audit.stray) - 5)
    lines += [f"  and {hidden:,} more"] if hidden else []
    usual = [str(size) for size in audit.sizes if not size.odd]
    odd = [f"{size}, e.g. {short_name(size.example)}" for size in audit.sizes if size.odd]
    more = f" and {len(usual) - 4:,} more" if len(usual) > 4 else ""
    lines += _paragraph("Sizes", ", ".join(usual[:4]) + more + (f"; odd: {'; '.join(odd[:4])}" if odd else ""))
    return lines


def _share_table(audit: Audit) -> list[str]:
    classes = list(next(iter(audit.shares.values())))
    width = max(5, *(min(len(name), 28) for name in classes)) + 2
    parts = list(audit.shares) if len(audit.shares) > 1 else ["images"]
    lines = [f"{'class':<{width}}" + "".join(f"{part[:15]:>16}" for part in parts)]
    lines.append("─" * len(lines[0]))
    for name in classes:
        cells = []
        for counts_ in audit.shares.values():
            share = 100 * counts_[name] / max(1, sum(counts_.values()))
            cells.append(f"{counts_[name]:>8,} {share:>5.1f} %")
        lines.append(f"{name[:28]:<{width}}" + "".join(f"{cell:>16}" for cell in cells))
    return lines


def _paragraph(title: str, words: str) -> list[str]:
    return textwrap.wrap(f"{title}: {words}.", WIDTH, subsequent_indent="  ")
