"""How time and memory grow with the number of images, and the exponents of that growth, on one core.

    python benchmarks/speed/growth.py

Each size runs in a process of its own: once for the memory that it takes at its peak beyond the images it was given,
then a few times for its time. The exponents are the slopes of straight lines through the logarithms, by least squares;
beside each stands its standard error. The data are made on the spot.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from bootstrap import CLASSES, answers
from harness import extra_memory, figure, in_fresh_process, machine, versions, write
from smote import data, lazily
from supcon import TEMPERATURE, work

import cellnet
from cellnet.datasets import CellDataset, CellFolder
from cellnet.datasets.packing import pack
from cellnet.evaluation import metrics
from cellnet.evaluation.intervals import bootstrap
from cellnet.evaluation.metrics import confusion_matrix
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS
from cellnet.losses import SupConLoss
from cellnet.models import create_model

ROUNDS = 3

Work = Callable[[], Any]


def balancing(count: int, folder: Path) -> Work:
    """The triples of SMOTE, of images of 64 px."""
    return lazily(data(count, 64))


def contrast(count: int, folder: Path) -> Work:
    """The loss of two views of each sample, and its gradient."""
    return work(SupConLoss(TEMPERATURE), count)


def auditing(count: int, folder: Path) -> Work:
    """All of the audit, of noise of 64 px: no pair is a match."""
    images, targets = data(count, 64)
    cells = CellDataset(None, targets, PBC_LABELS, images=torch.from_numpy(images))
    return lambda: cellnet.audit(cells)


def packing(count: int, folder: Path) -> Work:
    """JPEG files to one array of 128 px: the sample images, again and again."""
    samples = cellnet.samples()
    for number in range(count):
        index = number % len(samples)
        target = folder / "files" / samples.labels.names[samples.targets[index]] / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(samples.files[index], target)
    cells = CellFolder(folder / "files")
    return lambda: pack(cells, folder / "packed", Preprocess(128), overwrite=True)


def interval(count: int, folder: Path) -> Work:
    """The confusion matrix of labels, and the interval of macro F1 from a thousand draws."""
    given = answers(count)
    return lambda: bootstrap(confusion_matrix(*given, CLASSES), metrics.macro_f1, draws=1000)


def prediction(count: int, folder: Path) -> Work:
    """Predictions of an untrained MobileNet-V2 at 128 px."""
    model = create_model("mobilenet_v2", image_size=128)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, 128, 128), np.uint8))
    return lambda: model.predict(images)


class Subject(NamedTuple):
    """What is measured: how it is made ready, of what, and how many of them."""

    prepare: Callable[[int, Path], Work]
    of: str
    sizes: tuple[int, ...]


SUBJECTS = {
    "SMOTE": Subject(balancing, "images of 64 px", (1000, 2000, 4000, 8000, 16_000)),
    "SupCon": Subject(contrast, "samples, two views each", (512, 1024, 2048, 4096, 8192)),
    "audit": Subject(auditing, "images of 64 px", (500, 1000, 2000, 4000, 8000)),
    "packing": Subject(packing, "JPEG files to 128 px", (500, 1000, 2000, 4000, 8000)),
    "bootstrap": Subject(interval, "images", (10_000, 100_000, 1_000_000, 10_000_000)),
    "prediction": Subject(prediction, "images of 128 px", (64, 128, 256, 512, 1024)),
}
SIZES = {name: subject.sizes for name, subject in SUBJECTS.items()}


def measure(name: str, count: int, few: int, rounds: int) -> dict[str, Any]:
    """In this process: seconds of each round, and MiB beyond what is given; ``few`` warm up."""
    torch.set_num_threads(1)
    prepare = SUBJECTS[name].prepare
    with tempfile.TemporaryDirectory() as warm, tempfile.TemporaryDirectory() as folder:
        prepare(few, Path(warm))()  # what is loaded on first use
        run = prepare(count, Path(folder))
        extra = extra_memory(run)
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "extra_mib": extra}


def fit_exponent(counts: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """The exponent of a power law by least squares on logarithms, and its standard error.

    NaN where a value is not above zero, or where fewer than three leave nothing to tell the error from.
    """
    if len(values) < 3 or min(values) <= 0:
        return math.nan, math.nan
    x, y = np.log(counts) - np.log(counts).mean(), np.log(values)
    slope = float(x @ y / (x @ x))
    rest = y - y.mean() - slope * x
    return slope, math.sqrt(float(rest @ rest) / (len(x) - 2) / float(x @ x))


def main(sizes: Mapping[str, Sequence[int]] = SIZES, rounds: int = ROUNDS, fresh: bool = True) -> None:
    """Measure and write ``speed_growth.csv``.

    Args:
        sizes: Subject -> numbers of images, in ascending order.
        rounds: Of measuring time.
        fresh: Each size in a process of its own.
    """
    table = []
    for name, counts in sizes.items():
        found = []
        for count in counts:
            wanted = (name, count, max(8, counts[0] // 10), rounds)
            found.append(json.loads(in_fresh_process(__file__, "measure", *wanted)) if fresh else measure(*wanted))
        times = [statistics.median(took["seconds"]) for took in found]
        extras = [took["extra_mib"] or 0.0 for took in found]
        exponents = dict(zip(("time", "memory"), (fit_exponent(counts, v) for v in (times, extras)), strict=True))
        for count, took in zip(counts, found, strict=True):
            table.append(
                {
                    "what": name,
                    "of": SUBJECTS[name].of,
                    "n": str(count),
                    "seconds": f"{statistics.median(took['seconds']):.3g}",
                    "lowest": f"{min(took['seconds']):.3g}",
                    "highest": f"{max(took['seconds']):.3g}",
                    "extra_mib": "" if took["extra_mib"] is None else figure(took["extra_mib"]),
                    **{f"{of}_exponent": _known(value) for of, (value, _) in exponents.items()},
                    **{f"{of}_exponent_error": _known(error) for of, (_, error) in exponents.items()},
                    "load": f"{os.getloadavg()[0]:.1f}",
                    "machine": machine(),
                    "versions": versions("torch", "numpy"),
                }
            )
    write("speed_growth", table)


def _known(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(sys.argv[2], *map(int, sys.argv[3:]))))
    else:
        main()
