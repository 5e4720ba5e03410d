"""The audit itself: one pass over the images, then one question after the other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from scipy.cluster.hierarchy import DisjointSet
from threadpoolctl import threadpool_limits
from torch import Tensor

from cellnet.datasets import splits
from cellnet.datasets.audit.drift import measure_drift
from cellnet.datasets.audit.duplicates import identical_pairs, near_pairs
from cellnet.datasets.audit.files import image_sizes, stray_files
from cellnet.datasets.audit.frame import probe_frame
from cellnet.datasets.audit.report import Audit, Pair, Unreadable
from cellnet.datasets.audit.scan import Scan, scan
from cellnet.datasets.base import CellDataset
from cellnet.errors import ConfigError, DataError, LabelError


def audit(*parts: CellDataset, near: bool = True, progress: bool = False) -> Audit:
    """Look for what makes figures too good: shared images, wrong files, and signals beside the cell.

    Finds identical files, the same cell stored or photographed twice (shifted, cropped, of another size, compression
    or brightness), images of two cells of one field, one cell with two labels, unreadable and stray files, odd
    sizes, class signal in the outer frame, and differences between the parts. Groups that the parts know (donors,
    slides) and that stand in two of them are leaks too; the same value is the same group in every part.

    Each image is decoded once, in threads, and those that may be of one spot again; files are read once more for
    their hash. Of each image, some 5 kB are kept. The time for near-identical images grows
    with the square of their number: on two cores, seconds for 10,000 and about half an hour for 100,000.

    Args:
        *parts: The parts of a split, or one whole data set; all with the same labels.
        near: Also look for pairs that are not identical.
        progress: Show progress bars on standard error.

    Raises:
        ConfigError: No part is given.
        DataError: Something that is not a data set, or a part without a readable image.
        LabelError: Parts with different labels.

    Example:
        >>> from cellnet.datasets import SyntheticCells
        >>> cells = SyntheticCells(per_class=4, image_size=48)
        >>> train, test = cells.split((0.5, 0.5))
        >>> found = audit(train, test)
        >>> found.ok, found.pairs
        (True, ())
        >>> audit(train, train.subset([0, 1], part="test")).leaks[0].kind
        'identical'
    """
    names = _check(parts)
    seen = scan(parts, progress)
    for index, name in enumerate(names):
        if not (seen.part[seen.readable] == index).any():
            reason = next(iter(seen.error.values()), "it has none")
            raise DataError(f"The part {name!r} has no image that can be read: {reason}")
    # One core a product: there are many small ones, which wait for each other if several cores share each.
    with threadpool_limits(1):
        return _judge(parts, names, seen, near, progress)


def _judge(parts: Sequence[CellDataset], names: Sequence[str], seen: Scan, near: bool, progress: bool) -> Audit:
    pairs = _pairs(parts, names, seen, near, progress)
    units = DisjointSet(range(len(seen.file)))
    for pair in pairs:
        units.merge(*pair.indices)
    unit = splits.connect([units[index] for index in range(len(seen.file))], _groups(parts))
    good = seen.readable
    title = parts[0].card.title if parts[0].card else type(parts[0]).__name__
    return Audit(
        title=title,
        images={name: len(part) for name, part in zip(names, parts, strict=True)},
        pairs=pairs,
        unreadable=tuple(Unreadable(seen.file[i], names[seen.part[i]], words) for i, words in seen.error.items()),
        stray=stray_files(seen.file),
        sizes=image_sizes(seen.size[good], [seen.file[i] for i in good]),
        shares={name: part.class_counts() for name, part in zip(names, parts, strict=True)},
        frame_probe=probe_frame(seen.frame[good], seen.target[good], unit[good]),
        drift=measure_drift(names, parts[0].labels.names, seen.part[good], seen.target[good], seen.look[good]),
        near=near,
        together={str(seen.content[i]): int(unit[i]) for pair in pairs for i in pair.indices},
        picture=_pictures(parts),
    )


def _check(parts: Sequence[CellDataset]) -> list[str]:
    """Names of the parts, all different."""
    if not parts:
        raise ConfigError("There is nothing to audit; give a data set, or its parts: audit(train, val, test).")
    for part in parts:
        if not isinstance(part, CellDataset):
            raise DataError(
                f"Cannot audit {type(part).__name__}; give data sets such as cellnet.load_dataset makes, "
                "each as an argument of its own: audit(train, val, test)."
            )
        if part.labels.hash != parts[0].labels.hash:
            raise LabelError(
                f"The parts have different labels, {parts[0].labels.name!r} and {part.labels.name!r}; "
                "bring them to the same by part.harmonise(schema)."
            )
    names = [part.part or f"part {number}" for number, part in enumerate(parts, 1)]
    twice = Counter(names)
    names = [f"{name} {number}" if twice[name] > 1 else name for number, name in enumerate(names, 1)]
    for name, part in zip(names, parts, strict=True):
        if not len(part):
            raise DataError(f"The part {name!r} has no images; leave it out, or check how it was made.")
    return names


def _pairs(
    parts: Sequence[CellDataset], names: Sequence[str], seen: Scan, near: bool, progress: bool
) -> tuple[Pair, ...]:
    classes, picture = parts[0].labels.names, _pictures(parts)

    def pair(
        one: int, other: int, kind: str, correlation: float = 1.0, shift: tuple[int, int] = (0, 0), group: str = ""
    ) -> Pair:
        return Pair(
            file_a=seen.file[one],
            file_b=seen.file[other],
            part_a=names[seen.part[one]],
            part_b=names[seen.part[other]],
            label_a=classes[seen.target[one]],
            label_b=classes[seen.target[other]],
            kind=kind,
            correlation=round(correlation, 4),
            shift=shift,
            indices=(one, other),
            group=group,
        )

    identical = identical_pairs(seen.content)
    found = [pair(one, other, "identical") for one, other in identical]
    if near:
        once = np.setdiff1d(seen.readable, [other for _, other in identical])
        for match in near_pairs(seen.picture[once], seen.size[once], lambda i: picture(int(once[i])), progress):
            kind = "near" if match.same_cell else "overlap"
            match = match if match.first < match.second else match.reversed()  # in the order of the parts
            one, other = int(once[match.first]), int(once[match.second])
            down, right = (round(s * side) for s, side in zip(match.shift, seen.size[other].tolist(), strict=True))
            found.append(pair(one, other, kind, match.correlation, (down, right)))
    groups = _groups(parts)
    first: dict[Hashable, dict[int, int]] = defaultdict(dict)  # group -> part -> its first image there
    for index in seen.readable.tolist():
        if groups[index] is not None:
            first[groups[index]].setdefault(int(seen.part[index]), index)
    for group, (one, *others) in ((group, places.values()) for group, places in first.items()):
        found += [pair(one, other, "group", 0.0, group=str(group)) for other in others]
    return tuple(found)


def _groups(parts: Sequence[CellDataset]) -> list[Hashable | None]:
    """The group of each image, the parts one after the other."""
    return [group for part in parts for group in ([None] * len(part) if part.groups is None else part.groups.tolist())]


def _pictures(parts: Sequence[CellDataset]) -> Callable[[int], Tensor]:
    """The image of an index among all parts."""
    starts = np.cumsum([0, *(len(part) for part in parts)])

    def picture(index: int) -> Tensor:
        part = int(np.searchsorted(starts, index, side="right")) - 1
        return parts[part].image(index - int(starts[part]))

    return picture
