"""The differential count: what share of the cells each class has, and how sure that is."""

from __future__ import annotations

import csv
import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, binom

from cellnet.errors import DataError
from cellnet.evaluation.intervals import NOT_AVAILABLE, TAILS, Estimate
from cellnet.files import atomic_path, write_text
from cellnet.labels import PBC_LABELS, CellClass
from cellnet.pages import render_page

if TYPE_CHECKING:
    from cellnet.inference import Predictions
    from cellnet.labels import LabelSchema

NOT_COUNTED = ("erythroid", "megakaryocytic")
"""Lineages beside the white cells: they are given per 100 of these."""

UNEXPECTED = ("ig", "erythroblast")
"""Classes of PBC's schema that the blood of healthy adults hardly has."""

FALSE_ALARMS = 0.01
"""Share of samples without a class that are flagged for it all the same."""

SOUGHT = 0.02
"""Share of a class at which the sensitivity of its flag is stated."""

MOST_FILES = 10
"""More of a flagged class are not printed, but stand in the page and the JSON."""

UNJUDGED = (
    "Nothing is corrected and no class flagged: how often this model is mistaken is not known. Its card has no such "
    "figures, or they are of a model that was asked otherwise (--adapt, --tta, --classes)."
)

DRAWS, STEPS, SEED = 2000, 200, 0


@dataclass(frozen=True)
class ClassCount:
    """One class of a differential count.

    Args:
        label: The class.
        counted: Whether it is one of the white cells, whose shares make 100 %.
        count: Cells that were called so.
        share: Their share of the white cells, or their number per white cell where they are not counted among them.
        corrected: The same, had the model made no mistakes and abstained from nothing; NaN where its mistakes are
            not known.
        flag: Why the class should be looked at, a sentence, or nothing.
        note: What a reader of its flag must know, or nothing.
        files: Where it is flagged, the files that were called so.
    """

    label: str
    counted: bool
    count: int
    share: Estimate
    corrected: Estimate
    flag: str = ""
    note: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Differential:
    """A differential count, see `differential`.

    Args:
        rows: One a class, in schema order.
        white_cells: Number of white cells that the shares rest on.
        abstained: Images that the model left to a person, since it was not sure of their class.
        strange: Images that look like none of those that the model learned from, if any is a cell.
        unreadable: Images that could not be read.
        to_review: Files of these images.
        reasons: Why each of these is left to a person: ``"unreadable"``, ``"strange"`` or ``"uncertain"``.

    Example:
        >>> from cellnet.inference import Predictions
        >>> from cellnet.labels import PBC_LABELS
        >>> table = np.eye(8)[[4] * 30 + [6] * 69 + [3]]
        >>> count = differential(Predictions([f"{i}.png" for i in range(100)], PBC_LABELS, table))
        >>> print(count["neutrophil"].count, f"{count['neutrophil'].share:.1%}")
        69 69.0 % [59.0–77.9]
    """

    rows: tuple[ClassCount, ...]
    white_cells: int
    abstained: int
    unreadable: int
    strange: int = 0
    to_review: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def __getitem__(self, label: str) -> ClassCount:
        for row in self.rows:
            if row.label == label:
                return row
        raise KeyError(label)

    @property
    def flags(self) -> list[str]:
        """Every flag, a sentence each."""
        return [row.flag for row in self.rows if row.flag]

    def __str__(self) -> str:
        width = max(len(row.label) for row in self.rows)
        lines = [f"{'':<{width}}  {'cells':>6}  {'share':<22}corrected"]
        for row in self.rows:
            unit = "" if row.counted else "  per 100 white cells"
            lines.append(
                f"{row.label:<{width}}  {row.count:>6}  {format(row.share, '.1%'):<22}"
                f"{format(row.corrected, '.1%')}{unit}"
            )
        lines += [self.overview, *([self.caveat] if self.caveat else [])]
        for row in self.rows:
            if row.flag:
                names = ", ".join(row.files[:MOST_FILES])
                more = f" and {len(row.files) - MOST_FILES} more" if len(row.files) > MOST_FILES else ""
                lines += [row.flag, f"  {names}{more}"]
        return "\n".join(lines)

    @property
    def overview(self) -> str:
        """What the shares rest on, and what was left out."""
        strange = f"{self.strange:,} unlike the cells that the model knows, " if self.strange else ""
        left = f"{self.abstained:,} image{'' if self.abstained == 1 else 's'} left to a person"
        return f"{self.white_cells:,} white cells; {left}, {strange}{self.unreadable:,} unreadable"

    @property
    def caveat(self) -> str:
        """Why nothing is corrected, a sentence, or nothing where something is."""
        return UNJUDGED if all(math.isnan(row.corrected.value) for row in self.rows) else ""

    @property
    def left(self) -> dict[str, list[str]]:
        """The files to review by their reason."""
        found: dict[str, list[str]] = {}
        for file, reason in zip(self.to_review, self.reasons, strict=True):
            found.setdefault(reason, []).append(file)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types; what does not exist is None."""
        return {
            "white_cells": self.white_cells,
            "abstained": self.abstained,
            "strange": self.strange,
            "unreadable": self.unreadable,
            "to_review": list(self.to_review),
            "reasons": list(self.reasons),
            "classes": {
                row.label: {
                    "counted": row.counted,
                    "count": row.count,
                    "share": _plain(row.share),
                    "corrected": _plain(row.corrected),
                    "flag": row.flag,
                    "note": row.note,
                    "files": list(row.files),
                }
                for row in self.rows
            },
        }

    def to_csv(self, path: str | PathLike[str]) -> Path:
        """Write one row a class.

        Raises:
            ConfigError: The file cannot be written.
        """
        columns = ["class", "cells", "share", "low", "high", "corrected", "corrected_low", "corrected_high", "flag"]
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for row in self.rows:
                numbers = [x for e in (row.share, row.corrected) for x in (e.value, e.low, e.high)]
                writer.writerow(
                    [row.label, row.count, *("" if math.isnan(x) else f"{x:.6g}" for x in numbers), row.flag]
                )
        return Path(path)

    def to_html(self, path: str | PathLike[str], *, title: str = "Differential count", model: str = "") -> Path:
        """Write one page that prints well.

        Raises:
            ConfigError: The file cannot be written.
        """
        page = render_page(
            Path(__file__).with_name("differential.html.j2"),
            kind="differential",
            title=title,
            overview=self.overview + (f"; named by {model}" if model else ""),
            count=self,
        )
        return write_text(path, page)


def differential(
    predictions: Predictions,
    confusion: ArrayLike | None = None,
    *,
    strange: float = math.inf,
    unexpected: Sequence[str] | None = None,
) -> Differential:
    """Count the cells of each class, with limits.

    The share of a class among the cells that were called anything has exact binomial limits, as Rümke's tables have
    them. Where the model's mistakes are known, a second figure takes them out: the shares of the true classes that
    make the counts most likely, found by expectation maximisation (Dempster et al. 1977). Its interval carries both
    that few cells were counted and that few were judged, by draws of both from Dirichlet distributions.

    A class without a lineage has that of PBC's class of this name or synonym; without one it is a white cell.

    A class that ought not be there is flagged where it was called more often than mistakes alone would explain in all
    but one of a hundred samples.

    Args:
        predictions: Of single cells of one sample. Unreadable and strange images, and those that the model abstained
            from, are counted apart.
        confusion: C×(C+1) counts from judged images: true class by called class, and those abstained from in the last
            column, as `Report.called`; None where they are not known.
        strange: Score ``ood`` above which an image is taken for none of the cells that the model knows:
            ``cellnet.inference.familiar_up_to(model.thresholds)``. A photograph or an empty field among the images
            would else be shared out among the classes that the model abstains from most often.
        unexpected: Classes to flag, by name or synonym; default: those that PBC's schema counts as `UNEXPECTED`.

    Raises:
        DataError: No cell was called a white cell, or ``confusion`` does not fit.
        UnknownNameError: No such class to flag.

    Source: Rümke 1960, Triangle 4:154; CLSI H20-A2.
    """
    schema = predictions.schema
    unreadable = ~predictions.readable
    unlike = predictions.readable & (predictions.ood > strange)
    left = predictions.abstain | unlike | unreadable
    called = predictions.probabilities[~left].argmax(1)
    counts = np.bincount(called, minlength=len(schema))
    abstained = int((left & ~unlike & ~unreadable).sum())
    of_pbc = [_of_pbc(cell) for cell in schema]
    lineages = [cell.lineage or (known.lineage if known else "") for cell, known in zip(schema, of_pbc, strict=True)]
    counted = np.array([lineage not in NOT_COUNTED for lineage in lineages])
    flagged = (
        {label for label, known in enumerate(of_pbc) if known and known.name in UNEXPECTED}
        if unexpected is None
        else {schema.index(name) for name in unexpected}
    )
    white = int(counts[counted].sum())
    if not white:
        raise DataError(
            f"None of the {len(predictions)} images was called a white cell, so there is nothing to count; "
            f"{abstained + int(unlike.sum())} were left to a person and {int(unreadable.sum())} could not be read."
        )
    judged = None if confusion is None else _check(confusion, schema)
    corrected = [NOT_AVAILABLE] * len(schema)
    draws: NDArray[np.float64] | None = None
    if judged is not None:
        draws = _draw_rates(judged)
        corrected = _correct(np.append(counts, abstained), judged, draws, counted)
    rows = []
    for label, cell in enumerate(schema):
        n = int(counts[label])
        share = _binomial(n, white) if counted[label] else _ratio(n, white)
        flag, note = "", ""
        if label in flagged and draws is not None and judged is not None and judged[label].any():
            flag, note = _flag(cell.name, label, counts, draws)
        files = _files(predictions, np.flatnonzero(~left)[called == label]) if flag else ()
        rows.append(ClassCount(cell.name, bool(counted[label]), n, share, corrected[label], flag, note, files))
    reasons = np.select([unreadable, unlike], ["unreadable", "strange"], "uncertain")[left]
    return Differential(
        tuple(rows),
        white,
        abstained,
        int(unreadable.sum()),
        int(unlike.sum()),
        _files(predictions, np.flatnonzero(left)),
        tuple(map(str, reasons)),
    )


def _files(predictions: Predictions, rows: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(predictions.files[row] for row in rows)


def _of_pbc(cell: CellClass) -> CellClass | None:
    """The class that PBC's schema counts a class as."""
    found = (PBC_LABELS.find(word) for word in (cell.name, *cell.synonyms))
    return next((PBC_LABELS.classes[label] for label in found if label is not None), None)


def _check(confusion: ArrayLike, schema: LabelSchema) -> NDArray[np.float64]:
    table = np.asarray(confusion, np.float64)
    size = (len(schema), len(schema) + 1)
    if table.shape != size or not np.isfinite(table).all() or (table < 0).any() or not table.any():
        raise DataError(
            f"The confusion of the model must be {size[0]}×{size[1]} counts, true class by called class and the "
            f"abstained last, not {table.shape}; give report.called of an evaluation of this model."
        )
    return table


def _binomial(k: int, n: int) -> Estimate:
    """A share with Clopper and Pearson's exact limits."""
    low = 0.0 if k == 0 else float(beta.ppf(TAILS[0], k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(TAILS[1], k + 1, n - k))
    return Estimate(k / n, low, high)


def _ratio(k: int, n: int) -> Estimate:
    """Cells per white cell: the odds of a share, and its limits those of the share."""
    share = _binomial(k, k + n)
    return Estimate(*(value / (1 - value) for value in (share.value, share.low, share.high)))


def _draw_rates(judged: NDArray[np.float64]) -> NDArray[np.float64]:
    """`DRAWS` tables of how often each class is called what, as the judged images leave them open."""
    samples = np.random.default_rng(SEED).standard_gamma(judged + 1 / judged.shape[1], (DRAWS, *judged.shape))
    rates: NDArray[np.float64] = samples / samples.sum(2, keepdims=True)
    return rates


def _correct(
    seen: NDArray[np.int64], judged: NDArray[np.float64], rates: NDArray[np.float64], counted: NDArray[np.bool_]
) -> list[Estimate]:
    known = judged.any(1)  # a class without judged images cannot be told from others; it is taken as not there
    best = judged[known] + 1 / judged.shape[1]  # so that nothing is impossible, as in the draws
    best /= best.sum(1, keepdims=True)
    value = _unmix(seen[None].astype(np.float64), best[None])[0]
    samples = np.random.default_rng(SEED + 1).standard_gamma(seen + 1 / len(seen), (DRAWS, len(seen)))
    spread = _unmix(samples, rates[:, known])
    white = counted[known]
    scale = [shares / np.maximum(shares[..., white].sum(-1, keepdims=True), 1e-12) for shares in (value, spread)]
    low, high = np.quantile(scale[1], TAILS, axis=0)
    corrected = [NOT_AVAILABLE] * len(judged)
    for label, v, lo, hi in zip(np.flatnonzero(known), scale[0], low, high, strict=True):
        corrected[label] = Estimate(float(v), min(float(v), float(lo)), max(float(v), float(hi)))
    return corrected


def _unmix(seen: NDArray[np.float64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Most likely shares of the true classes: B×J counts of what was called, B×C×J rates, to B×C."""
    shares = np.full(rates.shape[:2], 1 / rates.shape[1])
    for _ in range(STEPS):
        expected = np.einsum("bc,bcj->bj", shares, rates)
        weights = seen / np.maximum(expected, 1e-300)
        shares = shares * np.einsum("bcj,bj->bc", rates, weights)
        shares /= shares.sum(1, keepdims=True)
    return shares


def _flag(name: str, label: int, counts: NDArray[np.int64], rates: NDArray[np.float64]) -> tuple[str, str]:
    """Whether a class was called more often than mistakes explain, and what such a flag finds."""
    n, others = int(counts.sum()), counts.astype(np.float64)
    others[label] = 0
    if not others.any():
        return f"Every cell was called {name}.", ""
    # Of the called cells, as the counts are: what the model abstained from is in neither.
    rates = rates[..., :-1] / rates[..., :-1].sum(-1, keepdims=True)
    false = (rates[:, :, label] * (others / others.sum())).sum(1)
    least = 1 + bisect_left(range(1, n + 1), True, key=lambda k: bool(binom.sf(k - 1, n, false).mean() <= FALSE_ALARMS))
    if least > n:
        return "", f"{name}: of so few cells ({n}), no number is flagged."
    found = SOUGHT * rates[:, label, label] + (1 - SOUGHT) * false
    sensitivity = binom.sf(least - 1, n, found).mean()
    note = (
        f"{name}: flagged from {least} of {n} cells on; a sample with {100 * SOUGHT:g} % {name} is flagged with a "
        f"probability of {100 * sensitivity:.0f} %, one without any with at most {100 * FALSE_ALARMS:g} %."
    )
    if counts[label] < least:
        return "", note
    mistakes = n * float(false.mean())
    return (
        f"{counts[label]} of {n} cells were called {name}; mistakes alone explain {mistakes:.1f}. Look at them.",
        note,
    )


def _plain(estimate: Estimate) -> dict[str, float] | None:
    return None if math.isnan(estimate.value) else estimate.to_dict()
