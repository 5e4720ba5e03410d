"""Make a finished run the weights that ship with cellnet, its card and the rows of results/shipped.csv with it.

    python benchmarks/accuracy/release.py runs/hybrid/hybrid hybrid --storage int8 --root data \
        --config train.toml --external data/BCCD_cropped

The weights as stored are judged beside the run's own on the same test part: that is one scoring. Earlier scorings
stay in the card. What is released under a name that ships already takes its place, as the next version. Of a run in
stages the last one is released, and the history of the first goes with it.

A hybrid of networks that ship already takes little room: ``--share inception_v3 xception`` leaves them out of its file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from collect import RESULTS, history_of, machine_facts, replace_rows, seconds_of, stages

import cellnet
from cellnet.cards import Scoring, WeightsCard
from cellnet.cli.inputs import open_dataset
from cellnet.datasets import read_split
from cellnet.datasets.wbcatt import WBCAtt
from cellnet.evaluation import calibrate
from cellnet.evaluation.attributes import fit_attributes
from cellnet.experiments.run import facts_of
from cellnet.hub import load, record, save, share
from cellnet.hub.config import CheckpointConfig
from cellnet.inference import fit_familiarity
from cellnet.training.config import MONITORS

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks" / "robustness"))
from attributes import divide as divide_words  # noqa: E402
from shared import Parts  # noqa: E402

SHIPPED = ROOT / "src" / "cellnet" / "weights"
BESIDE = ("history.csv", "train.toml")
"""Files beside those of a checkpoint folder, which say how the weights came about."""


def main() -> None:
    """Save, judge, record, copy what the weights came from."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("run", type=Path)
    words.add_argument("name")
    words.add_argument("--storage", default="float16")
    words.add_argument("--root", type=Path, required=True, help="folder that holds PBC")
    words.add_argument("--config", type=Path, required=True, help="what cellnet train --config reads to do it again")
    words.add_argument("--external", type=Path, nargs="*", default=[])
    words.add_argument("--share", nargs="*", default=[], help="shipped models that hold a hybrid's networks, in order")
    words.add_argument("--into", type=Path, default=SHIPPED)
    given = words.parse_args()

    folder, (*before, run) = given.into / given.name, stages(given.run)
    model = load(run / "model")
    train, val, test = read_split(run / "split.csv", open_dataset("pbc", given.root, "samples"))
    if model.weights_card is None:
        raise SystemExit(f"{run}/model has no card; train it with `cellnet train`.")
    version, earlier = released(folder)
    report = cellnet.evaluate(model, test)
    own = report.scoring(version=version)
    card = replace(
        model.weights_card,
        name=given.name,
        version=version,
        command=f"cellnet train --config {SHIPPED.relative_to(ROOT)}/{given.name}/train.toml --root data "
        f"--out runs/{given.name}",
        metrics=own.metrics,
        scorings=(*earlier, own),
        training_set=facts_of(train),
        training=training_of(run, before),
        speed=speed(model),
    )
    save(model, folder, card=card, storage=given.storage, overwrite=True)
    model = load(folder)  # the rounded network's features and probabilities are others
    fit_probes(model, (train, val, test), given.root)
    save(model, folder, card=card, storage=given.storage, overwrite=True)
    for number, owner in enumerate(given.share):
        names = {f"backbone._branches.{number}.": "backbone.", f"head.branches.{number}.": "head.branch."}
        share(folder, given.into / owner, names)
    for name, source in zip(BESIDE, (run / "history.csv", given.config), strict=True):
        shutil.copyfile(source, folder / name)
    for stage in before:
        shutil.copyfile(stage / "history.csv", folder / f"history_{stage.name}.csv")

    stored = load(folder)
    judged = cellnet.evaluate(stored, test)
    called = [one.predictions.probabilities.argmax(1) for one in (judged, report)]
    same = f"{100 * (called[0] == called[1]).mean():.2f} %"
    rows = [
        row_of(folder, card, judged, weights=given.storage, same=same),
        {**row_of(folder, card, report, weights="float32", same=same), "megabytes": ""},
        *judge_elsewhere(folder, given.external),
    ]
    write_rows(rows)


def fit_probes(model: cellnet.CellClassifier, parts: Parts, root: Path, *, words: bool = True) -> None:
    """All that a shipped model carries beside its weights: what it knows, words for cells, calibration, thresholds."""
    train, val, _ = parts
    fit_familiarity(model, train, val)
    if words and (root / "wbcatt").is_dir():
        model.probes["attributes"] = fit_attributes(model, *divide_words(WBCAtt(root), parts))
    calibrate(model, val)


def row_of(
    folder: Path,
    card: WeightsCard,
    report: cellnet.Report,
    *,
    weights: str,
    data: str = "PBC pool, test part",
    same: str = "",
) -> dict[str, str]:
    """A row of results/shipped.csv."""
    return {
        "model": card.name,
        "version": card.version,
        "data": data,
        "weights": weights,
        "megabytes": f"{sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.1f}",
        "images": str(report.n),
        **{name: str(report.metrics[name]) for name in ("accuracy", "balanced_accuracy", "macro_f1", "ece")},
        "same_class_as_float": same,
        "images_per_second": str(card.speed["images_per_second"]),
        **machine_facts(),
    }


def judge_elsewhere(folder: Path, places: list[Path]) -> list[dict[str, str]]:
    """Judge shipped weights on other laboratories' folders, as they are and adapted; figures go into the card, too."""
    model, config = load(folder), CheckpointConfig.read(folder)
    # Of scale, `adapt` can only match what the model knows.
    how = "adapted to" if model.nucleus_share is not None else "normalisation measured on"
    rows = []
    for place in places:
        cells = cellnet.load_dataset("folder", place).harmonise(model.labels)
        images = [cells.image(i) for i in range(len(cells))]
        for note, judged in (("", model), (f"{how} these images", model.adapt(images))):
            report = cellnet.evaluate(judged, cells, title=place.name)
            record(folder, replace(report, dataset=place.name), note=note)
            data = ", ".join(filter(None, (place.name, note)))
            rows.append(row_of(folder, config.card, report, weights=config.storage, data=data))
    return rows


def write_rows(rows: list[dict[str, str]]) -> None:
    """Put rows into results/shipped.csv and show them."""
    replace_rows(RESULTS.with_name("shipped.csv"), ("model", "data", "weights"), rows)
    print("\n".join(f"{row['model']} {row['data']} {row['weights']}: {row['accuracy']}" for row in rows))


def training_of(run: Path, before: Sequence[Path] = ()) -> dict[str, object]:
    """How the weights of a run came about, after those of the stages before, from their own records."""
    session, history = json.loads((run / "run.json").read_text(encoding="utf-8"))["sessions"][-1], history_of(run)
    config = cellnet.TrainConfig.from_toml(run / "config.toml")
    best = max(history, key=lambda row: MONITORS[config.monitor] * float(row[config.monitor]))
    return {
        "seed": config.seed,
        "epochs": len(history),
        "best_epoch": int(best["epoch"]),
        "precision": config.precision,
        "hours": round(sum(map(seconds_of, (*before, run))) / 3600, 2),
        **{key: session[key] for key in ("versions", "hardware")},
    }


def released(folder: Path) -> tuple[str, tuple[Scoring, ...]]:
    """The number of the next version, and every scoring of those before."""
    if not folder.exists():
        return "1", ()
    card = load(folder).weights_card
    if card is None:
        return "1", ()
    scorings = card.scorings
    if not scorings:  # released before cards kept them
        scorings = (Scoring(card.training_data, "test", card.num_test_images, card.metrics, version=card.version),)
    return str(int(card.version) + 1), scorings


def speed(model: cellnet.CellClassifier, batch_size: int = 32, repeats: int = 7) -> dict[str, object]:
    """Images a second through the network, decoding not counted."""
    images = torch.randint(0, 256, (batch_size, 3, *[model.preprocess.image_size] * 2), dtype=torch.uint8)
    times = []
    with torch.inference_mode():
        for _ in range(repeats):
            start = time.perf_counter()
            model(images)
            times.append(time.perf_counter() - start)
    machine = f"{machine_facts()['machine']}, {torch.get_num_threads()} threads"
    return {
        "images_per_second": round(batch_size / statistics.median(times), 1),
        "batch_size": batch_size,
        "machine": machine,
    }


if __name__ == "__main__":
    main()
