"""Fit anew what shipped models carry beside their weights: familiarity, words for cells, calibration, thresholds.

    python benchmarks/accuracy/refit.py inception_v3 xception --root data --external data/BCCD_cropped

The weights, the version and its scorings stay, and so do the folders that share the weights. ``--whole`` writes the
weights file anew with all that was fitted in it, which takes less room and breaks such folders. What the thresholds
abstain from changes, so the test part and other laboratories' images are judged anew, into the card; ``--judge`` does
that alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from release import SHIPPED, fit_probes, judge_elsewhere

import cellnet
from cellnet.cli.inputs import divide, open_dataset
from cellnet.hub import load, record, refit
from cellnet.hub.sharing import PROBES, make_whole

NOTE = "thresholds fitted anew"


def main() -> None:
    """Load, fit, save, judge."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="+")
    words.add_argument("--root", type=Path, required=True, help="folder that holds PBC")
    words.add_argument("--keep-words", action="store_true", help="leave the words for cells as they are")
    words.add_argument("--whole", action="store_true", help="put all into the weights file")
    words.add_argument("--judge", action="store_true", help="fit nothing, judge what is there")
    words.add_argument("--external", type=Path, nargs="*", default=[], help="folders of other laboratories' images")
    words.add_argument("--within", type=Path, default=SHIPPED)
    given = words.parse_args()

    parts = divide(open_dataset("pbc", given.root, "samples"), "0.7,0.1,0.2", 0)[0]
    for name in given.names:
        folder = given.within / name
        model = load(folder)
        if model.weights_card is None or parts[0].fingerprint() != model.weights_card.training_data_hash:
            raise SystemExit(f"{name} was trained on another split than 0.7,0.1,0.2 with seed 0.")
        if not given.judge:
            fit_probes(model, parts, given.root, words=not given.keep_words)
            refit(model, folder)
        if given.whole:
            make_whole(folder, folder)
            (folder / PROBES).unlink()
        card = record(folder, cellnet.evaluate(load(folder), parts[2]), note=NOTE, headline=True)
        judge_elsewhere(folder, given.external)
        print(name, "coverage", card.metrics["coverage"])


if __name__ == "__main__":
    main()
