"""Pictures of synthetic images between those they were made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cellnet.balancing.mixtures import parents
from cellnet.datasets import CellDataset
from cellnet.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_parents(dataset: CellDataset, count: int = 5) -> Figure:
    """Synthetic images from all over a data set, each between its two parents: one row a mixture.

    Args:
        dataset: What `SMOTE` or `EmbeddingSMOTE` gave, or a choice of its images that has parents and children.
        count: Number of rows.

    Raises:
        DataError: There is no synthetic image with both parents beside it.

    Example:
        >>> from cellnet.balancing import SMOTE
        >>> from cellnet.datasets import SyntheticCells
        >>> cells = SyntheticCells(per_class=6, image_size=32).subset(range(45))
        >>> figure = plot_parents(SMOTE(k_neighbors=2, random_state=0).resample(cells))
        >>> figure.axes[1].get_title()
        'platelet'
    """
    from matplotlib.figure import Figure  # no pyplot: it keeps every figure, and may open a window

    place = {name: index for index, name in reversed(list(enumerate(dataset.files)))}
    triples = [
        (place[known.base], index, place[known.other], known.share)
        for index, known in enumerate(parents(dataset))
        if known is not None and known.base in place and known.other in place
    ]
    if not triples or count < 1:
        raise DataError(
            f"Nothing to show: {len(triples)} synthetic images with both parents, count={count}; both must be above "
            "0. Give what SMOTE(...).resample(train) returned."
        )
    chosen = np.linspace(0, len(triples) - 1, min(count, len(triples))).round().astype(int)
    figure = Figure(figsize=(5.2, 1.8 * len(chosen)), layout="constrained")
    for axes, (base, child, other, share) in zip(
        figure.subplots(len(chosen), 3, squeeze=False), [triples[i] for i in chosen], strict=True
    ):
        titles = (f"{1 - share:.0%}", dataset.labels.names[dataset.targets[child]], f"{share:.0%}")
        for axis, index, title in zip(axes, (base, child, other), titles, strict=True):
            axis.imshow(dataset.image(index).permute(1, 2, 0).numpy())
            axis.set_title(title, fontsize="small")
            axis.set_axis_off()
    return figure
