"""Do the parts of a data set resemble each other: in the shares of their classes, and in how their images look?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from cellnet.datasets.audit.scan import LOOKS

UNLIKELY = 0.001
"""Chance below which shares that differ are not put down to the draw of the images."""

NOTABLE = 0.2
"""Standardised difference from which one speaks of a small effect (Cohen 1988)."""

_Z = 3.29  # a difference of so many standard errors is as unlikely as UNLIKELY
_WORDS = {
    "brightness": ("brighter", "darker"),
    "contrast": ("richer in contrast", "flatter"),
    "redness": ("redder", "less red"),
    "blueness": ("bluer", "less blue"),
}


@dataclass(frozen=True)
class ClassDrift:
    """Whether the classes have the same shares in all parts.

    Args:
        p_value: Chance of shares as different as these if the images were dealt at random (chi-square test).
        cramers_v: Size of the difference, 0 to 1.
        most: Class whose share differs most, with the parts where it is lowest and highest and its shares there.
    """

    p_value: float
    cramers_v: float
    most: tuple[str, str, float, str, float]

    @property
    def notable(self) -> bool:
        """Whether chance does not explain it."""
        return self.p_value < UNLIKELY

    def __str__(self) -> str:
        if not self.notable:
            return f"the classes have the same shares in all parts, as far as chance goes (p = {self.p_value:.2g})"
        name, low_part, low, high_part, high = self.most
        return (
            f"the classes have different shares (p = {self.p_value:.2g}, Cramér's V {self.cramers_v:.2f}), most of "
            f"all {name}: {100 * low:.1f} % of {low_part}, {100 * high:.1f} % of {high_part}"
        )


@dataclass(frozen=True)
class LookDrift:
    """How one part's images look beside those of another, class for class.

    Args:
        part: The part.
        reference: The part it is compared with.
        look: What is compared, see `LOOKS`.
        difference: Mean difference within the classes that both have, weighted by what each can tell, in units of
            the spread between images of one class and part (standardised difference).
        error: Its standard error.
    """

    part: str
    reference: str
    look: str
    difference: float
    error: float

    @property
    def notable(self) -> bool:
        """Whether it is worth a thought: neither small nor explained by chance."""
        return abs(self.difference) >= max(NOTABLE, _Z * self.error)

    def __str__(self) -> str:
        word = _WORDS[self.look][self.difference < 0]
        return (
            f"{self.part} is {word} than {self.reference}, by {abs(self.difference):.2f} of the spread between images"
        )


@dataclass(frozen=True)
class Drift:
    """Differences between the parts.

    Args:
        classes: Those of the class shares; None where only one class is there.
        looks: Those of the images' looks, each part beside the first.
        apart: Parts whose looks are not compared, since no class has several images there and in the first part.
    """

    classes: ClassDrift | None
    looks: tuple[LookDrift, ...]
    apart: tuple[str, ...] = ()

    @property
    def notable(self) -> bool:
        """Whether anything differs."""
        return (self.classes is not None and self.classes.notable) or any(look.notable for look in self.looks)

    def sentences(self) -> list[str]:
        """What differs, in words."""
        words = [str(self.classes)] if self.classes else []
        looks = [str(look) for look in self.looks if look.notable]
        if self.looks and not looks:
            looks = ["the images look alike in all parts: brightness, contrast and colour"]
        looks += [
            f"{part} and the first part have too few images of a class in common to compare" for part in self.apart
        ]
        return words + looks


def measure_drift(
    parts: Sequence[str],
    classes: Sequence[str],
    part: NDArray[np.int64],
    target: NDArray[np.int64],
    look: NDArray[np.float32],
) -> Drift | None:
    """Compare the parts of a data set.

    Args:
        parts: Their names.
        classes: Names of the classes.
        part: N indices of parts.
        target: N labels.
        look: N×4, see `LOOKS`.

    Returns:
        None if there is only one part with images.
    """
    present = np.unique(part)
    if len(present) < 2:
        return None
    table = np.zeros((len(parts), len(classes)), np.int64)
    np.add.at(table, (part, target), 1)
    shares = _class_drift([parts[i] for i in present], classes, table[present])
    return Drift(shares, *_look_drift(parts, present, part, target, look.astype(np.float64)))


def _class_drift(parts: Sequence[str], classes: Sequence[str], table: NDArray[np.int64]) -> ClassDrift | None:
    names = [name for name, count in zip(classes, table.sum(0), strict=True) if count]
    table = table[:, table.sum(0) > 0]
    if len(names) < 2:
        return None
    test = chi2_contingency(table)
    # Yates's correction is for the chance alone: with it, shares that have nothing in common would stay below 1.
    plain = chi2_contingency(table, correction=False).statistic
    v = float(np.sqrt(plain / table.sum() / (min(table.shape) - 1)))
    shares = table / table.sum(1, keepdims=True)
    worst = int(np.ptp(shares, axis=0).argmax())
    low, high = int(shares[:, worst].argmin()), int(shares[:, worst].argmax())
    most = (names[worst], parts[low], float(shares[low, worst]), parts[high], float(shares[high, worst]))
    return ClassDrift(float(test.pvalue), v, most)


def _look_drift(
    parts: Sequence[str],
    present: NDArray[np.int64],
    part: NDArray[np.int64],
    target: NDArray[np.int64],
    look: NDArray[np.float64],
) -> tuple[tuple[LookDrift, ...], tuple[str, ...]]:
    drifts: list[LookDrift] = []
    apart: list[str] = []
    here = part == present[0]
    for index in present[1:]:
        there = part == index
        weight, free = 0.0, 0
        gap, squares = np.zeros(len(LOOKS)), np.zeros(len(LOOKS))
        # Within classes, or a part with more eosinophils would pass for one with a redder stain.
        for label in np.intersect1d(target[here], target[there]):
            one, other = look[here & (target == label)], look[there & (target == label)]
            share = len(one) * len(other) / (len(one) + len(other))
            weight += share
            gap += share * (other.mean(0) - one.mean(0))
            squares += one.var(0) * len(one) + other.var(0) * len(other)
            free += len(one) + len(other) - 2
        if not free:
            apart.append(parts[index])
            continue
        spread = np.sqrt(squares / free)
        gaps = gap / weight / np.where(spread > 0, spread, 1)
        drifts += [
            LookDrift(parts[index], parts[present[0]], name, float(difference), weight**-0.5)
            for name, difference in zip(LOOKS, gaps, strict=True)
        ]
    return tuple(drifts), tuple(apart)
