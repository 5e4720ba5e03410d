"""Dividing images into parts: stratified by class, reproducible, and with related images never apart.

Pure functions on arrays. A *unit* is the smallest thing that moves as a whole: one image, or all images of
one donor, or all copies of one picture.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellnet.datasets.columns import check_groups
from cellnet.errors import ConfigError, DataError

Indices = NDArray[np.int64]


def connect(*columns: Sequence[Hashable | None]) -> Indices:
    """Unit of each image when images that agree in any column belong together, also in a chain.

    Args:
        columns: Columns of equal length N, e.g. donors and content hashes; None stands for "not known" and
            ties an image to no other.

    Returns:
        The unit of each image, named by the index of its first image.

    Example:
        >>> connect(["ana", "ana", None, None], ["#1", "#2", "#2", "#3"]).tolist()
        [0, 0, 0, 3]
    """
    parent = list(range(len(columns[0])))

    def root(image: int) -> int:
        while parent[image] != image:
            parent[image] = image = parent[parent[image]]
        return image

    for column in columns:
        first: dict[Hashable, int] = {}
        for image, value in enumerate(column):
            if value is not None:
                one, other = root(first.setdefault(value, image)), root(image)
                parent[max(one, other)] = min(one, other)
    return np.array([root(image) for image in range(len(parent))], np.int64)


def stratified(
    targets: ArrayLike,
    groups: ArrayLike | None,
    fractions: Iterable[float],
    seed: int = 0,
    *,
    names: Sequence[str] | None = None,
) -> list[Indices]:
    """Divide images into parts of the given sizes that all have the same class proportions.

    Units go one after the other, largest first, to the part that lacks their classes most; every class
    reaches every part, if need be by a unit that is moved in the end. If each unit is one image, a part's number
    of images of a class is within 1 of its exact share, unless that share is below one image somewhere. The same
    arguments give the same parts on every machine.

    Args:
        targets: N integer labels.
        groups: N values; images with equal values are one unit, those of an unknown value (see `check_groups`) each
            one of its own. None: each image is a unit.
        fractions: Share of each part; above 0, with sum 1.
        seed: Seed of the shuffle.
        names: Class names for error messages.

    Returns:
        One array of ascending indices a part; together they hold every image once.

    Raises:
        ConfigError: Fractions or seed that cannot be used.
        DataError: Groups that cannot be used; or a class has fewer units than there are parts, or does not reach
            one of them since its units hold other classes too.

    Example:
        >>> train, test = stratified([0, 0, 0, 0, 1, 1], None, (0.5, 0.5))
        >>> len(train), len(test)
        (3, 3)
    """
    shares = _checked_fractions(fractions)
    labels = np.asarray(targets, np.int64)
    if not len(labels):
        raise DataError("There are no images to divide; check how the data set was made.")
    classes, labels = np.unique(labels, return_inverse=True)
    keys = np.arange(len(labels)) if groups is None else connect(check_groups(groups).tolist())
    if len(keys) != len(labels):
        raise DataError(f"There are {len(labels)} targets but {len(keys)} groups; give one group an image.")
    units = np.unique(keys, return_inverse=True)[1]
    counts = np.zeros((units.max() + 1, len(classes)), np.int64)
    np.add.at(counts, (units, labels), 1)

    words = [names[label] if names is not None else f"label {label}" for label in classes]
    for name, available in zip(words, (counts > 0).sum(axis=0), strict=True):
        if available < len(shares):
            raise DataError(
                f"The class {name!r} has {available} independent image(s), too few for {len(shares)} parts "
                "(identical or grouped images count once); use fewer parts, add images or drop the class."
            )
    order = _shuffle(len(counts), seed)
    part_of_unit = _assign(counts, shares, order)
    _reach_all(part_of_unit, counts, len(shares), order, words)
    return [np.flatnonzero(part_of_unit[units] == part) for part in range(len(shares))]


def k_fold(
    targets: ArrayLike,
    groups: ArrayLike | None,
    k: int,
    seed: int = 0,
    *,
    names: Sequence[str] | None = None,
) -> list[Indices]:
    """Divide images into ``k`` equal parts with the same class proportions, see `stratified`.

    Returns:
        ``k`` arrays of ascending indices: fold i is what the i-th model of a cross-validation is judged on.

    Raises:
        ConfigError: ``k`` is not an integer of at least 2.
        DataError: A class has fewer units than ``k``.
    """
    if not isinstance(k, (int, np.integer)) or k < 2:
        raise ConfigError(f"A cross-validation needs at least 2 folds, not {k!r}; k=5 and k=10 are usual.")
    return stratified(targets, groups, [1 / k] * k, seed, names=names)


def _checked_fractions(fractions: Iterable[float]) -> NDArray[np.float64]:
    try:
        shares = np.array([float(f) for f in fractions])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Not fractions: {fractions!r}; give numbers such as (0.7, 0.1, 0.2).") from error
    text = ", ".join(f"{share:g}" for share in shares)
    if not (shares > 0).all():
        raise ConfigError(f"The fractions ({text}) must all be above 0; give shares such as (0.7, 0.1, 0.2).")
    if not math.isclose(shares.sum(), 1, abs_tol=1e-6):
        raise ConfigError(
            f"The fractions ({text}) add up to {shares.sum():g} instead of 1; give shares such as (0.7, 0.1, 0.2)."
        )
    return shares


def check_seed(seed: int) -> int:
    """A seed as a plain integer.

    Raises:
        ConfigError: It is not an integer of at least 0.
    """
    try:
        whole = operator.index(seed)
    except TypeError:
        whole = -1
    if whole < 0:
        raise ConfigError(f"The seed {seed!r} is not an integer of at least 0; use seed=0.")
    return whole


def _shuffle(size: int, seed: int) -> Indices:
    """A seeded permutation from the raw bit stream, which NumPy keeps the same in every version (NEP 19)."""
    return np.argsort(np.random.PCG64(check_seed(seed)).random_raw(size), kind="stable")


def _misfit(images: dict[int, int], lacking: list[float], totals: list[int]) -> tuple[float, float]:
    """How badly a unit's images fit a part that lacks so many of each class; the lowest fits best.

    The change of the squared deviation from the wanted counts, relative to the class: for one image lowest
    where its class is lacked most. Rounded, so that ties are ties; the part that lacks most in all wins them.
    """
    change = sum(n * (n - 2 * lacking[label]) / totals[label] for label, n in images.items())
    return round(change, 9), -round(sum(lacking), 6)


def _assign(counts: Indices, shares: NDArray[np.float64], order: Indices) -> Indices:
    """Part of each unit, by greedy choice.

    Args:
        counts: Images of each class (columns) in each unit (rows).
        shares: Share of each part.
        order: Order of the units among those of equal size.
    """
    totals = counts.sum(axis=0).tolist()
    lacking = [[share * total for total in totals] for share in shares.tolist()]  # part × class, in images
    reached: list[set[int]] = [set() for _ in totals]  # the parts that hold the class
    units_left = (counts > 0).sum(axis=0).tolist()
    parts = np.zeros(len(counts), np.int64)
    for unit in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        images = {label: size for label, size in enumerate(counts[unit].tolist()) if size}
        allowed = list(range(len(shares)))
        for label in images:
            waiting = [part for part in allowed if part not in reached[label]]
            # The last units of a class are kept for the parts that have none of it.
            if waiting and units_left[label] <= len(shares) - len(reached[label]):
                allowed = waiting
        part = min(allowed, key=lambda part: _misfit(images, lacking[part], totals))
        parts[unit] = part
        for label, size in images.items():
            lacking[part][label] -= size
            reached[label].add(part)
            units_left[label] -= 1
    return parts


def _reach_all(parts: Indices, counts: Indices, number: int, order: Indices, names: Sequence[str]) -> None:
    """Bring each class to each part, in place: units of several classes may have left one without.

    Args:
        parts: Part of each unit.
        counts: See `_assign`.
        number: Number of parts.
        order: See `_assign`.
        names: Names of the classes.

    Raises:
        DataError: No unit of a class can move to a part that lacks it without leaving another part without a class.
    """
    has = counts > 0
    smallest = order[np.argsort(counts[order].sum(axis=1), kind="stable")]
    for part, label in np.ndindex(number, len(names)):
        held = np.array([has[parts == other].sum(axis=0) for other in range(number)])
        if held[part, label]:
            continue
        spare = has[:, label] & ((held[parts] > 1) | ~has).all(axis=1)
        if not spare.any():
            raise DataError(
                f"The class {names[label]!r} does not reach part {part + 1} of {number}: its groups hold other classes "
                "that cannot be missed where they are; use another seed or fewer parts, or drop the class."
            )
        parts[smallest[spare[smallest]][0]] = part
