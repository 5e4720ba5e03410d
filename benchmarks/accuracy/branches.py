"""Ship the networks of the hybrid as models of their own, out of the hybrid's file: only a last layer is added.

    python benchmarks/accuracy/branches.py src/cellnet/weights/hybrid --root data --external data/BCCD_cropped

The last layer of each is a logistic regression on its dense layer of 1024, fitted on the training part, its penalty
chosen by the log loss on the validation part. Then each is calibrated and scored on the test part once.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from release import SHIPPED, fit_probes, judge_elsewhere, released, row_of, speed, write_rows
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import cellnet
from cellnet.cards import WeightsCard
from cellnet.cli.inputs import divide, open_dataset
from cellnet.datasets import CellDataset
from cellnet.experiments.run import cell_scale
from cellnet.hub import load, save, share
from cellnet.inference import predict
from cellnet.models import HybridInceptionXception

PENALTIES = (0.001, 0.01, 0.1, 1.0)


def main() -> None:
    """Fit, judge, save, share, record."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("hybrid", type=Path, help="its released folder")
    words.add_argument("--root", type=Path, required=True, help="folder that holds PBC")
    words.add_argument("--external", type=Path, nargs="*", default=[])
    words.add_argument("--into", type=Path, default=SHIPPED)
    given = words.parse_args()

    hybrid = load(given.hybrid)
    if not isinstance(hybrid, HybridInceptionXception) or hybrid.weights_card is None:
        raise SystemExit(f"{given.hybrid} is not a released hybrid; run release.py first.")
    train, val, test = divide(open_dataset("pbc", given.root, "samples"), "0.7,0.1,0.2", 0)[0]
    if train.fingerprint() != hybrid.weights_card.training_data_hash:
        raise SystemExit("The hybrid was trained on another split than 0.7,0.1,0.2 with seed 0.")
    features = [dense_features(hybrid, part) for part in (train, val)]
    rows = []
    for number, network in enumerate(hybrid.backbone.branches):
        model, folder = hybrid.branch(number).eval(), given.into / network.name
        fit_last_layer(model, [part[number] for part in features], train, val)
        model.nucleus_share = cell_scale(train, model.preprocess)
        fit_probes(model, (train, val, test), given.root)
        version, earlier = released(folder)
        report = cellnet.evaluate(model, test)
        own = report.scoring(version=version)
        card = replace(
            hybrid.weights_card,
            name=network.name,
            version=version,
            starting_weights=f"a branch of hybrid, version {hybrid.weights_card.version}",
            command=f"python benchmarks/accuracy/branches.py src/cellnet/weights/{given.hybrid.name} --root data",
            metrics=own.metrics,
            scorings=(*earlier, own),
            speed=speed(model),
        )
        ship(model, folder, card, given.hybrid, number)
        rows += [row_of(folder, card, report, weights="int8"), *judge_elsewhere(folder, given.external)]
    write_rows(rows)


def dense_features(hybrid: HybridInceptionXception, part: CellDataset) -> list[np.ndarray]:
    """What the dense layer behind each network gives, N×1024 each."""
    found = predict(hybrid, part, features=True).features
    with torch.inference_mode():
        joined = torch.split(torch.from_numpy(found), hybrid.head.branch_features, dim=1)
        return [dense(one).numpy() for dense, one in zip(hybrid.head.branches, joined, strict=True)]


def fit_last_layer(
    model: cellnet.CellClassifier, features: list[np.ndarray], train: CellDataset, val: CellDataset
) -> None:
    """A logistic regression in the place of the last layer."""
    known, new = features
    fits = [LogisticRegression(C=penalty, max_iter=2000).fit(known, train.targets) for penalty in PENALTIES]
    best = min(fits, key=lambda fit: log_loss(val.targets, fit.predict_proba(new), labels=range(len(train.labels))))
    with torch.no_grad():
        model.head.classify[1].weight.copy_(torch.from_numpy(best.coef_))
        model.head.classify[1].bias.copy_(torch.from_numpy(best.intercept_))


def ship(model: cellnet.CellClassifier, folder: Path, card: WeightsCard, hybrid: Path, number: int) -> None:
    """Save what the hybrid does not hold."""
    save(model, folder, card=card, storage="int8", overwrite=True)
    names = {"backbone.": f"backbone._branches.{number}.", "head.branch.": f"head.branches.{number}."}
    share(folder, hybrid, names)


if __name__ == "__main__":
    main()
