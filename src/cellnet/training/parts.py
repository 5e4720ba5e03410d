"""Whether two parts can train a model and choose its best epoch."""

from __future__ import annotations

import warnings

from cellnet.datasets import CellDataset
from cellnet.errors import DataError, LabelError
from cellnet.models import CellClassifier


def check_parts(model: CellClassifier, train: CellDataset, val: CellDataset) -> None:
    """Refuse parts that would make a result worthless; warn of classes that cannot be learned.

    Raises:
        DataError: An empty part, a part in the wrong place, one image in both, or one class alone to train on.
        LabelError: The labels of a part are not the model's.
    """
    for dataset, place, wrong in ((train, "train", ("val", "test")), (val, "val", ("train", "test"))):
        if len(dataset) == 0:
            raise DataError(f"The {place} part is empty; give it images, e.g. dataset.split((0.7, 0.1, 0.2)).")
        if dataset.part in wrong:
            raise DataError(
                f"The {dataset.part!r} part was given where the {place!r} part belongs; "
                "use train, val, test = dataset.split((0.7, 0.1, 0.2))."
            )
        if dataset.labels.hash != model.labels.hash:
            raise LabelError(
                f"The {place} part has the labels {', '.join(dataset.labels.names)}, the model has "
                f"{', '.join(model.labels.names)}; make the model with labels=dataset.labels, "
                "or map the data with dataset.harmonise(model.labels)."
            )
    present = [name for name, count in train.class_counts().items() if count]
    if len(present) < 2:
        raise DataError(f"The train part has images of {present[0]!r} only; a classifier needs at least two classes.")
    if absent := [name for name in train.labels.names if name not in present]:
        warnings.warn(
            f"The train part has no image of {', '.join(absent)}: the model will not learn to name "
            f"{'this class' if len(absent) == 1 else 'these classes'}.",
            stacklevel=3,
        )
    check_apart(train, val, "val")


def check_apart(train: CellDataset, other: CellDataset, place: str) -> None:
    """Refuse images that are learned and looked at in another part as well.

    Args:
        train: Training part.
        other: The other part.
        place: Its name, for the message.

    Raises:
        DataError: One image stands in both.
    """
    if shared := set(train.content_hashes()) & set(other.content_hashes()):
        raise DataError(
            f"{len(shared)} images stand in both the train and the {place} part; split with dataset.split(...), "
            "which keeps identical images together."
        )
