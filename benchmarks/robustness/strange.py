"""How well do the scores of strangeness tell images that no model should answer from blood cells?

    python benchmarks/robustness/strange.py --weights mobilenet_v2 inception_v3 xception --root data \
        --external data/BCCD_cropped

The sets are those of `strange_sets`, made of the test part's images where they are made of cells, and folders of other
laboratories' images. Each is set against the whole test part, whose images are counted as false alarms; no label is
looked at. Thresholds come from the validation part: the one stored with the weights, or for the other scores the value
that as many validation images exceed. ``sure_unflagged`` is the number of images that got an answer of more than 90 %
and no flag, neither for strangeness nor for too low a probability. On other laboratories' cells such an answer may be
right.

The interval of an area takes images of one photograph or cell together (`cellnet.evaluation.ranking`), and does not
shrink to a point where none is misplaced, as a bootstrap's would.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from shared import RESULTS, machine_facts, own_parts, replace_rows
from strange_sets import StrangeSet, make_sets

import cellnet
from cellnet.cli.inputs import open_dataset
from cellnet.evaluation.clusters import Units
from cellnet.evaluation.intervals import Estimate, wilson
from cellnet.evaluation.ranking import estimate_roc_areas
from cellnet.images import decode, list_images
from cellnet.inference import NeighbourIndex, Predictions, energy_score, fit_familiarity
from cellnet.inference.familiarity import few_of_each_class
from cellnet.inference.ood import DISTANCE_PERCENTILE
from cellnet.models import CellClassifier

SURE = 0.9
NEIGHBOURS = 10
"""How many known cells must look like an image for it to be near."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Judge:
    """A model with all its scores of strangeness; made by `Judge.of`.

    Args:
        model: It knows its training images, see `fit_familiarity`.
        index: A few of them, for their nearest neighbours.
        stored: The thresholds that came with the weights.
    """

    model: CellClassifier
    index: NeighbourIndex
    stored: dict[str, float]

    @classmethod
    def of(cls, model: CellClassifier, train: cellnet.CellDataset, seed: int) -> Judge:
        """Fit what the weights do not bring along."""
        stored = dict(model.thresholds)
        if model.familiarity is None:
            fit_familiarity(model, train, seed=seed)
        return cls(model, NeighbourIndex.build(model, train.subset(few_of_each_class(train, seed))), stored)

    def look(self, images: object) -> tuple[Predictions, dict[str, Floats]]:
        """Predictions, and each image's score by the name of the score; higher = stranger."""
        found = self.model.predict(images, features=True)
        return found, {
            "maximum logit": -found.logits.max(1),
            "energy": energy_score(found.logits, self.model.temperature),
            "Mahalanobis": found.ood,
            "neighbours": self.index.distances(found.features, NEIGHBOURS),
        }

    def thresholds(self, validation: dict[str, Floats]) -> dict[str, tuple[float, str]]:
        """Score -> what is too strange, and where that comes from."""
        stored = {"Mahalanobis": self.stored.get("distance"), "energy": self.stored.get("energy")}
        return {
            name: (float(np.percentile(scores, DISTANCE_PERCENTILE)), f"{DISTANCE_PERCENTILE} % of validation")
            if (threshold := stored.get(name)) is None
            else (threshold, "stored")
            for name, scores in validation.items()
        }


def main() -> None:
    """Make the sets, let each model look at them, and write the rows."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--weights", nargs="+", default=["mobilenet_v2"])
    words.add_argument("--dataset", default="pbc", help="what the weights were trained on, e.g. `packed`")
    words.add_argument("--root", type=Path)
    words.add_argument("--external", type=Path, nargs="*", default=[], help="folders of other laboratories' cells")
    words.add_argument("--images", type=int, default=400, help="images of each strange set")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--out", type=Path, default=RESULTS / "strange.csv")
    given = words.parse_args()

    parts = open_dataset(given.dataset, given.root, "samples").split((0.7, 0.1, 0.2), seed=0)
    command = (
        f"python benchmarks/robustness/strange.py --weights {' '.join(given.weights)} --root data "
        f"--external {' '.join(f'data/{folder.name}' for folder in given.external)} --images {given.images}"
    )
    for name in given.weights:
        model = cellnet.load_pretrained(name)
        train, val, test = own_parts(model, parts)
        judge = Judge.of(model, train, given.seed)
        thresholds = judge.thresholds(judge.look(val)[1])
        _, familiar = judge.look(test)
        rows = []
        for strange in chain(make_sets(test, given.images, given.seed), map(from_folder, given.external)):
            for row in judge_set(judge, strange, familiar, test.files, thresholds):
                rows.append({"weights": Path(name).name, **row, **machine_facts(), "command": command})
                print("  ".join(list(rows[-1].values())[:11]), flush=True)
        replace_rows(given.out, ("weights", "set", "score"), rows)
    print(given.out)


def from_folder(folder: Path) -> StrangeSet:
    """All images of a folder."""
    files = list_images(folder)
    return StrangeSet(folder.name, "other laboratory", [decode(file) for file in files], [str(f) for f in files])


def judge_set(
    judge: Judge,
    strange: StrangeSet,
    familiar: dict[str, Floats],
    files: Sequence[str],
    thresholds: dict[str, tuple[float, str]],
) -> Iterator[dict[str, str]]:
    """A row for each score."""
    predictions, scores = judge.look(strange.images)
    certainty = predictions.probabilities.max(1)
    answered = (certainty > SURE) & (certainty >= judge.stored.get("probability", 0.0))
    for name, values in scores.items():
        limit, source = thresholds[name]
        flagged, alarms = values > np.float32(limit), familiar[name] > np.float32(limit)
        yield {
            "set": strange.name,
            "kind": strange.kind,
            "images": str(len(values)),
            "score": name,
            "auroc": f"{area(values, familiar[name], [*strange.groups, *files]):.3f}",
            "threshold": source,
            "flagged": str(wilson(int(flagged.sum()), len(flagged))),
            "sure_unflagged": str(int((answered & ~flagged).sum())),
            "familiar_images": str(len(alarms)),
            "false_alarms": str(wilson(int(alarms.sum()), len(alarms))),
        }


def area(strange: Floats, familiar: Floats, groups: Sequence[str]) -> Estimate:
    """How often a strange image has the higher score than a familiar one."""
    values = np.concatenate([strange, familiar]).astype(np.float64)
    targets = np.repeat([1, 0], [len(strange), len(familiar)])
    areas, _ = estimate_roc_areas(np.stack([-values, values], 1), targets, Units.of(groups, len(values)))
    return areas[1]


if __name__ == "__main__":
    main()
