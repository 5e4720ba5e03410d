"""Made-up data in the layout of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellnet.datasets import load_dataset
from cellnet.datasets.wbcatt import ATTRIBUTES, TABLES
from cellnet.labels import LEUKOCYTES, PBC_LABELS


@pytest.fixture
def pbc_root(tmp_path: Path) -> Path:
    """Twenty drawn cells a class in PBC's layout, and words drawn at random for its leukocytes in WBCAtt's."""
    root = tmp_path / "data"
    (root / "wbcatt").mkdir(parents=True)
    rng = np.random.default_rng(0)
    cells = load_dataset("synthetic", per_class=20, image_size=32)
    assert cells.labels.names == PBC_LABELS.names
    lines = []
    for i, target in enumerate(cells.targets):
        name = cells.labels.names[target]
        file = root / "PBC_dataset_normal_DIB" / name / f"{name.upper()}_{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(cells.image(i).movedim(0, 2).numpy()).save(file.with_suffix(".jpg"), "JPEG")
        if name in LEUKOCYTES.names:
            words = [str(rng.choice(choices)) for choices in ATTRIBUTES.values()]
            lines.append(",".join([file.with_suffix(".jpg").name, name, *words, "x"]))
    for part, table in enumerate(TABLES.values()):
        content = [",".join(["img_name", "label", *ATTRIBUTES, "path"]), *lines[part :: len(TABLES)]]
        (root / "wbcatt" / Path(table).name).write_text("\n".join(content) + "\n")
    return root
