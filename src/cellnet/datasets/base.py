"""The one data set class: images, labels and what is known of each image, sliced together."""

from __future__ import annotations

import copy
import hashlib
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset

from cellnet.cards import DatasetCard
from cellnet.datasets import columns, display, splits
from cellnet.datasets.columns import PARTS
from cellnet.datasets.sources import ImageArray, ImageFiles, ImageSource
from cellnet.errors import ConfigError, DataError
from cellnet.images import Preprocess
from cellnet.labels import LabelSchema, harmonise
from cellnet.registry import check_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CellDataset(Dataset[tuple[Any, int]]):
    """Labelled images of single cells: ``ds[i] -> (image, label)``.

    Images come from files, decoded when they are asked for, from one array in memory, or from another source.
    Every column has one entry an image; methods that choose or change images return a new data set and leave
    this one alone.

    Args:
        files: Image files, N of them; with ``images`` only their names. None: the images are numbered.
        targets: N integer labels, 0 … number of classes - 1.
        labels: What the labels mean.
        images: N×3×H×W uint8, or an `ImageSource` of N images, instead of reading ``files``.
        groups: N values that say which images belong together (donor, slide); such images stay in one part of
            a split. None, as a whole or for single images, where it is not known; NaN and ``""`` say the same.
        parts: The part (``"train"``, ``"val"``, ``"test"``) that the publisher put each image in, or None; see
            `official_split`.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        part: ``"train"``, ``"val"``, ``"test"`` or None; kept by every further choice of images.
        card: Where the data come from.

    Raises:
        DataError: Columns of unequal length, images that are not N×3×H×W uint8, or groups that cannot be used.
        LabelError: Targets that are not labels of the schema.

    Example:
        >>> images = np.arange(4 * 3 * 2 * 2, dtype=np.uint8).reshape(4, 3, 2, 2)
        >>> schema = LabelSchema.from_names(["lymphocyte", "monocyte"])
        >>> ds = CellDataset(None, [0, 0, 1, 1], schema, images=images)
        >>> train, test = ds.split((0.5, 0.5))
        >>> train.class_counts(), train.part
        ({'lymphocyte': 1, 'monocyte': 1}, 'train')
    """

    card: DatasetCard | None = None
    _columns: tuple[str, ...] = ("files", "targets", "groups", "parts", "_rows", "_hashes")
    """Attributes with one entry an image; a subclass with more columns adds their names."""

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]] | None,
        targets: ArrayLike,
        labels: LabelSchema,
        *,
        images: Tensor | NDArray[np.uint8] | ImageSource | None = None,
        groups: ArrayLike | None = None,
        parts: Sequence[str | None] | None = None,
        transform: Callable[[Tensor], Any] | None = None,
        part: str | None = None,
        card: DatasetCard | None = None,
    ) -> None:
        self.labels = labels
        self.targets = columns.check_targets(targets, labels)
        if images is None:
            if files is None:
                raise DataError("A data set needs images: give files=[...] or images=array.")
            images = ImageFiles(files)
        # All choices of images share one source and hold rows of it: ten folds need no more memory than one.
        self._source = images if isinstance(images, ImageSource) else ImageArray(columns.check_images(images))
        self._rows = np.arange(len(self.targets))
        names = (f"image_{i:06d}" for i in range(len(self._source))) if files is None else files
        self.files = [os.fspath(name) for name in names]
        self.groups: NDArray[Any] | None = None if groups is None else columns.check_groups(groups)
        self.parts = None if parts is None else columns.check_parts(parts)
        self.transform = transform
        self.part = part if part is None else check_name("part", part, PARTS)
        self._hashes: list[str] | None = None
        if card is not None:
            self.card = card
        for name, column in (
            ("files", self.files),
            ("groups", self.groups),
            ("parts", parts),
            ("images", self._source),
        ):
            self._check_length(name, column)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image: Any = self.image(index)
        return image if self.transform is None else self.transform(image), int(self.targets[index])

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        part = f", part {self.part!r}" if self.part else ""
        return f"{type(self).__name__}({len(self)} images, {len(self.labels)} classes{part})"

    def image(self, index: int) -> Tensor:
        """The image without ``transform``, uint8 3×H×W; negative indices count from the end.

        Raises:
            ImageError: The file cannot be read; the message names it.
            IndexError: There is no such image.
        """
        row = operator.index(index)
        if not -len(self) <= row < len(self):
            raise IndexError(f"There is no image {row}: the data set has {len(self)} images.")
        return self._source.image(self._rows[row])

    def batch(self, indices: ArrayLike) -> tuple[Tensor, Tensor]:
        """Many images at once, without ``transform``: uint8 N×3×H×W, and their labels, int64 N.

        Raises:
            DataError: Indices that cannot be used, or images that differ in size.
            ImageError: A file cannot be read; the message names it.
        """
        rows = columns.check_indices(indices, len(self))
        return self._source.batch(self._rows[rows]), torch.from_numpy(self.targets[rows])

    def subset(self, indices: ArrayLike, part: str | None = None) -> Self:
        """The images at ``indices``, in that order, with all columns.

        Args:
            indices: Integers (negative ones count from the end, repeats are allowed) or N booleans.
            part: Name of the new part; None keeps the present one.

        Raises:
            DataError: Indices of another type, or of images that do not exist.
        """
        chosen = copy.copy(self)
        chosen._keep(columns.check_indices(indices, len(self)))
        if part is not None:
            chosen.part = check_name("part", part, PARTS)
        return chosen

    def split(self, fractions: Iterable[float] = (0.7, 0.1, 0.2), seed: int = 0) -> tuple[Self, ...]:
        """Divide into ``(train, val, test)``, or into ``(train, test)`` if two fractions are given.

        Each part has the same class proportions. Identical images are never apart, nor are images of one group;
        see `cellnet.datasets.splits.stratified`. Reads all files once, to compare their contents.

        Args:
            fractions: Two or three shares, above 0, with sum 1.
            seed: Seed of the shuffle; the same seed gives the same parts on every machine.

        Raises:
            ConfigError: Fractions or seed that cannot be used.
            DataError: A class has fewer independent images than there are parts, or does not reach one of them.
        """
        shares = list(fractions) if isinstance(fractions, Iterable) else [fractions]
        parts = {2: ("train", "test"), 3: PARTS}.get(len(shares))
        if parts is None:
            raise ConfigError(
                f"Cannot split by {len(shares)} fractions; give 2 (train, test) or 3 (train, val, test), "
                "such as (0.7, 0.1, 0.2), or use .folds(k)."
            )
        rows = splits.stratified(self.targets, self.units(), shares, seed, names=self.labels.names)
        return tuple(self.subset(r, part) for r, part in zip(rows, parts, strict=True))

    def folds(self, k: int, seed: int = 0, repeats: int = 1) -> list[tuple[Self, Self]]:
        """The pairs ``(train, val)`` of a cross-validation, under the same rules as `split`.

        Args:
            k: Number of folds.
            seed: Seed of the shuffle; repetition r uses ``seed + r``.
            repeats: How often the images are divided anew.

        Returns:
            ``k * repeats`` pairs, one repetition after the other.

        Raises:
            ConfigError: ``k`` is no integer of at least 2, ``repeats`` none of at least 1, or ``seed`` none of at
                least 0.
            DataError: A class has fewer independent images than ``k``, or does not reach a fold.
        """
        if not isinstance(repeats, (int, np.integer)) or repeats < 1:
            raise ConfigError(f"repeats={repeats!r} must be an integer of at least 1.")
        first = splits.check_seed(seed)
        units, pairs = self.units(), []
        for repetition in range(repeats):
            for held_out in splits.k_fold(self.targets, units, k, first + repetition, names=self.labels.names):
                rest = np.setdiff1d(np.arange(len(self)), held_out)
                pairs.append((self.subset(rest, "train"), self.subset(held_out, "val")))
        return pairs

    def official_split(self) -> tuple[Self, ...]:
        """The parts that the publisher made, in the order train, val, test, as far as there are such.

        It is taken as published: `cellnet.audit` says whether one image stands in two parts.

        Raises:
            DataError: The publisher made none.
        """
        given = np.array([] if self.parts is None else self.parts, object)
        found = [part for part in PARTS if (given == part).any()]
        if not found:
            raise DataError("This data set has no official split; use .split((0.7, 0.1, 0.2), seed=0).")
        return tuple(self.subset(np.flatnonzero(given == part), part) for part in found)

    def with_groups(self, groups: ArrayLike | None) -> Self:
        """The same images with other ``groups``, which every later split keeps together.

        Raises:
            DataError: Not one group an image, or groups that cannot be used.
        """
        changed = copy.copy(self)
        changed.groups = None if groups is None else columns.check_groups(groups)
        if changed.groups is not None and len(changed.groups) != len(self):
            raise DataError(f"There are {len(self)} images but {len(changed.groups)} groups; give one an image.")
        return changed

    def exclude(self, files: Iterable[str | os.PathLike[str]]) -> Self:
        """Without the images that ``files`` names, for instance those that a model is to be shown on later.

        Args:
            files: An image goes if it has the same bytes as one of these, or the same folder and name (the same name,
                where one is given without folder), in upper or lower case. Of several, those go that agree with it in
                most folders above.

        Raises:
            DataError: A folder, or a file that neither exists nor fits an image.
        """
        remaining = copy.copy(self)
        remaining._drop(files)
        return remaining

    def with_transform(self, transform: Callable[[Tensor], Any] | None) -> Self:
        """The same images with another ``transform``."""
        changed = copy.copy(self)
        changed.transform = transform
        return changed

    def harmonise(self, target: LabelSchema) -> Self:
        """The same images with the labels of another schema, without those of classes it does not know.

        `not_comparable` gives the images that are left out.

        Raises:
            LabelError: No class has a counterpart in ``target``.
        """
        new_labels = np.array([-1 if i is None else i for i in harmonise(self.labels, target).indices], np.int64)
        changed = self.subset(new_labels[self.targets] >= 0)
        changed.targets = new_labels[changed.targets]
        changed.labels = target
        return changed

    def not_comparable(self, target: LabelSchema) -> Self:
        """The images whose class has no counterpart in ``target``, with their own labels.

        A model of the target's classes should abstain on them: they serve to test that it does.

        Raises:
            LabelError: No class has a counterpart in ``target``.
        """
        unknown = np.array([i is None for i in harmonise(self.labels, target).indices])
        return self.subset(unknown[self.targets])

    def preload(self, preprocess: Preprocess, progress: bool = False) -> Self:
        """The same data set with all images decoded, preprocessed and held in memory.

        Splits, groups and content hashes stay those of the original files. Takes 3·S² bytes an image.

        Args:
            preprocess: Brings each image to S×S; image i becomes exactly ``preprocess(ds.image(i))``.
            progress: Show a progress bar on standard error.

        Raises:
            ImageError: A file cannot be read; the message names it.
        """
        size = preprocess.image_size
        images = torch.empty((len(self), size, size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)

        def load(row: int) -> None:
            images[row] = preprocess(self.image(row))

        loaded = copy.copy(self)
        loaded._hashes = self.content_hashes()
        with ThreadPoolExecutor() as pool:  # threads, since decoding releases the interpreter lock
            done = pool.map(load, range(len(self)))
            for _ in display.track(done, len(self), "Loading images") if progress else done:
                pass
        loaded._source, loaded._rows = ImageArray(images), np.arange(len(images))
        return loaded

    def content_hashes(self) -> list[str]:
        """SHA-256 of each image: of its file's bytes, or of its pixels where it never was a file.

        Computed once, then carried along by every choice of images.

        Raises:
            ImageError: A file cannot be read; the message names it.
        """
        if self._hashes is None:
            self._hashes = self._source.hashes(self._rows)
        return list(self._hashes)

    def units(self) -> NDArray[np.int64]:
        """The unit of each image, named by its first image: identical images and those of one group move together."""
        known = [] if self.groups is None else [self.groups.tolist()]
        return splits.connect(self.content_hashes(), *known)

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with the images or their classes, not with their order."""
        names = self.labels.names
        rows = sorted(f"{h} {names[t]}" for h, t in zip(self.content_hashes(), self.targets, strict=True))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]

    def class_counts(self) -> dict[str, int]:
        """Number of images of each class of the schema, in label order."""
        counts = np.bincount(self.targets, minlength=len(self.labels))
        return dict(zip(self.labels.names, counts.tolist(), strict=True))

    def subgroups(self) -> dict[str, Sequence[Any]]:
        """What is known of each image beside its class, by name, N values each; `cellnet.evaluate` judges each apart.

        Nothing here; a class with such columns gives them.
        """
        return {}

    def summary(self) -> str:
        """A table of the classes with their number and share of images."""
        return display.summary(self)

    def plot(self, path: str | os.PathLike[str] | None = None, per_class: int = 5) -> Figure:
        """A contact sheet: one row a class, with images from all over the class.

        Args:
            path: Where to save it too; the suffix chooses the format (png, pdf, svg).
            per_class: Number of images in a row.

        Raises:
            ConfigError: The figure cannot be written to ``path``.
            DataError: There is nothing to show.
        """
        return display.plot(self, path, per_class)

    def _check_length(self, name: str, column: Sized | None) -> None:
        if column is not None and len(column) != len(self):
            raise DataError(f"There are {len(self)} targets but {len(column)} {name}; give one entry an image.")

    def _keep(self, rows: NDArray[np.int64]) -> None:
        for name in self._columns:
            column = getattr(self, name)
            if isinstance(column, list):
                setattr(self, name, [column[row] for row in rows])
            elif column is not None:
                setattr(self, name, column[rows])

    def _drop(self, files: Iterable[str | os.PathLike[str]]) -> None:
        given = [files] if isinstance(files, (str, os.PathLike)) else list(files)
        rows = columns.rows_named(given, self.files)
        for file, fits in zip(given, rows, strict=True):
            if not fits and not Path(file).is_file():
                raise DataError(
                    f"Cannot leave out {os.fspath(file)!r}: "
                    + (
                        "it is a folder; give its images, cellnet.images.list_images(folder)."
                        if Path(file).is_dir()
                        else "it fits no image of the data set and is no file; give class folder and name of an image."
                    )
                )
        self._keep(np.setdiff1d(np.arange(len(self)), list(chain.from_iterable(rows))))
        contents = {columns.hash_file(file) for file in given if Path(file).is_file()}
        if contents:
            self._keep(np.flatnonzero([content not in contents for content in self.content_hashes()]))
