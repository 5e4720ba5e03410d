"""What an audit costs, and what it finds.

    python benchmarks/speed/audit.py ROOT          # time and memory on a quarter, half and all of the images
    python benchmarks/speed/audit.py ROOT planted  # recall and precision on copies put among the images

ROOT holds one folder of images a class (PBC, for the figures in the results). Each measurement runs in a process of
its own; the memory is what the audit adds to the imported library. The copies are made of real images: shifted by
1 to 6 px, cut to 80 to 95 % of the side, compressed anew at quality 40 to 95, brightened or darkened by up to 15 %,
resized to 50 to 150 %, or all of these in turn.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from harness import in_fresh_process, machine, write
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import binomtest

from cellnet import audit
from cellnet.datasets import CellDataset, CellFolder
from cellnet.datasets.audit import Audit

COPIES = 300
"""Copies of each kind."""

Image = NDArray[np.uint8]
Change = Callable[[Image, Generator], Image]


def shifted(image: Image, rng: Generator) -> Image:
    """1 to 6 px along both axes; what comes in is reflected."""
    down, right = rng.integers(1, 7, 2) * rng.choice([-1, 1], 2)
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return np.asarray(cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT), np.uint8)


def cropped(image: Image, rng: Generator) -> Image:
    """80 to 95 % of the side, anywhere."""
    height, width = (int(rng.uniform(0.8, 0.95) * side) for side in image.shape[:2])
    top, left = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
    return image[top : top + height, left : left + width]


def compressed(image: Image, rng: Generator) -> Image:
    """JPEG of quality 40 to 95."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def brightened(image: Image, rng: Generator) -> Image:
    """Up to 15 % brighter or darker."""
    return np.asarray(cv2.convertScaleAbs(image, alpha=rng.uniform(0.85, 1.15)), np.uint8)


def resized(image: Image, rng: Generator) -> Image:
    """50 to 150 % of the size."""
    factor = rng.uniform(0.5, 1.5)
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)


def all_of_them(image: Image, rng: Generator) -> Image:
    """Shifted, cropped, resized, brightened and compressed."""
    for change in (shifted, cropped, resized, brightened, compressed):
        image = change(image, rng)
    return image


KINDS: dict[str, Change] = {
    "shifted": shifted,
    "cropped": cropped,
    "compressed": compressed,
    "brightened": brightened,
    "resized": resized,
    "all in turn": all_of_them,
}


def measure(root: Path, share: int, near: bool) -> dict[str, Any]:
    """Audit every ``share``-th image in this process, and say what it took."""
    cells = CellFolder(root)
    cells = cells.subset(np.arange(0, len(cells), share))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, work = time.perf_counter(), time.process_time()
    found = audit(cells, near=near)
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - work,
        "extra_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10,
        "images": len(cells),
        "counts": {kind: number["pairs"] for kind, number in found.to_dict()["counts"].items()},
    }


def costs(root: Path, shares: tuple[int, ...] = (1, 2, 4), fresh: bool = True) -> None:
    """Measure and write ``audit.csv``.

    Args:
        root: One folder of images a class.
        shares: Every which image is looked at, for near-identical ones too.
        fresh: Each size in a process of its own.
    """
    table = []
    for share, near in (*((share, True) for share in shares), (1, False)):
        if fresh:
            took = json.loads(in_fresh_process(__file__, root, "measure", share, int(near)))
        else:
            took = measure(root, share, near)
        table.append(
            {
                "what": "whole audit" if near else "without near-identical images",
                "images": f"{took['images']}",
                "seconds": f"{took['seconds']:.1f}",
                "processor_seconds": f"{took['processor_seconds']:.1f}",
                "extra_memory_MiB": f"{took['extra_mib']:.0f}",
                "identical_pairs": f"{took['counts']['identical']}",
                "near_pairs": f"{took['counts']['near']}" if near else "",
                "overlapping_fields": f"{took['counts']['overlap']}" if near else "",
                "machine": machine(os.cpu_count() or 1),
                "load": f"{os.getloadavg()[0]:.1f}",
            }
        )
    write("audit", table)


def plant(cells: CellDataset, folder: Path, rng: Generator) -> tuple[CellDataset, list[tuple[str, int]]]:
    """The data set with copies after its own images, and for each copy its kind and the index of its source."""
    files, sources = [], []
    chosen = iter(rng.permutation(len(cells)).tolist())
    for kind, change in KINDS.items():
        for number in range(min(COPIES, len(cells) // len(KINDS))):
            index = next(chosen)
            image = cv2.imread(cells.files[index])
            if image is None:
                raise SystemExit(f"{cells.files[index]} cannot be read.")
            files.append(folder / f"{kind}_{number}.jpg")
            cv2.imwrite(str(files[-1]), change(np.asarray(image, np.uint8), rng))
            sources.append((kind, index))
    targets = [*cells.targets, *(cells.targets[index] for _, index in sources)]
    return CellDataset([*cells.files, *files], targets, cells.labels), sources


def planted(root: Path) -> None:
    """Put copies among the images, audit them all, and count."""
    cells = CellFolder(root)
    known = related(audit(cells), len(cells))
    with tempfile.TemporaryDirectory() as folder:
        mixed, sources = plant(cells, Path(folder), np.random.default_rng(0))
        found = audit(mixed)
    unit = related(found, len(mixed))
    origin = [*range(len(cells)), *(source for _, source in sources)]
    table = []
    for kind in KINDS:
        copies = {len(cells) + i for i, (name, _) in enumerate(sources) if name == kind}
        hits = sum(unit[copy] == unit[origin[copy]] for copy in copies)
        pairs = [pair.indices for pair in found.pairs if copies & set(pair.indices)]
        right = sum(known[origin[one]] == known[origin[other]] for one, other in pairs)
        table.append(
            {
                "copies": kind,
                "planted": f"{len(copies)}",
                "found": f"{hits}",
                "recall": interval(hits, len(copies)),
                "pairs_reported": f"{len(pairs)}",
                "right": f"{right}",
                "precision": interval(right, len(pairs)),
                "among_images": f"{len(mixed)}",
            }
        )
    write("audit_planted", table)


def related(found: Audit, count: int) -> list[int]:
    """A number for each image, equal for those that a chain of pairs ties together."""
    unit = list(range(count))
    for pair in found.pairs:
        one, other = (unit[index] for index in pair.indices)
        unit = [min(one, other) if number in (one, other) else number for number in unit]
    return unit


def interval(hits: int, count: int) -> str:
    """A share in per cent with its 95 % interval."""
    if not count:
        return ""
    ends = binomtest(hits, count).proportion_ci(method="wilson")
    return f"{100 * hits / count:.1f} [{100 * ends.low:.1f}–{100 * ends.high:.1f}]"


if __name__ == "__main__":
    match sys.argv[1:]:
        case [root]:
            costs(Path(root))
        case [root, "planted"]:
            planted(Path(root))
        case [root, "measure", share, near]:
            print(json.dumps(measure(Path(root), int(share), near == "1")))
        case _:
            sys.exit(__doc__)
