"""A data set with mixtures of its images added: what each is made of, and what belongs together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cellnet.balancing.mixing import ImageMixtures, hash_mixture
from cellnet.datasets import CellDataset
from cellnet.datasets.sources import JoinedImages, PreparedImages
from cellnet.datasets.splits import connect
from cellnet.errors import DataError
from cellnet.images import Preprocess

Cells = TypeVar("Cells", bound=CellDataset)


@dataclass(frozen=True)
class Triples:
    """Mixtures as they are drawn, M of them.

    Args:
        base: int64 M, the row of the first image.
        other: int64 M, the row of the second one, of the same class.
        share: float64 M, how much the mixture has of the second, 0-1.
    """

    base: NDArray[np.int64]
    other: NDArray[np.int64]
    share: NDArray[np.float64]


@dataclass(frozen=True)
class Parents:
    """What a synthetic image was made of.

    Args:
        base: Name of the first image.
        other: Name of the second one.
        share: How much of the second there is in it, 0-1.
        groups: The groups of the two; None where they are not known.
    """

    base: str
    other: str
    share: float
    groups: tuple[Any, Any]


def parents(dataset: CellDataset) -> list[Parents | None]:
    """The parents of each image; None for one that is not synthetic, or whose sampler does not tell.

    Example:
        >>> from cellnet.balancing import SMOTE
        >>> from cellnet.datasets import SyntheticCells
        >>> cells = SyntheticCells(per_class=4, image_size=16).subset(range(30))
        >>> balanced = SMOTE(k_neighbors=1, random_state=0).resample(cells)
        >>> len(balanced), parents(balanced)[0], parents(balanced)[-1].base == cells.files[29]
        (32, None, True)
    """
    known: list[Parents | None] | None = getattr(dataset, "_parents", None)
    return [None] * len(dataset) if known is None else list(known)


def check_part(dataset: CellDataset) -> None:
    """Refuse parts on which a model is judged.

    Raises:
        DataError: It is one.
    """
    if dataset.part in ("val", "test"):
        raise DataError(
            f"The {dataset.part!r} part is not to be balanced: a model is judged on images as they come; "
            "balance the 'train' part alone."
        )


def prepared(dataset: Cells, preprocess: Preprocess | None) -> Cells:
    """The same data set with its images preprocessed when they are asked for."""
    if preprocess is None:
        return dataset
    changed = dataset.subset(np.arange(len(dataset)))
    changed._source = PreparedImages(dataset._source, preprocess)
    return changed


def with_mixtures(dataset: Cells, triples: Triples) -> Cells:
    """The data set followed by mixtures of its images, which are made when they are asked for.

    Args:
        dataset: Images of one size.
        triples: Rows of the data set, and shares.

    Returns:
        A part ``"train"``. A mixture has the class and all columns of its first image, a name and a content hash
        made of those of both, and its `parents`. Images that went into one mixture have one group, and the mixture
        has it too; see `families`.
    """
    base, other = triples.base, triples.other
    made = dataset.subset(np.concatenate([np.arange(len(dataset)), base]), "train")
    source = dataset._source
    mixtures = ImageMixtures(source, dataset._rows[base], dataset._rows[other], triples.share)
    made._source = JoinedImages(source, mixtures)
    made._rows = np.concatenate([dataset._rows, len(source) + np.arange(len(base))])
    drawn = list(zip(base.tolist(), other.tolist(), triples.share.tolist(), strict=True))
    files, hashes = dataset.files, dataset._hashes
    made.files = files + [_name(files[i], files[j], share) for i, j, share in drawn]
    if hashes is not None:
        made._hashes = hashes + [hash_mixture(hashes[i], hashes[j], share) for i, j, share in drawn]
    groups = [None] * len(dataset) if dataset.groups is None else dataset.groups.tolist()
    bred = [Parents(files[i], files[j], share, (groups[i], groups[j])) for i, j, share in drawn]
    made.groups = families(groups, base, other)
    if (parts := dataset.parts) is not None:  # no mixture in a part on which a model is judged
        made.parts = parts + ["train" if parts[i] == parts[j] == "train" else None for i, j, _ in drawn]
    add_parents(made, [*parents(dataset), *bred])
    return made


def add_parents(dataset: CellDataset, known: Sequence[Parents | None]) -> None:
    """Give a data set the column of parents, which every choice of its images keeps."""
    names = (*(name for name in dataset._columns if name != "_parents"), "_parents")
    vars(dataset).update(_columns=names, _parents=list(known))


def families(groups: Sequence[Hashable | None], base: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """One group for all images that are related: by a group they had, or as parent and child, also in a chain.

    So a set that is split after it was balanced has no parent apart from its child.

    Args:
        groups: Of the N images, None where not known.
        base: Row of the first parent of each of M further images.
        other: Row of the second.

    Returns:
        int64 N + M.

    Example:
        >>> families([None, None, None, "x", "x"], np.array([0]), np.array([2])).tolist()
        [0, 1, 0, 3, 3, 0]
    """
    itself, unknown = list(range(len(groups))), [None] * len(base)
    # An image's own number stands for it; a column each ties the children to it.
    return connect([*groups, *unknown], itself + base.tolist(), itself + other.tolist())


def _name(base: str, other: str, share: float) -> str:
    """Beside the first parent: ``folder/a+0.25(b).jpg``."""
    path = PurePath(base)
    return str(path.with_name(f"{path.stem}+{share:.4f}({PurePath(other).stem}){path.suffix}"))
