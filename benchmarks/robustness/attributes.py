"""How often are the words for a cell right that are read off a network's features? WBCAtt's attributes, probe by probe.

    python benchmarks/robustness/attributes.py --weights inception_v3 --root data

The layers learn on those images of WBCAtt that the network was trained on, and are judged on those of its test part,
which neither has seen: not WBCAtt's own parts, since these divide the same images otherwise. Weights that carry such
layers tell how often they were right themselves.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from shared import RESULTS, Parts, machine_facts, own_parts, replace_rows

import cellnet
from cellnet.cli.inputs import open_dataset
from cellnet.datasets.wbcatt import WBCAtt
from cellnet.evaluation.attributes import fit_attributes
from cellnet.evaluation.intervals import Estimate
from cellnet.models.probes import Attributes


def main() -> None:
    """Fit, judge, and write the rows."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--weights", nargs="+", default=["inception_v3"])
    words.add_argument("--root", type=Path, required=True, help="folder that holds PBC and the tables of WBCAtt")
    words.add_argument("--out", type=Path, default=RESULTS / "attributes.csv")
    given = words.parse_args()

    parts = open_dataset("pbc", given.root, "samples").split((0.7, 0.1, 0.2), seed=0)
    cells = WBCAtt(given.root)
    for name in given.weights:
        model = cellnet.load_pretrained(name)
        train, test = divide(cells, own_parts(model, parts))
        probe = model.attributes or fit_attributes(model, train, test, progress=True)
        command = f"python benchmarks/robustness/attributes.py --weights {Path(name).name} --root data"
        rows = [
            {"weights": Path(name).name, "trained_on": str(len(train)), **row, **machine_facts(), "command": command}
            for row in rows_of(probe)
        ]
        replace_rows(given.out, ("weights", "attribute"), rows)
        for row in rows:
            print("  ".join(list(row.values())[:7]), flush=True)
    print(given.out)


def divide(cells: WBCAtt, parts: Parts) -> tuple[WBCAtt, WBCAtt]:
    """The images of the network's training part, and those of its test part."""
    hashes = cells.content_hashes()
    train, test = (
        cells.subset(np.isin(hashes, parts[place].content_hashes()), part)
        for place, part in ((0, "train"), (2, "test"))
    )
    return train, test


def rows_of(probe: Attributes) -> Iterator[dict[str, str]]:
    """A row for each attribute; ``most_frequent`` is what always the same word would reach."""
    for name, figures in probe.accuracy.items():
        yield {
            "attribute": name.replace("_", " "),
            "words": str(len(probe.words[name])),
            "images": f"{figures['n']}",
            "accuracy": str(Estimate(*(figures[end] for end in ("value", "low", "high")))),
            "balanced_accuracy": str(Estimate(*(figures[f"balanced_{end}"] for end in ("value", "low", "high")))),
            "most_frequent": f"{100 * figures['chance']:.2f} %",
        }


if __name__ == "__main__":
    main()
