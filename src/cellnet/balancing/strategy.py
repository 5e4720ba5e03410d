"""How many images of each class are wanted, in imbalanced-learn's words and with names of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cellnet.labels import LabelSchema


def by_label(strategy: Mapping[Any, int], labels: LabelSchema) -> dict[int, int]:
    """Wanted counts by label, from counts by class name or label.

    Raises:
        UnknownNameError: No such class; the message shows the nearest names.

    Example:
        >>> by_label({"monocyte": 9, 0: 5}, LabelSchema.from_names(["lymphocyte", "monocyte"]))
        {1: 9, 0: 5}
    """
    return {labels.index(kind) if isinstance(kind, str) else kind: count for kind, count in strategy.items()}
