"""Ways to train the same network, judged on the same test part: benchmarks/results/NAME.csv, with paired differences.

    python benchmarks/accuracy/pairs.py contrast cross-entropy=runs/cross_entropy contrast=runs/supcon
    python benchmarks/accuracy/pairs.py unet classes=runs/unet "classes and nuclei"=runs/unet_mask

The folders are those of ``cellnet train``; the first way is what the others are compared with.
"""

from __future__ import annotations

import sys
from pathlib import Path

from collect import RESULTS, replace_rows, row_of, stages

import cellnet
from cellnet.evaluation.compare import points
from cellnet.inference import Predictions


def rows_of(runs: dict[str, Path]) -> list[dict[str, str]]:
    """A row for each way, with its difference from the first."""
    tables = {way: Predictions.read_csv(stages(run)[-1] / "report" / "predictions.csv") for way, run in runs.items()}
    compared = cellnet.compare(*tables.values(), names=list(tables))
    first = next(iter(runs))
    beside = {one.test.second: one for one in compared.differences if one.test.first == first}
    rows = []
    for way, run in runs.items():
        figures = {name: str(figure) for name, figure in compared.models[way].items()}
        row = {"way": way} | row_of(run) | figures | {"difference": "", "p": ""}
        if way in beside:
            accuracy = beside[way].figures["accuracy"]
            turned = type(accuracy)(-accuracy.value, -accuracy.high, -accuracy.low)  # this way less the first
            row |= {"difference": points(turned), "p": f"{beside[way].test.p:.2g}"}
        rows.append(row)
    return rows


if __name__ == "__main__":
    given = {way: Path(run) for way, _, run in (word.partition("=") for word in sys.argv[2:])}
    replace_rows(RESULTS.with_name(f"{sys.argv[1]}.csv"), ("way",), rows_of(given))
