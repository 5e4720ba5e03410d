"""How well the probabilities rank the images: top-k accuracy, ROC and precision-recall areas with their intervals.

Areas are one-vs-rest: does the probability of a class stand higher for its images than for all others? A class without
images has no area, a class without others no ROC area (NaN); averages are over the areas that exist.

An area is a mean over images, to which each image adds what its influence function says (for the ROC area that is
DeLong's method); the variance of these parts, between images or between groups, is that of the area. Its interval is
Wilson's for the number of images that this variance is worth. To steady it where hardly an image is misplaced, one
image of each side is added, half of it ranked first and half ranked last: no area collapses to a point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from cellnet.evaluation.clusters import Units, student
from cellnet.evaluation.intervals import NOT_AVAILABLE, Estimate, wilson

Floats = NDArray[np.float64]


def top_k_hits(probabilities: ArrayLike, targets: ArrayLike, k: int) -> NDArray[np.bool_]:
    """Which images have their true class among the ``k`` most probable ones.

    Args:
        probabilities: N×C, 0 to 1; of equal ones the first counts as the more probable, as in ``argmax``.
        targets: N true labels.
        k: At least 1.

    Example:
        >>> top_k_hits([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], [1, 0], k=2).tolist()
        [True, False]
    """
    values, labels = np.asarray(probabilities), np.asarray(targets)[:, None]
    true = np.take_along_axis(values, labels, 1)
    before = (values > true) | ((values == true) & (np.arange(values.shape[1]) < labels))
    return np.asarray(before.sum(1) < k)


def roc_areas(probabilities: ArrayLike, targets: ArrayLike) -> Floats:
    """Area under the ROC curve of each class against the rest, as scikit-learn computes it.

    Args:
        probabilities: N×C, 0 to 1.
        targets: N true labels.

    Returns:
        C areas; NaN where there is no image of the class, or none of the others.

    Example:
        >>> roc_areas([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.7, 0.3, 0]], [0, 0, 1]).tolist()
        [0.5, 0.5, nan]
    """
    return np.array(
        [roc_auc_score(own, p) if 0 < own.sum() < len(own) else np.nan for p, own in _rest(probabilities, targets)],
        np.float64,
    )


def average_precisions(probabilities: ArrayLike, targets: ArrayLike) -> Floats:
    """Average precision of each class against the rest, the area under its precision-recall curve, as scikit-learn's.

    Args:
        probabilities: N×C, 0 to 1.
        targets: N true labels.

    Returns:
        C areas; NaN where there is no image of the class.
    """
    return np.array(
        [
            min(average_precision_score(own, p), 1.0) if own.any() else np.nan  # the sum of its steps can exceed 1
            for p, own in _rest(probabilities, targets)
        ],
        np.float64,
    )


def _rest(probabilities: ArrayLike, targets: ArrayLike) -> list[tuple[Floats, NDArray[np.bool_]]]:
    """Of each class its probabilities, and which images are its own."""
    values, labels = np.asarray(probabilities, np.float64), np.asarray(targets)
    return [(column, labels == label) for label, column in enumerate(values.T)]


@dataclass(frozen=True, eq=False)
class Area:
    """An area with what its interval follows from.

    Args:
        value: The area.
        steadied: The area with the added images.
        variance: Its variance.
        parts: What each unit adds to the area beyond its mean.
        groups: Groups that hold images of the class; 0 where images are independent.
    """

    value: float
    steadied: float
    variance: float
    parts: Floats
    groups: int

    def estimate(self) -> Estimate:
        """The area with its interval."""
        worth = self.steadied * (1 - self.steadied) / self.variance
        worth *= student(self.groups) if self.groups else 1
        return wilson(self.value * float(worth), float(worth))


def estimate_roc_areas(probabilities: ArrayLike, targets: ArrayLike, units: Units) -> tuple[list[Estimate], Estimate]:
    """The `roc_areas` and their mean, with 95 % intervals.

    Args:
        probabilities: N×C, 0 to 1; N is at least 1.
        targets: N true labels.
        units: What of the N images is independent.

    Source: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837 (variance); Obuchowski 1997, Biometrics 53:567
    (clusters).
    """
    return _estimates(roc_areas(probabilities, targets), _roc_area, probabilities, targets, units)


def estimate_average_precisions(
    probabilities: ArrayLike, targets: ArrayLike, units: Units
) -> tuple[list[Estimate], Estimate]:
    """The `average_precisions` and their mean, with 95 % intervals.

    Args:
        probabilities: N×C, 0 to 1; N is at least 1.
        targets: N true labels.
        units: What of the N images is independent.

    Source: Boyd, Eng & Page 2013, ECML PKDD (binomial intervals for this area; here the images of the class count at
    most once each, and less where the variance is larger).
    """
    return _estimates(average_precisions(probabilities, targets), _precision_area, probabilities, targets, units)


def _estimates(
    values: Floats,
    area: Callable[[float, Floats, NDArray[np.bool_], Units], Area],
    probabilities: ArrayLike,
    targets: ArrayLike,
    units: Units,
) -> tuple[list[Estimate], Estimate]:
    """Intervals of the areas and of their mean, whose variance reckons with what they have in common."""
    rest = _rest(probabilities, targets)
    areas = [None if np.isnan(v) else area(float(v), *rest[label], units) for label, v in enumerate(values)]
    each = [NOT_AVAILABLE if area is None else area.estimate() for area in areas]
    known = [area for area in areas if area is not None]
    if not known:
        return each, NOT_AVAILABLE
    parts = np.stack([area.parts for area in known])
    length = np.sqrt((parts**2).sum(1))
    correlation = parts @ parts.T / np.maximum(np.outer(length, length), np.finfo(np.float64).tiny)
    # Areas that move against each other, as two classes' do, could leave their mean no variance at all.
    np.maximum(correlation, 0, out=correlation)
    np.fill_diagonal(correlation, 1)
    deviations = np.sqrt([area.variance for area in known]) / len(known)
    value, steadied = (float(np.mean([getattr(area, name) for area in known])) for name in ("value", "steadied"))
    groups = parts.shape[1] if units.grouped else 0
    return each, Area(value, steadied, float(deviations @ correlation @ deviations), parts, groups).estimate()


def _roc_area(value: float, p: Floats, own: NDArray[np.bool_], units: Units) -> Area:
    ranks = _Ranks.of(p, own)
    steadied, variance, parts = -value, 0.0, np.zeros(len(p))
    # Placements: of each image the share of the other side that it stands on the right side of.
    for side, placements in (
        (own, 1 - (ranks.others_above + ranks.others_down_to) / (2 * ranks.others)),
        (~own, (ranks.own_above + ranks.own_down_to) / (2 * ranks.own)),
    ):
        n = int(side.sum())
        mean = (n * value + 0.5) / (n + 1)
        parts[side] = (placements[side] - value) / np.sqrt(n * (n + 1))
        steadied += mean
        variance += (n * (value - mean) ** 2 + 0.5 * (1 - mean) ** 2 + 0.5 * mean**2) / (n * (n + 1))
    return _area(value, steadied, variance, parts, own, units)


def _precision_area(value: float, p: Floats, own: NDArray[np.bool_], units: Units) -> Area:
    ranks = _Ranks.of(p, own)
    down_to = ranks.own_down_to + ranks.others_down_to
    precision = ranks.own_down_to / down_to
    # An image of the class adds its own precision, and more to that of all that stand below; another takes from it.
    gained = ranks.sum_below(own * ranks.others_down_to / down_to**2)
    lost = ranks.sum_below(own * ranks.own_down_to / down_to**2)
    n = ranks.own
    parts = np.where(own, precision - value + gained, -lost) / np.sqrt(n * (n + 1))
    last = n / (len(p) + 1)  # precision of an image of the class that is ranked last, behind one more of the others
    steadied = (n * value + 0.5 + 0.5 * last) / (n + 1)
    added = 0.5 * ((1 - steadied) ** 2 + (last - steadied) ** 2) / (n + 1) ** 2
    area = _area(value, steadied, added, parts, own, units)
    return Area(value, steadied, max(area.variance, steadied * (1 - steadied) / n), area.parts, area.groups)


def _area(value: float, steadied: float, variance: float, parts: Floats, own: NDArray[np.bool_], units: Units) -> Area:
    """The variance of the added images and of the parts together."""
    sums = units.sums(parts)
    groups = int((units.sums(own) > 0).sum()) if units.grouped else 0
    between = float((sums**2).sum()) * (len(sums) / (len(sums) - 1) if units.grouped else 1)
    return Area(value, steadied, variance + between, sums, groups)


@dataclass(frozen=True, eq=False)
class _Ranks:
    """For each image, how many of the class and of the others stand above it, and down to it, equals included."""

    own: int
    others: int
    own_above: Floats
    others_above: Floats
    own_down_to: Floats
    others_down_to: Floats
    order: NDArray[np.int64]
    first: NDArray[np.int64]

    @classmethod
    def of(cls, p: Floats, own: NDArray[np.bool_]) -> _Ranks:
        order = np.argsort(-p, kind="stable")
        edges = np.flatnonzero(np.diff(p[order], prepend=np.inf))  # where images of one probability begin
        sizes = np.diff(edges, append=len(p))
        counts = np.concatenate([[0], np.cumsum(own[order])])

        def spread(found: NDArray[np.int64]) -> Floats:
            result = np.empty(len(p))
            result[order] = np.repeat(found, sizes)
            return result

        own_above, own_down_to = spread(counts[edges]), spread(counts[edges + sizes])
        above, down_to = spread(edges), spread(edges + sizes)
        return cls(
            int(own.sum()), int((~own).sum()), own_above, above - own_above, own_down_to, down_to - own_down_to,
            order, np.repeat(edges, sizes),
        )  # fmt: skip

    def sum_below(self, values: Floats) -> Floats:
        """For each image, the sum of ``values`` over all images that do not stand above it."""
        from_here = np.cumsum(values[self.order][::-1])[::-1]
        result = np.empty(len(values))
        result[self.order] = from_here[self.first]
        return result
