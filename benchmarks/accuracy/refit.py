"""Fit anew what shipped models carry beside their weights: familiarity, words for cells, calibration, thresholds.

    python benchmarks/accuracy/refit.py inception_v3 xception --root data

The weights, the version and its scorings stay, and so do the folders that share the weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from release import SHIPPED, fit_probes

from cellnet.cli.inputs import divide, open_dataset
from cellnet.hub import load, refit


def main() -> None:
    """Load, fit, save."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="+")
    words.add_argument("--root", type=Path, required=True, help="folder that holds PBC")
    words.add_argument("--keep-words", action="store_true", help="leave the words for cells as they are")
    words.add_argument("--within", type=Path, default=SHIPPED)
    given = words.parse_args()

    parts = divide(open_dataset("pbc", given.root, "samples"), "0.7,0.1,0.2", 0)[0]
    for name in given.names:
        folder = given.within / name
        model = load(folder)
        if model.weights_card is None or parts[0].fingerprint() != model.weights_card.training_data_hash:
            raise SystemExit(f"{name} was trained on another split than 0.7,0.1,0.2 with seed 0.")
        fit_probes(model, parts, given.root, words=not given.keep_words)
        refit(model, folder)
        print(name, model.thresholds)


if __name__ == "__main__":
    main()
