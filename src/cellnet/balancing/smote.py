"""SMOTE on images: classes filled up with mixtures of near neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_sampling_strategy
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from torch import Tensor

from cellnet.balancing.errors import SamplingError
from cellnet.balancing.memory import check_memory
from cellnet.balancing.mixing import mix, mix_bytes
from cellnet.balancing.mixtures import Cells, Triples, check_part, prepared, with_mixtures
from cellnet.balancing.neighbours import BLOCK_BYTES, Read, nearest, search_memory
from cellnet.balancing.strategy import by_label
from cellnet.errors import ConfigError
from cellnet.images import Preprocess

Rows = NDArray[np.int64]


class SMOTE(BaseOverSampler):  # type: ignore[misc]
    """Fill up small classes with mixtures of images and their near neighbours (Chawla et al. 2002, arXiv 1106.1813).

    It has the words, the neighbours and the draws of imbalanced-learn's SMOTE: the same ``random_state`` gives the
    same synthetic images. It also takes images as they are, keeps bytes as bytes (rounded, never wrapped around),
    compares them by exact integer distances in flat memory, and makes the images of a data set only when they are
    asked for.

    Args:
        sampling_strategy: ``"auto"`` fills every class up to the largest one. Also ``"minority"``,
            ``"not minority"``, ``"not majority"``, ``"all"``; a number in (0, 1], the wanted ratio of two classes; a
            dict of wanted counts by class (for a data set, class names do too); or a function of ``y`` that gives
            such a dict.
        k_neighbors: The second image is one of so many nearest ones of the same class. A class of fewer images uses
            those it has, with a warning.
        random_state: Seed, or a generator; None draws anew each time.

    Example:
        >>> from cellnet.datasets import SyntheticCells
        >>> cells = SyntheticCells(per_class=6, image_size=32).subset(range(45))
        >>> balanced = SMOTE(k_neighbors=2, random_state=0).resample(cells)
        >>> balanced, balanced.class_counts() == dict.fromkeys(cells.labels.names, 6)
        (SyntheticCells(48 images, 8 classes, part 'train'), True)
        >>> images, targets = cells.batch(range(45))
        >>> SMOTE(k_neighbors=2, random_state=0).fit_resample(images, targets)[0].shape
        torch.Size([48, 3, 32, 32])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseOverSampler._parameter_constraints,
        "k_neighbors": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        sampling_strategy: float | str | Mapping[Any, int] | Callable[..., Mapping[Any, int]] = "auto",
        k_neighbors: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.k_neighbors = k_neighbors
        self.random_state = random_state

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:  # noqa: N803
        """Add synthetic rows to an array.

        Args:
            X: N×C×H×W, N×H×W×C or N×F; an array or a tensor of any number type. N×F may be a list, a data frame or
                a sparse matrix, too.
            y: N labels.

        Returns:
            ``X`` and ``y`` with the synthetic rows at their end, of the kind and type they came in. Unsigned
            integers are rounded.

        Raises:
            SamplingError: Images of several sizes, a class of one image, or the result does not fit into memory.
            ValueError: As from scikit-learn: an option that cannot be used, one class alone, NaN or infinity.
        """
        array, labels = _as_array(X), y.detach().cpu().numpy() if isinstance(y, Tensor) else y
        shape = getattr(array, "shape", ())
        if len(shape) == 4:
            flat, new_labels = super().fit_resample(array.reshape(len(array), -1), labels, shape=shape[1:])
            rows: Any = flat.reshape(-1, *shape[1:])
        else:
            rows, new_labels = super().fit_resample(array, labels)
        if isinstance(X, Tensor):
            rows = torch.from_numpy(rows).to(X.device, X.dtype)
        return rows, torch.from_numpy(new_labels).to(y.device) if isinstance(y, Tensor) else new_labels

    def resample(self, dataset: Cells, preprocess: Preprocess | None = None) -> Cells:
        """Add synthetic images to the training part of a data set, lazily.

        Each is kept as two rows and a share, and made when it is asked for; memory grows with the number of images,
        not of pixels. The images of the classes that grow are read, in blocks; where they come from files, each is
        decoded about as often as there are 128 MiB of pixels in its class.

        Args:
            dataset: Images of one size, or ``preprocess`` to bring them to one; not a ``val`` or ``test`` part.
            preprocess: Applied to each image before it is compared or mixed, so that all images of the result have
                gone through it.

        Returns:
            A part ``"train"``: the images of ``dataset``, then the synthetic ones. These have `parents`, and share a
            group with them, so that no later split takes them apart.

        Raises:
            ConfigError: An option that cannot be used.
            DataError: A ``val`` or ``test`` part, images of several sizes, or a class of one image.
            ImageError: A file cannot be read; the message names it.
        """
        check_part(dataset)
        images, names, y = prepared(dataset, preprocess), dataset.labels.names, dataset.targets
        try:
            self._validate_params()
            strategy = self.sampling_strategy
            if isinstance(strategy, Mapping):
                strategy = by_label(strategy, dataset.labels)
            self.sampling_strategy_ = check_sampling_strategy(strategy, y, self._sampling_type)
        except ValueError as error:
            raise ConfigError(f"{type(self).__name__} cannot balance this data set: {error}") from error
        values = images.image(0).numel()
        check_memory(
            search_memory(len(images), values, np.dtype(np.uint8)),
            f"{type(self).__name__} on {len(images):,} images of {values:,} values",
            "end other programs, or make the images smaller",
        )

        def read(rows: Rows) -> Tensor:
            return images.batch(rows)[0]

        return with_mixtures(images, self._draw(y, read, lambda label: f"{names[label]!r}"))

    def _validate_params(self) -> None:
        super()._validate_params()
        counts = self.sampling_strategy.values() if isinstance(self.sampling_strategy, Mapping) else ()
        if not all(isinstance(count, Integral) for count in counts):
            raise ValueError(f"sampling_strategy={self.sampling_strategy} must hold whole numbers of images.")

    def _fit_resample(
        self,
        X: Any,  # noqa: N803
        y: NDArray[Any],
        shape: tuple[int, ...] | None = None,
    ) -> tuple[Any, NDArray[Any]]:
        total = X.shape[0] + sum(self.sampling_strategy_.values())
        check_memory(
            X.dtype.itemsize * X.shape[1] * total + search_memory(X.shape[0], X.shape[1], X.dtype),
            f"{type(self).__name__} to {total:,} rows of {X.shape[1]:,} {X.dtype} values",
            "make the images smaller, or balance a CellDataset with .resample(dataset), which does not hold them",
        )

        if issparse(X):
            dense, labels = self._fit_resample(X.toarray(), y)
            return type(X)(dense), labels

        def read(rows: Rows) -> Tensor:
            block = torch.from_numpy(X[rows])
            return block if shape is None else block.reshape(-1, *shape)

        triples = self._draw(y, read, str)
        rows = np.empty((total, X.shape[1]), X.dtype)
        rows[: len(X)] = X
        made_y = np.concatenate([y, y[triples.base]])
        if X.dtype == np.uint8:  # images, one after another: their pixels stay in the cache
            for row, base, other, share in zip(rows[len(X) :], triples.base, triples.other, triples.share, strict=True):
                row[...] = X[base]
                mix_bytes(row, X[other], float(share))
            return rows, made_y
        step = max(1, BLOCK_BYTES // (24 * X.shape[1]))  # float64 differences and sums
        for start in range(0, len(triples.base), step):
            part = slice(start, start + step)
            made = mix(X[triples.base[part]], X[triples.other[part]], triples.share[part, None])
            rows[len(X) + start : len(X) + start + len(made)] = made
        return rows, made_y

    def _nearest_images(self, read: Read, count: int, k: int, asked: Rows) -> Rows:
        """Neighbours of some images, as `nearest`, which gets rows of values."""
        return nearest(lambda rows: _flatten(read(rows)), count, k, asked)

    def _draw(self, y: NDArray[Any], read: Read, name: Callable[[Any], str]) -> Triples:
        """Choose what is mixed, by the same draws as imbalanced-learn; ``read`` gives images by their rows."""
        base, other, share = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
        for label, wanted in self.sampling_strategy_.items():
            if wanted == 0:
                continue
            rows = np.flatnonzero(y == label)
            k = _usable(self.k_neighbors, len(rows), name(label))
            # A seed starts anew for each class, as there.
            generator = check_random_state(self.random_state)
            place, rank = np.divmod(generator.randint(0, k * len(rows), size=wanted), k)
            share.append(generator.uniform(size=wanted))
            # Drawn before the neighbours are known, so that they are looked for where they are needed.
            asked, which = np.unique(place, return_inverse=True)
            near = self._nearest_images(partial(_read_of, read, rows), len(rows), k, asked)
            base.append(rows[place])
            other.append(rows[near[which, rank]])
        return Triples(np.concatenate(base), np.concatenate(other), np.concatenate(share))


def _read_of(read: Read, rows: Rows, some: Rows) -> Tensor:
    return read(rows[some])


def _usable(k: int, images: int, name: str) -> int:
    """How many neighbours a class has.

    Raises:
        SamplingError: None.
    """
    if images == 1:
        raise SamplingError(
            f"The class {name} has one image, which has no neighbour to be mixed with; leave the class out of "
            "sampling_strategy, or repeat its image with imbalanced-learn's RandomOverSampler."
        )
    if k >= images:
        warnings.warn(
            f"The class {name} has {images} images, so that each has {images - 1} neighbours, not "
            f"k_neighbors={k}; the synthetic images will be less varied.",
            stacklevel=4,
        )
    return min(k, images - 1)


def _as_array(rows: ArrayLike | Tensor) -> Any:
    """Tensors and lists of images as one array; anything else as it is.

    Raises:
        SamplingError: Images of several sizes.
    """
    if isinstance(rows, Tensor):
        rows = rows.detach().cpu()
        return (rows.float() if rows.dtype == torch.bfloat16 else rows).numpy()  # which NumPy has not
    if isinstance(rows, (list, tuple)) and len(rows) and all(isinstance(row, (np.ndarray, Tensor)) for row in rows):
        shapes = sorted({tuple(row.shape) for row in rows})
        if len(shapes) > 1:
            raise SamplingError(
                f"The images have several sizes, among them {shapes[0]} and {shapes[-1]}; bring them to one, e.g. by "
                "cellnet.Preprocess(image_size)."
            )
        return np.stack([_as_array(row) for row in rows])
    return rows


def _flatten(images: Tensor) -> Tensor:
    """Rows of values; their order is that of the memory where it lies channels-last, which copies nothing."""
    return images.permute(0, 2, 3, 1).flatten(1) if images.ndim == 4 else images.flatten(1)
