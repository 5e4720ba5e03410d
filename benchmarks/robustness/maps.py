"""What maps of attention are worth: benchmarks/results/maps.csv.

    python benchmarks/robustness/maps.py mobilenet_v2

On one of the sample images of each class: ``untrained``, the mean rank correlation of the maps with those of the same
network with random weights (`similarity_to_untrained`); ``other_class``, with those of the second most probable class.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.stats import spearmanr
from shared import RESULTS, machine_facts, replace_rows

import cellnet
from cellnet.inference import explain, similarity_to_untrained
from cellnet.inference.explanation import METHODS


def other_class(model: cellnet.CellClassifier, images: list[object], method: str) -> float:
    """Mean rank correlation of the maps of the most and the second most probable class."""
    found = []
    for image in images:
        second = model.predict([image])[0].second
        maps = [explain(model, image, label=label, method=method)[0].heatmap for label in (None, second)]
        found.append(0.0 if min(map(np.ptp, maps)) == 0 else spearmanr(*maps, axis=None).statistic)
    return float(np.mean(found))


def main() -> None:
    """Measure and write."""
    samples = cellnet.samples()
    chosen = [int(np.flatnonzero(samples.targets == label)[0]) for label in range(len(samples.labels))]
    images: list[object] = [samples.image(i) for i in chosen]
    rows = []
    for name in sys.argv[1:]:
        model = cellnet.load_pretrained(name)
        for method in METHODS:
            rows.append(
                {
                    "weights": name,
                    "method": method,
                    "images": str(len(images)),
                    "untrained": f"{similarity_to_untrained(model, images, method=method):.2f}",
                    "other_class": f"{other_class(model, images, method):.2f}",
                    **machine_facts(),
                }
            )
            print(rows[-1], flush=True)
    replace_rows(RESULTS / "maps.csv", ("weights", "method"), rows)


if __name__ == "__main__":
    main()
