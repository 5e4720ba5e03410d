"""SMOTE whose neighbours are those that a network sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval
from torch import Tensor, nn

from cellnet.balancing.errors import SamplingError
from cellnet.balancing.neighbours import Read, nearest
from cellnet.balancing.smote import SMOTE, Rows


class EmbeddingSMOTE(SMOTE):
    """`SMOTE` with the neighbours taken in a network's features and the images mixed as pixels.

    Two cells that lie differently in their images are far apart as pixels and near to a network that was trained on
    cells. Draws, bytes and lazy data sets are as in `SMOTE`.

    Args:
        embed: From a block of images to their features: N×C×H×W as given (for a data set uint8 N×3×H×W) to N×D, a
            tensor or an array. For instance ``model.features`` of a classifier that has been trained, on the training
            part alone, and set to ``eval()``. A module gets its images on its own device.
        sampling_strategy: As in `SMOTE`.
        k_neighbors: As in `SMOTE`.
        random_state: As in `SMOTE`.
        batch_size: Images that ``embed`` gets at a time.

    Example:
        >>> from cellnet.datasets import SyntheticCells
        >>> cells = SyntheticCells(per_class=6, image_size=32).subset(range(45))
        >>> def mean_colour(images: Tensor) -> Tensor:
        ...     return images.float().mean(dim=(2, 3))
        >>> EmbeddingSMOTE(mean_colour, k_neighbors=2, random_state=0).resample(cells)
        SyntheticCells(48 images, 8 classes, part 'train')
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **SMOTE._parameter_constraints,
        "embed": [callable],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        embed: Callable[[Tensor], Tensor | ArrayLike],
        *,
        sampling_strategy: float | str | Mapping[Any, int] | Callable[..., Mapping[Any, int]] = "auto",
        k_neighbors: int = 5,
        random_state: int | np.random.RandomState | None = None,
        batch_size: int = 64,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy, k_neighbors=k_neighbors, random_state=random_state)
        self.embed = embed
        self.batch_size = batch_size

    def _nearest_images(self, read: Read, count: int, k: int, asked: Rows) -> Rows:
        batches = np.split(np.arange(count), range(self.batch_size, count, self.batch_size))
        features = torch.cat([self._features(read(rows)) for rows in batches])
        return nearest(lambda rows: features[rows], count, k, asked)

    def _features(self, images: Tensor) -> Tensor:
        """What ``embed`` makes of a block of images, checked, in memory of this process.

        Raises:
            SamplingError: A network in training mode, features that are not N×D numbers, or are not finite.
        """
        network = getattr(self.embed, "__self__", self.embed)
        if isinstance(network, nn.Module):
            if network.training:
                raise SamplingError(
                    f"The network of embed ({type(network).__name__}) is in training mode, where features depend on "
                    "the other images of a batch; call its .eval() first."
                )
            device = next((weights.device for weights in network.parameters()), images.device)
            images = images.to(device)
        with torch.no_grad():
            features = torch.as_tensor(self.embed(images)).detach().cpu()
        if features.ndim != 2 or len(features) != len(images):
            raise SamplingError(
                f"embed made {tuple(features.shape)} of {len(images)} images; it must give one row of features an "
                "image, N×D."
            )
        if not features.isfinite().all():
            raise SamplingError("embed made features that are NaN or infinite; check the network and its images.")
        return features
