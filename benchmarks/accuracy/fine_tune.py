"""How many labelled cells of another laboratory are enough? A shipped model trained on with them, beside other starts.

    python benchmarks/accuracy/fine_tune.py data/BCCD_cropped mobilenetv2_100_imagenet.safetensors runs/fine_tune

Cross-validated: every image is judged once, by a model that did not see it. Only classes with enough images for that
take part. All starts see the same images in as many steps. Writes benchmarks/results/fine_tune.csv; done folds are
read, not repeated.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from collect import RESULTS, machine_facts, replace_rows

import cellnet
from cellnet.datasets import CellDataset
from cellnet.experiments import cross_validate
from cellnet.experiments.study import MakeModel
from cellnet.labels import LabelSchema

FOLDS = 5
LEAST = 10
"""A class of fewer images has no place in each fold and in its validation part."""
NAME = "mobilenet_v2"
CONFIG = cellnet.TrainConfig(
    epochs=8,
    batch_size=16,
    lr=2e-4,
    weight_decay=0.05,
    label_smoothing=0.05,
    ema=0.98,
    norm_batches=20,
    augmentation="strong",
    monitor="val_macro_f1",
)


def frequent(cells: CellDataset) -> CellDataset:
    """The images of classes that have enough of them."""
    counts = cells.class_counts()
    kept = [label for label, name in enumerate(cells.labels.names) if counts[name] >= LEAST]
    schema = LabelSchema(cells.labels.name, tuple(cells.labels.classes[label] for label in kept))
    rows = [i for i, target in enumerate(cells.targets) if target in kept]
    return cells.subset(rows).harmonise(schema)


def starts(labels: LabelSchema, imagenet: Path) -> dict[str, MakeModel]:
    """What each training starts from, in words, and what makes its model."""
    shipped = cellnet.load_pretrained(NAME)
    cut = shipped.preprocess
    return {
        f"{NAME}, version {shipped.weights_card.version if shipped.weights_card else '?'}": partial(
            shipped.transfer, labels, crop=1.0
        ),
        "ImageNet": partial(
            cellnet.create_model,
            NAME,
            labels,
            weights=imagenet,
            image_size=cut.image_size,
            mean=cut.mean,
            std=cut.std,
        ),
    }


def main() -> None:
    """Cross-validate every start and write the table."""
    root, imagenet, out = map(Path, sys.argv[1:4])
    cells = frequent(cellnet.load_dataset("folder", root))
    rows = []
    for start, make in starts(cells.labels, imagenet).items():
        folder = out / start.partition(",")[0]
        result = cross_validate(
            cells, make, CONFIG, folder, k=FOLDS, resume=True, starting_weights=start, announce=print, device="cpu"
        )
        figures = result.report.metrics
        rows.append(
            {
                "data": root.name,
                "start": start,
                "classes": str(len(cells.labels)),
                "images": str(result.report.n),
                "trained_on": str(round(len(cells) * (1 - 1 / FOLDS) * 0.9)),
                **{name: str(figures[name]) for name in ("accuracy", "balanced_accuracy", "macro_f1")},
                **machine_facts(),
            }
        )
        print(start, rows[-1]["balanced_accuracy"], flush=True)
    replace_rows(RESULTS.with_name("fine_tune.csv"), ("data", "start"), rows)


if __name__ == "__main__":
    main()
