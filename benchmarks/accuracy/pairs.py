"""Ways to train the same network, judged on the same test part: benchmarks/results/NAME.csv, with paired differences.

    python benchmarks/accuracy/pairs.py contrast cross-entropy=runs/cross_entropy contrast=runs/supcon
    python benchmarks/accuracy/pairs.py unet classes=runs/unet "classes and nuclei"=runs/unet_mask

The folders are those of ``cellnet train``; the first way is what the others are compared with.
"""

from __future__ import annotations

import shlex
import sys
import tomllib
from pathlib import Path

from collect import RESULTS, machine_facts, replace_rows, seconds_of, stages

import cellnet
from cellnet.errors import DataError
from cellnet.evaluation.compare import points
from cellnet.inference import Predictions


def row_of(way: str, run: Path) -> dict[str, str]:
    """What a run says of itself.

    Raises:
        DataError: It is not done.
    """
    parts = stages(run)
    model = cellnet.load_pretrained(parts[-1] / "model")
    card = model.weights_card
    if card is None or not card.num_test_images:
        raise DataError(f"{parts[-1]}/model was judged on no test part; train it with `cellnet train`.")
    epochs = [str(tomllib.loads((part / "config.toml").read_text(encoding="utf-8"))["epochs"]) for part in parts]
    words = [Path(word).name if word.startswith("/") else word for word in shlex.split(card.command)]
    return {
        "way": way,
        "model": model.backbone.name,
        "image_size": str(model.preprocess.image_size),
        "start": card.starting_weights,
        "epochs": ", then ".join(epochs),
        "minutes": f"{sum(map(seconds_of, parts)) / 60:.0f}",
        "test_images": str(card.num_test_images),
        "command": shlex.join(words),
    }


def rows_of(runs: dict[str, Path]) -> list[dict[str, str]]:
    """A row for each way, with its difference from the first."""
    tables = {way: Predictions.read_csv(stages(run)[-1] / "report" / "predictions.csv") for way, run in runs.items()}
    compared = cellnet.compare(*tables.values(), names=list(tables))
    first = next(iter(runs))
    beside = {one.test.second: one for one in compared.differences if one.test.first == first}
    rows = []
    for way, run in runs.items():
        figures = {name: str(figure) for name, figure in compared.models[way].items()}
        row = row_of(way, run) | figures | {"difference": "", "p": ""}
        if way in beside:
            accuracy = beside[way].figures["accuracy"]
            turned = type(accuracy)(-accuracy.value, -accuracy.high, -accuracy.low)  # this way less the first
            row |= {"difference": points(turned), "p": f"{beside[way].test.p:.2g}"}
        rows.append(row | machine_facts())
    return rows


if __name__ == "__main__":
    given = {way: Path(run) for way, _, run in (word.partition("=") for word in sys.argv[2:])}
    replace_rows(RESULTS.with_name(f"{sys.argv[1]}.csv"), ("way",), rows_of(given))
