"""What each step brings shipped weights on another laboratory's images: benchmarks/results/external.csv.

    python benchmarks/accuracy/external.py data/BCCD_cropped mobilenet_v2 hybrid

The steps add up: the model as it is; its batch normalisation measured on these images, without labels; cells brought to
the size that they have in the training images, too, where the model knows it; the user's word that no other classes
than those of the folder occur; and last, the mean over seven views of each image (``model.tta``). Each row is one look
at these images. A run of your own gets a name for its rows: ``name=runs/x/model``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from collect import RESULTS, machine_facts, replace_rows

import cellnet
from cellnet.datasets import CellDataset

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "coverage", "accepted_accuracy")


def steps(model: cellnet.CellClassifier, cells: CellDataset) -> Iterator[tuple[str, cellnet.CellClassifier]]:
    """What is done about the other laboratory, in words, and the model after it."""
    images = [cells.image(i) for i in range(len(cells))]
    yield "as it is", model
    yield "normalisation measured", model.adapt(images, crop=model.preprocess.crop)
    if model.nucleus_share is not None:
        yield "and cells brought to size", model.adapt(images)
    there = [name for name, count in cells.harmonise(model.labels).class_counts().items() if count]
    adapted = model.restrict(there).adapt(images)
    yield "and no other classes", adapted
    adapted.tta = True
    yield "and seven views of each", adapted


def main() -> None:
    """Evaluate and write the rows of one folder."""
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    cells = cellnet.load_dataset("folder", folder)
    rows = []
    for words in names:
        name, _, place = words.partition("=")
        model = cellnet.load_pretrained(place or name)
        card = model.weights_card
        for step, judged in steps(model, cells):
            report = cellnet.evaluate(judged, cells.harmonise(judged.labels))
            rows.append(
                {
                    "model": name,
                    "version": card.version if card else "",
                    "data": folder.name,
                    "step": step,
                    "images": str(report.n),
                    "crop": f"{judged.preprocess.crop:.2f}",
                    **{key: str(report.metrics[key]) for key in FIGURES},
                    **machine_facts(),
                }
            )
            print(name, step, rows[-1]["accuracy"], rows[-1]["balanced_accuracy"], flush=True)
    replace_rows(RESULTS.with_name("external.csv"), ("model", "version", "data", "step"), rows)


if __name__ == "__main__":
    main()
