"""Time and memory of SMOTE on images, beside imbalanced-learn.

    python benchmarks/speed/smote.py            # 4,000 images of 128 px
    python benchmarks/speed/smote.py big        # 12,000 images of 299 px, which the peer has no room for
    python benchmarks/speed/smote.py --images 400 --try    # prints, and writes no table

The images are noise, in the class proportions of PBC; distances take the same time whatever they show.
imbalanced-learn gets them as float32, the smallest type that it does not let wrap around; cellnet as bytes. ``cellnet``
draws the triples of a lazy data set, ``cellnet, all pixels`` makes the whole array, as the peer does; their images are
compared. Times are interleaved in one process. Memory is what a process of its own takes at its peak beyond the images
that it was given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import extra_memory, in_fresh_process, interleave, machine, rows, write
from imblearn.over_sampling import SMOTE as PEER
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cellnet.balancing import SMOTE
from cellnet.datasets import CellDataset
from cellnet.labels import PBC_LABELS

COUNTS = np.array([1218, 3117, 1551, 2895, 1214, 1420, 3329, 2348])  # PBC's, in label order
OPTIONS: dict[str, Any] = {"k_neighbors": 5, "random_state": 0}
PACKAGES = ("torch", "numpy", "scikit-learn", "imbalanced-learn")

Given = tuple[NDArray[np.uint8], NDArray[np.int64]]


def data(images: int, size: int) -> Given:
    """Noise, uint8 N×3×S×S, and labels in PBC's proportions."""
    counts = np.maximum(images * COUNTS // COUNTS.sum(), 7)
    targets = np.repeat(np.arange(len(counts)), counts)
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (len(targets), 3, size, size), np.uint8), targets


def peer(given: Given) -> Callable[[], NDArray[np.float32]]:
    """The whole array of imbalanced-learn, of float32 rows."""
    flat, targets = given[0].reshape(len(given[0]), -1).astype(np.float32), given[1]
    return lambda: PEER(**OPTIONS).fit_resample(flat, targets)[0]


def lazily(given: Given) -> Callable[[], CellDataset]:
    """Our triples, of a data set."""
    # Channels-last, as `preload` and packed sets have it.
    images = torch.from_numpy(given[0]).contiguous(memory_format=torch.channels_last)
    cells = CellDataset(None, given[1], PBC_LABELS, images=images)
    return lambda: SMOTE(**OPTIONS).resample(cells)


def at_once(given: Given) -> Callable[[], NDArray[np.uint8]]:
    """Our whole array."""
    return lambda: SMOTE(**OPTIONS).fit_resample(*given)[0]


WORK: dict[str, Callable[[Given], Callable[[], Any]]] = {
    "imbalanced-learn": peer,
    "cellnet": lazily,
    "cellnet, all pixels": at_once,
}


def compare(given: Given) -> str:
    """Whether all images are the same: bytes that are the peer's numbers, which are float32, rounded."""
    expected, dataset, whole = (WORK[name](given)() for name in WORK)
    for start in range(0, len(expected), 256):
        some = np.arange(start, min(start + 256, len(expected)))
        images = dataset.batch(some)[0].numpy()
        away = np.abs(expected[some] - images.reshape(len(some), -1)).max()
        if away > 0.5 + 1e-4 or not np.array_equal(images, whole[some]):
            return "no"
    return "yes"


def measure_peak(name: str, images: int, size: int) -> str:
    """In this process: MiB that the work takes beyond the images."""
    WORK[name](data(100, 16))()  # what is loaded on first use
    extra = extra_memory(WORK[name](data(images, size)))
    return "" if extra is None else f"{extra:.0f}"


def reading(given: Given) -> dict[str, Callable[[], int]]:
    """Images one by one, those that were there and those that are made when asked for."""
    balanced, count = lazily(given)(), len(given[0])

    def read(indices: range) -> Callable[[], int]:
        def run() -> int:
            for index in indices[:100]:
                balanced.image(index)
            return len(indices[:100])

        return run

    return {"image as it is": read(range(count)), "synthetic image": read(range(count, len(balanced)))}


def main(
    big: bool = False,
    images: int | None = None,
    size: int | None = None,
    rounds: int = 3,
    fresh: bool = True,
    show: Callable[[str, list[dict[str, str]]], object] = write,
) -> None:
    """Measure, and write ``speed_smote.csv`` or ``speed_smote_big.csv``.

    Args:
        big: 12,000 images of 299 px without the peer, else 4,000 of 128 px.
        images: Another number of images.
        size: Another side, in pixels.
        rounds: Of measuring.
        fresh: Measure memory in processes of their own.
        show: What to do with the table.
    """
    torch.set_num_threads(1)
    images, size = images or (12_000 if big else 4_000), size or (299 if big else 128)
    given = data(images, size)
    what = {"images": f"{len(given[0]):,} of {size} px"}
    names = ["cellnet"] if big else list(WORK)

    def timed(name: str) -> Callable[[], int]:
        work = WORK[name](given)
        return lambda: (work(), len(given[0]))[1]

    table = []
    with threadpool_limits(1):  # for the peer
        rates = interleave({name: timed(name) for name in names}, rounds=1 if big else rounds)
    for row in rows(rates, names[0], PACKAGES):
        seconds = len(given[0]) / float(np.median(rates[row["what"]]))
        wanted = (row["what"], images, size)
        extra = in_fresh_process(__file__, "peak", *wanted).strip() if fresh else measure_peak(*wanted)
        table.append(what | row | {"seconds": f"{seconds:.2f}", "extra_mib": extra})
    rates = interleave(reading(given), rounds=rounds)
    for row in rows(rates, "image as it is", PACKAGES):
        table.append(what | row | {"seconds": f"{1 / float(np.median(rates[row['what']])):.6f}", "extra_mib": ""})
    same = "" if big else compare(given)
    show(
        "speed_smote_big" if big else "speed_smote",
        [row | {"same_images": same, "machine": machine(torch.get_num_threads())} for row in table],
    )


def print_only(name: str, table: list[dict[str, str]]) -> None:
    """Print the table and write none."""
    for row in table:
        print("  ".join(f"{key}={value}" for key, value in row.items() if key != "versions"))


def ask() -> None:
    """Do what the words say."""
    parser = argparse.ArgumentParser(description="SMOTE beside imbalanced-learn.")
    parser.add_argument("which", nargs="?", choices=("small", "big"), default="small")
    parser.add_argument("--images", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--try", action="store_true", dest="only_try", help="write no table")
    chosen = parser.parse_args()
    show = print_only if chosen.only_try else write
    main(chosen.which == "big", chosen.images, rounds=chosen.rounds, show=show)


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        torch.set_num_threads(1)
        print(measure_peak(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    else:
        ask()
