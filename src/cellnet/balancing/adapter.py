"""Any sampler on a data set: cellnet's own, and those of imbalanced-learn as they are."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from imblearn.utils import check_sampling_strategy
from numpy.typing import NDArray
from sklearn.base import clone

from cellnet.balancing.memory import check_memory
from cellnet.balancing.mixtures import add_parents, check_part, parents, prepared
from cellnet.balancing.smote import SMOTE
from cellnet.balancing.strategy import by_label
from cellnet.datasets import CellDataset
from cellnet.datasets.sources import ChosenImages, ImageArray, JoinedImages
from cellnet.datasets.splits import connect
from cellnet.errors import ConfigError
from cellnet.images import Preprocess

_BLOCK = 64  # images that are turned into numbers, or back, at a time


def balance(
    dataset: CellDataset, sampler: Any, preprocess: Preprocess | None = None, seed: int | None = None
) -> CellDataset:
    """Balance the training part of a data set.

    A sampler that repeats or leaves out images, such as ``RandomOverSampler`` or ``NearMiss``, costs no memory: its
    choice is a subset. One that makes images, such as ``ADASYN`` or ``BorderlineSMOTE``, works on all pixels at once
    as float32 and holds what it makes; `SMOTE` and `EmbeddingSMOTE` do neither.

    Args:
        dataset: Images of one size, or ``preprocess`` to bring them to one; not a ``val`` or ``test`` part.
        sampler: `SMOTE`, `EmbeddingSMOTE`, or a sampler of imbalanced-learn. Its settings are used and it is left as
            it is; a dict as ``sampling_strategy`` may have class names or labels.
        preprocess: Applied to each image first, so that all images of the result have gone through it.
        seed: Takes the place of a ``random_state`` that is None, so that the processes of a training, and the same
            training continued, draw alike.

    Returns:
        A part ``"train"``. Images that a sampler made of unknown ones share a group with all of their class.

    Raises:
        ConfigError: No sampler, or one that cannot balance these data.
        DataError: A ``val`` or ``test`` part, images of several sizes, or what does not fit into memory; the message
            has the figure.
        ImageError: A file cannot be read; the message names it.

    Example:
        >>> from imblearn.under_sampling import RandomUnderSampler
        >>> from cellnet.datasets import SyntheticCells
        >>> cells = SyntheticCells(per_class=6, image_size=32).subset(range(46))
        >>> balance(cells, RandomUnderSampler(random_state=0))
        SyntheticCells(32 images, 8 classes, part 'train')
    """
    check_part(dataset)
    if isinstance(sampler, type) or not hasattr(sampler, "fit_resample"):
        raise ConfigError(
            f"Cannot balance by {sampler!r}, which is no sampler; give e.g. cellnet.SMOTE(), or an object of "
            "imbalanced-learn such as RandomOverSampler()."
        )
    if isinstance(sampler, SMOTE):
        lazy: SMOTE = _seeded(copy.copy(sampler), seed)
        return lazy.resample(dataset, preprocess)
    images, own = prepared(dataset, preprocess), _seeded(clone(sampler, safe=False), seed)
    strategy = getattr(own, "sampling_strategy", None)
    if isinstance(strategy, Mapping):
        own.set_params(sampling_strategy=by_label(strategy, dataset.labels))
    if _is_blind(own):
        numbers = np.arange(len(dataset))[:, None]
        _fit_resample(own, numbers, dataset.targets)
        return images.subset(own.sample_indices_, "train")

    pixels, known = _as_floats(images, own)
    rows, targets = _fit_resample(own, pixels, dataset.targets)
    if hasattr(own, "sample_indices_") and not _adds_noise(own):
        return images.subset(own.sample_indices_, "train")
    return _as_dataset(images, rows, targets, known, type(own).__name__)


def _seeded(sampler: Any, seed: int | None) -> Any:
    """The sampler with each random_state that is None replaced, in samplers that it is made of too."""
    if seed is not None and hasattr(sampler, "get_params"):
        given = sampler.get_params().items()
        sampler.set_params(**{name: seed for name, value in given if name.endswith("random_state") and value is None})
    return sampler


def _is_blind(sampler: Any) -> bool:
    """Whether a sampler chooses without a look at the pixels: it then takes anything, even text that is missing."""
    tags = sampler.__sklearn_tags__() if hasattr(sampler, "__sklearn_tags__") else None
    kind, given = getattr(tags, "sampler_tags", None), getattr(tags, "input_tags", None)
    chooses = getattr(kind, "sample_indices", False) and getattr(given, "allow_nan", False)
    return bool(chooses) and getattr(given, "string", False) and not _adds_noise(sampler)


def _adds_noise(sampler: Any) -> bool:
    """Whether a ``RandomOverSampler`` moves the images that it repeats."""
    return getattr(sampler, "shrinkage", None) is not None


def _fit_resample(sampler: Any, rows: NDArray[Any], targets: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """What a sampler makes of rows and labels.

    Raises:
        ConfigError: It raised an error of its own.
    """
    try:
        new, labels = sampler.fit_resample(rows, targets)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{type(sampler).__name__} cannot balance this data set: {error}") from error
    return new, labels


def _as_floats(images: CellDataset, sampler: Any) -> tuple[NDArray[np.float32], dict[bytes, int]]:
    """All pixels as float32 N×F, for which samplers do not wrap around, and the row of each picture of a class.

    Raises:
        DataError: They do not fit into memory, with what the sampler will need.
    """
    count, values = len(images), images.batch([0])[0].numel()
    total = count
    if getattr(sampler, "_sampling_type", "over-sampling") == "over-sampling":
        try:
            total += sum(check_sampling_strategy(sampler.sampling_strategy, images.targets, "over-sampling").values())
        except (AttributeError, ValueError, TypeError):  # a sampler of another kind, or one that will say so itself
            total = int(np.bincount(images.targets).max() * np.count_nonzero(np.bincount(images.targets)))
    name = type(sampler).__name__
    check_memory(
        3 * 4 * values * total,  # imbalanced-learn's peak was measured as 2.7 times the result
        f"{name} on {count:,} images of {values:,} values, up to {total:,} as float32,",
        "use cellnet.SMOTE or RandomOverSampler, which hold no pixels, or smaller images",
    )
    pixels, known = np.empty((count, values), np.float32), dict[bytes, int]()
    for start in range(0, count, _BLOCK):
        some, labels = images.batch(np.arange(start, min(start + _BLOCK, count)))
        block = some.contiguous().flatten(1).numpy()
        pixels[start : start + len(block)] = block
        for row, (picture, label) in enumerate(zip(block, labels.tolist(), strict=True), start):
            known.setdefault(_digest(picture, label), row)
    return pixels, known


def _as_dataset(
    images: CellDataset, rows: NDArray[Any], targets: NDArray[np.int64], known: dict[bytes, int], name: str
) -> CellDataset:
    """A data set of the rows that a sampler gave back: images that were there, found by their pixels, and new ones."""
    shape, names = images.image(0).shape, images.labels.names
    places, made, born = list[int](), list[NDArray[np.uint8]](), list[int]()
    for row, label in zip(rows, targets.tolist(), strict=True):
        picture = np.rint(row).clip(0, 255).astype(np.uint8)
        places.append(known.get(_digest(picture, label), len(images) + len(made)))
        if places[-1] == len(images) + len(made):
            made.append(picture.reshape(shape))
            born.append(label)
    new = ImageArray(torch.from_numpy(np.stack(made) if made else np.zeros((0, *shape), np.uint8)))
    unknown, everyone = [None] * len(new), [*images.targets.tolist(), *born]
    groups = [None] * len(images) if images.groups is None else images.groups.tolist()
    # Nobody knows the parents: any image of the class may be one.
    bred = set(born)
    related = [label if label in bred else None for label in everyone]
    whole = CellDataset(
        images.files + [f"{names[label]}/{name}_{number:06d}" for number, label in enumerate(born)],
        everyone,
        images.labels,
        images=JoinedImages(ChosenImages(images._source, images._rows), new),
        groups=connect([*groups, *unknown], related),
        parts=None if images.parts is None else [*images.parts, *unknown],
        transform=images.transform,
        card=images.card,
    )
    if images._hashes is not None:
        whole._hashes = images._hashes + new.hashes(np.arange(len(new)))
    add_parents(whole, [*parents(images), *unknown])
    return whole.subset(places, "train")


def _digest(picture: NDArray[np.uint8], label: int) -> bytes:
    """What tells a picture of a class from all others."""
    return hashlib.sha256(picture.tobytes() + label.to_bytes(8)).digest()
