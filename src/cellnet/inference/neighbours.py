"""Which known cells look like this one: nearest neighbours in a network's features."""

from __future__ import annotations

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError, WeightsError
from cellnet.inference.predictor import predict
from cellnet.tensors import hash_tensors, read_metadata, read_tensors, write_tensors

if TYPE_CHECKING:
    from cellnet.models import CellClassifier


@dataclass(frozen=True)
class Neighbour:
    """A known cell that looks like the one asked about.

    Args:
        file: Its file.
        label: Its class.
        similarity: Cosine of the angle between the two feature vectors, at most 1.
    """

    file: str
    label: str
    similarity: float


@dataclass(frozen=True, eq=False)
class NeighbourIndex:
    """Known cells as a network sees them; made by `NeighbourIndex.build` or read by `NeighbourIndex.load`.

    Args:
        features: float16 N×D, each of length 1.
        files: N file names.
        labels: N class names.
        weights: Hash of the weights of the network that saw them.

    Example:
        >>> from cellnet import create_model, load_dataset
        >>> cells = load_dataset("synthetic", per_class=2, image_size=32)
        >>> model = create_model("cnn", cells.labels, image_size=32)
        >>> index = NeighbourIndex.build(model, cells)
        >>> [[nearest]] = index.nearest(model, cells.image(3), k=1)
        >>> nearest.file == cells.files[3], round(nearest.similarity, 2)
        (True, 1.0)
    """

    features: NDArray[np.float16]
    files: list[str]
    labels: list[str]
    weights: str

    def __len__(self) -> int:
        return len(self.files)

    @classmethod
    def build(cls, model: CellClassifier, cells: CellDataset, **options: Any) -> NeighbourIndex:
        """Look at all images of a data set; those that cannot be read are left out.

        Args:
            model: The network.
            cells: Known cells, e.g. those that it was trained on.
            **options: Of `predict`, e.g. ``device`` or ``progress``.

        Raises:
            DataError: No image can be read.
            CellnetError: As `predict`.
        """
        known = predict(model, cells, features=True, **options)
        rows = np.flatnonzero(known.readable)
        if not len(rows):
            raise DataError("None of the images could be read, so there is nothing to compare with; check the files.")
        files, names = [known.files[row] for row in rows], [cells.labels.names[cells.targets[row]] for row in rows]
        return cls(_unit(known.features)[rows].astype(np.float16), files, names, hash_tensors(model.state_dict()))

    def nearest(self, model: CellClassifier, inputs: Any, k: int = 5, **options: Any) -> list[list[Neighbour]]:
        """The known cells that look most like each input, the most similar first.

        An image that is itself among the known ones finds itself.

        Args:
            model: The network that saw the known cells.
            inputs: As `predict` takes them.
            k: How many for each input; all where there are fewer.
            **options: Of `predict`.

        Returns:
            A list for each input; an empty one for an image that cannot be read.

        Raises:
            ConfigError: ``k`` is below 1, or the model has other weights than that of the index.
            CellnetError: As `predict`.
        """
        if k < 1:
            raise ConfigError(f"k={k!r} must be at least 1.")
        if hash_tensors(model.state_dict()) != self.weights:
            raise ConfigError(
                "The index was made with other weights than this model's, so their features cannot be compared; make "
                "it anew: NeighbourIndex.build(model, cells)."
            )
        asked = predict(model, inputs, features=True, **options)
        found: list[list[Neighbour]] = []
        known = self.features.astype(np.float32)
        for vector, readable in zip(_unit(asked.features), asked.readable, strict=True):
            if not readable:
                found.append([])
                continue
            cosines = known @ vector
            best = np.argsort(-cosines, kind="stable")[:k]
            found.append([Neighbour(self.files[i], self.labels[i], float(min(cosines[i], 1))) for i in best])
        return found

    def distances(self, features: ArrayLike, k: int = 10) -> NDArray[np.float32]:
        """How strange images are: the distance of each from the k-th most similar known cell.

        Args:
            features: N×D, of the network that saw the known cells: ``predict(…, features=True).features``.
            k: Which neighbour; the last one where there are fewer.

        Returns:
            N numbers, 0 to 2: one less the cosine. NaN for a row of NaN.

        Raises:
            ConfigError: ``k`` is below 1.

        Source: Sun et al. 2022, Out-of-distribution Detection with Deep Nearest Neighbors, arXiv:2204.06507.
        """
        if k < 1:
            raise ConfigError(f"k={k!r} must be at least 1.")
        cosines = _unit(features) @ self.features.astype(np.float32).T
        nearest = np.partition(-cosines, min(k, len(self)) - 1, axis=1)[:, min(k, len(self)) - 1]
        return np.asarray(1 + nearest, np.float32)

    def save(self, file: str | PathLike[str]) -> Path:
        """Write the index as one safetensors file; 2 bytes a feature.

        Raises:
            ConfigError: It cannot be written.
        """
        words = json.dumps({"files": self.files, "labels": self.labels, "weights": self.weights})
        write_tensors(file, {"features": torch.from_numpy(self.features)}, {"neighbours": words})
        return Path(file)

    @classmethod
    def load(cls, file: str | PathLike[str]) -> NeighbourIndex:
        """Read what `save` wrote.

        Raises:
            WeightsError: The file is missing, damaged, or something else.
        """
        tensors, metadata = read_tensors(file), read_metadata(file)
        try:
            words = json.loads(metadata["neighbours"])
            features = tensors["features"].numpy()
            files, labels = list(map(str, words["files"])), list(map(str, words["labels"]))
            if features.shape[0] != len(files) or len(files) != len(labels):
                raise ValueError("rows and names differ in number")
            return cls(features, files, labels, str(words["weights"]))
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"{file} is no index of neighbours ({error}); make one: NeighbourIndex.build(model, cells).save(FILE)."
            ) from error


def _unit(features: Any) -> NDArray[np.float32]:
    rows = np.asarray(features, np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
