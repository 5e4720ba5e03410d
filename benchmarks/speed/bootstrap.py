"""Time of a bootstrap interval of macro F1: scoring resampled images by scikit-learn, and drawing confusion matrices.

    python benchmarks/speed/bootstrap.py

A million images of eight classes, on one core. ``scikit-learn loop`` draws images with replacement and scores them
anew; ``numpy loop`` counts their confusion matrix instead, the least that a loop over images can do.
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
LOOP_DRAWS, DRAWS, ROUNDS = 2, 2000, 3


def answers() -> tuple[np.ndarray, np.ndarray]:
    """True and predicted labels."""
    generator = np.random.default_rng(0)
    targets = generator.integers(CLASSES, size=IMAGES)
    wrong = (targets + generator.integers(1, CLASSES, IMAGES)) % CLASSES
    return targets, np.where(generator.random(IMAGES) < ACCURACY, targets, wrong)


def loop(score: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[], int]:
    """Scores of resampled images."""
    (targets, called), generator = answers(), np.random.default_rng(0)

    def run() -> int:
        for _ in range(LOOP_DRAWS):
            chosen = generator.integers(IMAGES, size=IMAGES)
            score(targets[chosen], called[chosen])
        return LOOP_DRAWS

    return run


def drawn(interval: Callable[..., object]) -> Callable[[], int]:
    """An interval from the confusion matrix."""
    confusion = confusion_matrix(*answers(), CLASSES)

    def run() -> int:
        interval(confusion, metrics.macro_f1, draws=DRAWS)
        return DRAWS

    return run


def main() -> None:
    """Measure and write ``speed_bootstrap.csv``."""
    work = {
        "scikit-learn loop": loop(lambda targets, called: f1_score(targets, called, average="macro")),
        "numpy loop": loop(lambda targets, called: metrics.macro_f1(confusion_matrix(targets, called, CLASSES)).item()),
        "multinomial_bootstrap": drawn(multinomial_bootstrap),
        "bootstrap": drawn(bootstrap),
    }
    table = rows(interleave(work, ROUNDS), "scikit-learn loop", ("numpy", "scikit-learn"))
    write("speed_bootstrap", [{"images": f"{IMAGES:,}"} | row for row in table])


if __name__ == "__main__":
    main()
