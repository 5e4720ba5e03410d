"""Judge shipped weights on another laboratory's folder of images and keep the row in results/external.csv.

python benchmarks/accuracy/external.py mobilenet_v2 data/BCCD_cropped
"""

from __future__ import annotations

import sys
from pathlib import Path

from collect import RESULTS, replace_rows

import cellnet


def main() -> None:
    """Evaluate and write the row of one model and one folder."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    model = cellnet.load_pretrained(name)
    cells = cellnet.load_dataset("folder", folder).harmonise(model.labels)
    metrics = cellnet.evaluate(model, cells).metrics
    row = {
        "model": name,
        "data": folder.name,
        "images": str(len(cells)),
        **{key: str(metrics[key]) for key in ("accuracy", "balanced_accuracy", "coverage", "accepted_accuracy")},
        "command": f"cellnet evaluate --model {name} --dataset folder --root data/{folder.name} --part all --harmonise",
    }
    replace_rows(RESULTS.with_name("external.csv"), ("model", "data"), [row])


if __name__ == "__main__":
    main()
