"""Time of a bootstrap interval of macro F1: scoring resampled images by scikit-learn, and drawing confusion matrices.

    python benchmarks/speed/bootstrap.py

A million images of eight classes, then 3,421, on one core. ``scikit-learn loop`` draws images with replacement and
scores them anew; ``numpy loop`` counts their confusion matrix instead, the least that a loop over images can do.
``multinomial_bootstrap`` draws the matrix itself, which has the same law, and ``bootstrap`` from its Dirichlet
posterior. An item is one resample. A loop makes two in a round, the others two thousand, so that their rates are
compared, not whole intervals.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from harness import interleave, rows, write
from sklearn.metrics import f1_score

from cellnet.evaluation import metrics
from cellnet.evaluation.intervals import bootstrap, multinomial_bootstrap
from cellnet.evaluation.metrics import confusion_matrix

IMAGES, CLASSES, ACCURACY = 1_000_000, 8, 0.985
FEW_IMAGES = 3421
LOOP_DRAWS, DRAWS, ROUNDS = 2, 2000, 3


def answers(images: int) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted labels."""
    generator = np.random.default_rng(0)
    targets = generator.integers(CLASSES, size=images)
    wrong = (targets + generator.integers(1, CLASSES, images)) % CLASSES
    return targets, np.where(generator.random(images) < ACCURACY, targets, wrong)


def loop(score: Callable[[np.ndarray, np.ndarray], float], images: int) -> Callable[[], int]:
    """Scores of resampled images."""
    (targets, called), generator = answers(images), np.random.default_rng(0)

    def run() -> int:
        for _ in range(LOOP_DRAWS):
            chosen = generator.integers(images, size=images)
            score(targets[chosen], called[chosen])
        return LOOP_DRAWS

    return run


def drawn(interval: Callable[..., object], images: int) -> Callable[[], int]:
    """An interval from the confusion matrix."""
    confusion = confusion_matrix(*answers(images), CLASSES)

    def run() -> int:
        interval(confusion, metrics.macro_f1, draws=DRAWS)
        return DRAWS

    return run


def counted(targets: np.ndarray, called: np.ndarray) -> float:
    """Macro F1 by way of the confusion matrix."""
    return metrics.macro_f1(confusion_matrix(targets, called, CLASSES)).item()


def main(many: int = IMAGES, few: int = FEW_IMAGES, rounds: int = ROUNDS) -> None:
    """Measure, and write ``speed_bootstrap.csv`` for many images and ``speed_bootstrap_small.csv`` for few."""
    for name, images in (("speed_bootstrap", many), ("speed_bootstrap_small", few)):
        work = {
            "scikit-learn loop": loop(lambda targets, called: f1_score(targets, called, average="macro"), images),
            "numpy loop": loop(counted, images),
            "multinomial_bootstrap": drawn(multinomial_bootstrap, images),
            "bootstrap": drawn(bootstrap, images),
        }
        table = rows(interleave(work, rounds), "scikit-learn loop", ("numpy", "scikit-learn"))
        write(name, [{"images": f"{images:,}"} | row for row in table])


if __name__ == "__main__":
    main()
