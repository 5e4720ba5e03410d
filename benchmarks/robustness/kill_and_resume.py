"""Kill trainings by SIGKILL at random moments, resume them until they are done, and compare them bit for bit.

Each run is killed up to so many times, at moments drawn evenly over its length; a checkpoint is written after every
step, so that many kills fall into the writing of one. The runs differ in optimizer, schedule, augmentation, mixing,
accumulation and workers.

    python benchmarks/robustness/kill_and_resume.py [--runs 20] [--kills 5] [--seed 0]
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import multiprocessing
import random
import signal
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from cellnet.files import atomic_path

RESULTS = Path(__file__).parents[1] / "results" / "kill_and_resume.csv"
FILES = ("best.safetensors", "last.safetensors")
TIMES = ("seconds", "images_per_second")

# Between them: every optimizer, every part of the state, and every source of random draws.
VARIANTS: tuple[dict[str, Any], ...] = (
    {"optimizer": "adamw", "ema": 0.9, "augmentation": "strong"},
    {"optimizer": "sgd", "mixup": 0.2, "cutmix": 1.0, "freeze_epochs": 1},
    {"optimizer": "adam", "augmentation": "domain", "gradient_accumulation": 2, "workers": 1, "preload": False},
    {"optimizer": "rmsprop", "lr": 1e-4, "schedule": "step", "gradient_clip": 1.0, "class_weights": "balanced"},
)


def train(out: str, options: dict[str, Any]) -> None:
    """One training, new or continued; what a killed process ran."""
    import torch

    from cellnet import TrainConfig, Trainer, create_model, load_dataset

    torch.set_num_threads(1)
    train_part, val = load_dataset("synthetic", per_class=20, image_size=32, seed=1).folds(4)[0]
    torch.manual_seed(options["seed"])
    model = create_model("cnn", image_size=32)
    config = TrainConfig(epochs=4, batch_size=16, checkpoint_minutes=0, **options)
    Trainer(model, config, out=out, device="cpu").fit(train_part, val, resume=True)


def outcome(out: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Hashes of the weights, and the history without times."""
    hashes = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in FILES}
    with (out / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return hashes, [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def started(context: multiprocessing.context.ForkServerContext, out: Path, options: dict[str, Any]) -> Any:
    """A process that trains."""
    process = context.Process(target=train, args=(str(out), options))
    process.start()
    return process


def killed_run(
    context: multiprocessing.context.ForkServerContext,
    out: Path,
    options: dict[str, Any],
    moments: Sequence[float],
) -> tuple[int, int]:
    """Train, killed after each of these seconds unless it ends before; how often it was, and how often in a save."""
    kills = in_save = 0
    for moment in moments:
        process = started(context, out, options)
        process.join(moment)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        if process.exitcode != -signal.SIGKILL:  # it ended by itself just before
            break
        kills += 1
        in_save += bool(list(out.glob(".*.tmp.*")) + list(out.glob("*-new.*")))
    while not (out / FILES[1]).exists():
        process = started(context, out, options)
        process.join()
        if process.exitcode:
            raise SystemExit(f"The run in {out} could not be continued (exit code {process.exitcode}).")
    return kills, in_save


def main() -> None:
    """Run, print and write the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--runs", type=int, default=20)
    words.add_argument("--kills", type=int, default=5, help="at most, a run")
    words.add_argument("--seed", type=int, default=0, help="of the moments")
    words.add_argument("--out", type=Path, default=RESULTS)
    given = words.parse_args()
    draws = random.Random(given.seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cellnet.training.trainer", "cellnet.models"])

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(1, given.runs + 1):
            options = VARIANTS[(run - 1) % len(VARIANTS)] | {"seed": run}
            whole, cut = Path(folder) / f"{run}-whole", Path(folder) / f"{run}-cut"
            start = time.perf_counter()
            process = started(context, whole, options)
            process.join()
            length = time.perf_counter() - start
            # Moments spread over the whole run, the rest of it after each kill included.
            points = sorted(draws.uniform(0, length) for _ in range(given.kills))
            moments = [points[0], *(after - before for before, after in pairwise(points))]
            kills, in_save = killed_run(context, cut, options, [0.3 + moment for moment in moments])
            identical = outcome(whole) == outcome(cut)
            sessions = len(json.loads((cut / "run.json").read_text(encoding="utf-8"))["sessions"])
            rows.append(
                {
                    "run": run,
                    "optimizer": options["optimizer"],
                    "kills": kills,
                    "kills_while_writing": in_save,
                    "starts": sessions,
                    "bit_identical": "yes" if identical else "no",
                }
            )
            print("  ".join(f"{key}={value}" for key, value in rows[-1].items()), flush=True)
    with atomic_path(given.out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    good = sum(row["bit_identical"] == "yes" for row in rows)
    kills = sum(row["kills"] for row in rows)
    print(f"{good} of {len(rows)} runs bit-identical after {kills} kills: {given.out}")
    if good < len(rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
