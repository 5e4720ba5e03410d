"""How well a model does on images that share something beside their class: a stain, a source, a feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from cellnet.errors import DataError
from cellnet.evaluation.clusters import Units, wilson_of_groups
from cellnet.evaluation.figures import Scored
from cellnet.evaluation.intervals import Estimate, wilson
from cellnet.inference.table import is_known

if TYPE_CHECKING:
    from cellnet.inference import Predictions

FEW = 10
"""A subgroup of fewer images is shown, and said to be small: its interval spans a quarter of all there is, or more."""

MOST = 50
"""Values that one subgroup may take; more are a number that wants to be cut into ranges, or a name of each image."""

NOT_KNOWN = "not known"
"""The subgroup of the images without a value."""


class SubgroupFigures(TypedDict):
    """The figures of one subgroup.

    ``groups`` is the number of donors, slides or photographs behind its ``n`` images, which the interval takes account
    of (a single one tells nothing of others: the interval then holds for it alone); None where no groups are known.
    ``few`` says that the images are too few to say much.
    """

    n: int
    groups: int | None
    wrong: int
    accuracy: Estimate
    few: bool


def score_subgroups(
    predictions: Predictions, subgroups: Mapping[str, Sequence[Any]]
) -> dict[str, dict[str, SubgroupFigures]]:
    """The accuracy of each subgroup, with its interval.

    Args:
        predictions: N rows with targets; those with an error are not scored.
        subgroups: What tells the images apart -> its value for each row, by position; None, NaN, NA and ``""`` are "not
            known".

    Returns:
        What tells the images apart -> value, as text and in order -> figures. "Not known" comes last.

    Raises:
        DataError: Not one value a row, or more than `MOST` different ones.

    Example:
        >>> from cellnet.inference import Predictions
        >>> from cellnet.labels import LabelSchema
        >>> schema = LabelSchema.from_names(["lymphocyte", "monocyte"])
        >>> preds = Predictions(list("abcd"), schema, [[0.9, 0.1]] * 4, targets=[0, 0, 0, 1])
        >>> found = score_subgroups(preds, {"stain": ["MGG", "MGG", "Wright", "Wright"]})
        >>> print(found["stain"]["Wright"]["accuracy"])
        50.00 % [9.45–90.55]
    """
    scored, rows = Scored.of(predictions), np.flatnonzero(predictions.readable)
    return {name: _score(scored, rows, name, values, len(predictions)) for name, values in subgroups.items()}


def _score(
    scored: Scored, rows: NDArray[np.int64], name: str, values: Sequence[Any], n: int
) -> dict[str, SubgroupFigures]:
    values = list(values)  # a pandas Series would be read by its labels, not by position
    if len(values) != n:
        raise DataError(f"The subgroup {name!r} has {len(values)} values for {n} images; give one an image.")
    texts = np.array([_text(values[row]) for row in rows])
    kinds = sorted(set(texts.tolist()) - {NOT_KNOWN})
    if len(kinds) > MOST:
        raise DataError(
            f"The subgroup {name!r} has {len(kinds)} different values, such as {kinds[0]!r} and {kinds[1]!r}; at most "
            f"{MOST} make a table. Cut numbers into ranges first."
        )
    return {kind: _figures(scored, texts == kind) for kind in (*kinds, NOT_KNOWN) if (texts == kind).any()}


def _text(value: Any) -> str:
    return str(value) if is_known(value) and value != "" else NOT_KNOWN


def _figures(scored: Scored, chosen: NDArray[np.bool_]) -> SubgroupFigures:
    right = (scored.called == scored.targets)[chosen]
    groups = (
        None if scored.groups is None else [group for group, take in zip(scored.groups, chosen, strict=True) if take]
    )
    units = Units.of(groups, len(right))
    hits, n = int(right.sum()), len(right)
    return SubgroupFigures(
        n=n,
        groups=None if groups is None else len(set(groups) - {None}) + groups.count(None),
        wrong=n - hits,
        accuracy=wilson_of_groups(units.sums(right), units.sizes) if units.grouped else wilson(hits, n),
        few=n < FEW,
    )
