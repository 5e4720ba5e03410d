"""Forty real cells that come with the package."""

from __future__ import annotations

import dataclasses
from importlib import resources
from pathlib import Path

from cellnet.datasets.pbc import PBC


def samples() -> PBC:
    """Five real images of each of PBC's classes, unchanged, for demonstrations and first trials.

    They are part of PBC (CC BY 4.0; ``cellnet/samples/ATTRIBUTION.md`` says how they were chosen). A model
    to be shown on them is trained without them: ``load_dataset("pbc", root=..., exclude=samples().files)``.

    Example:
        >>> cells = samples()
        >>> len(cells), set(cells.class_counts().values())
        (40, {5})
    """
    cells = PBC(Path(str(resources.files("cellnet"))) / "samples")
    cells.card = dataclasses.replace(PBC.card, title="Sample images of PBC", num_images=len(cells))
    return cells
