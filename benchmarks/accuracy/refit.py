"""Fit anew what shipped models carry beside their weights: familiarity, words for cells, calibration, thresholds.

    python benchmarks/accuracy/refit.py inception_v3 xception --root data

The weights, the version and its scorings stay. Folders that share a model's weights must be released after it, since
they know its file by its hash.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from release import BESIDE, SHIPPED, fit_probes

from cellnet.cli.inputs import divide, open_dataset
from cellnet.hub import load, save
from cellnet.hub.config import CheckpointConfig


def main() -> None:
    """Load, fit, save."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="+")
    words.add_argument("--root", type=Path, required=True, help="folder that holds PBC")
    words.add_argument("--within", type=Path, default=SHIPPED)
    given = words.parse_args()

    parts = divide(open_dataset("pbc", given.root, "samples"), "0.7,0.1,0.2", 0)[0]
    for name in given.names:
        folder = given.within / name
        model, config = load(folder), CheckpointConfig.read(folder)
        if parts[0].fingerprint() != config.card.training_data_hash:
            raise SystemExit(f"{name} was trained on another split than 0.7,0.1,0.2 with seed 0.")
        fit_probes(model, parts, given.root)
        beside = {file: file.read_bytes() for name in BESIDE if (file := folder / name).exists()}
        save(model, folder, card=config.card, storage=config.storage, overwrite=True)
        for file, data in beside.items():
            file.write_bytes(data)
        print(name, model.thresholds)


if __name__ == "__main__":
    main()
