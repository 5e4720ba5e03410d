"""Does balancing help? PBC made imbalanced, eight ways, the same steps for each: benchmarks/results/imbalance.csv.

    python benchmarks/accuracy/imbalance.py packed/pbc64 mobilenetv2_100_imagenet.safetensors runs/imbalance 0,1,2,3,4

Every seed draws which classes are rare: they keep from 150 down to 8 training images, in equal ratios. All methods see
the same images, and are judged on the same test part, which is left as it is. Done runs are read, not repeated.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from collect import RESULTS, machine_facts, replace_rows
from scipy import stats

import cellnet
from cellnet.datasets import CellDataset
from cellnet.evaluation import Report
from cellnet.experiments.study import StudyFolder, StudyRun

MOST, LEAST = 150, 8
STEPS = 400
BATCH_SIZE = 32
RARE = 3  # classes whose recall is shown apart: those with the fewest training images
CONFIG = cellnet.TrainConfig(batch_size=BATCH_SIZE, weight_decay=0.05, label_smoothing=0.05, ema=0.99, norm_batches=5)
METHODS: dict[str, dict[str, Any]] = {
    "none": {},
    "class_weights=balanced": {"class_weights": "balanced"},
    "class_weights=effective": {"class_weights": "effective"},
    "focal_gamma=2": {"focal_gamma": 2.0},
    "sampling=class_balanced": {"sampling": "class_balanced"},
    "balance=RandomOverSampler": {"balance": "RandomOverSampler"},
    "balance=SMOTE": {"balance": "SMOTE"},
    "balance=EmbeddingSMOTE": {"balance": "EmbeddingSMOTE"},
}


def imbalanced(train: CellDataset, seed: int) -> tuple[CellDataset, list[int]]:
    """A part of the training images, and the labels from the most frequent to the rarest."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(train.labels)).tolist()
    counts = np.geomspace(MOST, LEAST, len(order)).round().astype(int)
    rows = [
        generator.choice(np.flatnonzero(train.targets == label), min(count, int((train.targets == label).sum())), False)
        for label, count in zip(order, counts.tolist(), strict=True)
    ]
    return train.subset(np.sort(np.concatenate(rows))), order


def run(folder: StudyFolder, parts: list[CellDataset], start: Path, seed: int, method: str) -> StudyRun:
    """One training; an epoch of a method that adds images is longer, so it has fewer of them."""
    options = METHODS[method]
    train = parts[0]
    largest = max(train.class_counts().values()) * len(train.labels)
    images = largest if "balance" in options else len(train)
    config = replace(CONFIG, epochs=round(STEPS * BATCH_SIZE / images), seed=seed, **options)
    make = partial(
        cellnet.create_model,
        "mobilenet_v2",
        train.labels,
        weights=start,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        image_size=64,
    )
    return folder.run(f"{method},seed={seed}", parts, make, config, starting_weights=start.name)


def figures(result: StudyRun, rare: list[int]) -> dict[str, float]:
    """Shares that a method is judged by."""
    report = Report.from_predictions(result.predictions)
    names = [report.schema.names[label] for label in rare]
    return {
        "balanced_accuracy": report.metrics["balanced_accuracy"].value,
        "macro_f1": report.metrics["macro_f1"].value,
        "recall_of_rare": float(np.mean([report.per_class[name]["recall"].value for name in names])),
    }


def mean_with_interval(values: list[float]) -> str:
    """A mean in points with its 95 % t interval over seeds."""
    mean, error = 100 * np.mean(values), 100 * stats.sem(values)
    reach = stats.t.ppf(0.975, len(values) - 1) * error
    return f"{mean:+.2f} [{mean - reach:+.2f} to {mean + reach:+.2f}]"


def main() -> None:
    """Run all methods over the seeds given and write the table."""
    root, start, out = map(Path, sys.argv[1:4])
    seeds = [int(seed) for seed in sys.argv[4].split(",")]
    train, val, test = cellnet.load_dataset("packed", root).split((0.2, 0.03, 0.77), seed=0)
    folder = StudyFolder(out, {"most": MOST, "least": LEAST, "steps": STEPS}, resume=True, announce=print, device="cpu")
    found: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for seed in seeds:
        part, order = imbalanced(train, seed)
        for method in METHODS:
            found[method].append(figures(run(folder, [part, val, test], start, seed, method), order[-RARE:]))
    rows = []
    for method, results in found.items():
        row = {"method": method, "seeds": str(len(seeds)), "test_images": str(len(test))}
        for figure in results[0]:
            values = [result[figure] for result in results]
            row[figure] = f"{100 * np.mean(values):.2f} %"
            if method != "none":
                differences = [
                    result[figure] - base[figure] for result, base in zip(results, found["none"], strict=True)
                ]
                row[f"{figure}_difference"] = mean_with_interval(differences)
            else:
                row[f"{figure}_difference"] = ""
        rows.append(row)
    rows[0] |= machine_facts() | {
        "command": f"python benchmarks/accuracy/imbalance.py {' '.join(map(str, sys.argv[1:]))}"
    }
    replace_rows(
        RESULTS.with_name("imbalance.csv"), ("method",), [{**dict.fromkeys(rows[0], ""), **row} for row in rows]
    )


if __name__ == "__main__":
    main()
