"""What is left of the shipped models' accuracy on perturbed images: benchmarks/results/stress.csv.

    python benchmarks/robustness/stress.py --weights mobilenet_v2 hybrid --root data --images 200

The images are of the test part, and perturbed alike for every model (`cellnet.evaluation.stress`).
``wrong_unflagged_at_5`` is the share that is wrong at the greatest strength and not abstained from.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from shared import RESULTS, machine_facts, own_parts, replace_rows

import cellnet
from cellnet.cli.inputs import open_dataset
from cellnet.evaluation import StressReport, stress


def main() -> None:
    """Perturb, judge, and write the rows."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--weights", nargs="+", default=["mobilenet_v2"])
    words.add_argument("--dataset", default="pbc", help="what the weights were trained on, e.g. `packed`")
    words.add_argument("--root", type=Path)
    words.add_argument("--images", type=int, default=400)
    words.add_argument("--out", type=Path, default=RESULTS / "stress.csv")
    given = words.parse_args()

    parts = open_dataset(given.dataset, given.root, "samples").split((0.7, 0.1, 0.2), seed=0)
    for name in given.weights:
        model = cellnet.load_pretrained(name)
        report = stress(model, own_parts(model, parts)[2], images=given.images, name=Path(name).name)
        command = f"python benchmarks/robustness/stress.py --weights {report.model} --root data --images {given.images}"
        rows = [{**row, **machine_facts(), "command": command} for row in rows_of(report)]
        replace_rows(given.out, ("weights", "perturbation"), rows)
        print(f"{report.model}\n{report}", flush=True)
    print(given.out)


def rows_of(report: StressReport) -> Iterator[dict[str, str]]:
    """A row for each perturbation; ``clean`` and ``mean_of_all``, over all of them, are the same in each."""
    for name, estimates in report.accuracy.items():
        yield {
            "weights": report.model,
            "images": str(report.images),
            "clean": str(report.clean),
            "mean_of_all": str(report.mean),
            "perturbation": name,
            **{f"strength_{strength}": str(estimate) for strength, estimate in enumerate(estimates, start=1)},
            "wrong_unflagged_at_5": str(report.confident_errors[name][-1]),
        }


if __name__ == "__main__":
    main()
