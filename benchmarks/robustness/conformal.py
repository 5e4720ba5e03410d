"""Do prediction sets cover, and is the risk of accepted images kept, as often as promised? On real predictions.

The rows of one or more predictions files are pooled, and divided anew into three equal parts, again and again: one fits
the calibration, one the sets and the threshold, and one judges them. In the rows where calibration and guarantee are
fitted on the same images, both take the second part: what `cellnet.evaluation.calibrate` does not do, and why.

    cellnet evaluate --model best --dataset pbc --root data --exclude samples --part val --out runs/val
    cellnet evaluate --model best --dataset pbc --root data --exclude samples --part test --out runs/test
    python benchmarks/robustness/conformal.py --weights best runs/val/predictions.csv runs/test/predictions.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from shared import RESULTS, machine_facts, replace_rows

from cellnet.errors import DataError
from cellnet.inference import Predictions, PredictionSets, RiskControl, likely_start
from cellnet.models import CALIBRATORS

PARTS = 3
COVERAGES = (0.9, 0.95, 0.99)
RISKS = (0.005, 0.01, 0.02)
CONTRAST = (0.95, 0.01)
"""The coverage and the risk for which all methods of calibration are set side by side."""

Part = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Probabilities and targets."""


def pool(files: list[Path]) -> Part:
    """Logarithms of the probabilities, which calibration takes for logits, and targets of all readable rows."""
    tables = [Predictions.read_csv(file) for file in files]
    if any(table.targets is None or table.schema.names != tables[0].schema.names for table in tables):
        raise DataError("The files need a column 'target' and the same classes in the same order.")
    names = [name for table in tables for name in table.files]
    if len({*names}) < len(names):
        raise DataError("An image stands in two of the files; give parts that share none.")
    logits = np.concatenate([table.logits[table.readable] for table in tables])
    targets = np.concatenate([table.targets[table.readable] for table in tables if table.targets is not None])
    return logits, targets


def divide(everything: Part, seed: int) -> list[Part]:
    """Three parts of like classes, drawn at random."""
    logits, targets = everything
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    by_label = shuffled[np.argsort(targets[shuffled], kind="stable")]
    return [(logits[by_label[i::PARTS]], targets[by_label[i::PARTS]]) for i in range(PARTS)]


def judge_sets(second: Part, third: Part, coverage: float, by_class: bool) -> dict[str, float]:
    """How often sets that were fitted on the second part cover the third; in all, and each class."""
    sets = PredictionSets.fit(*second, coverage, by_class=by_class)
    probabilities, targets = third
    # Without the most probable class, which `apply` adds: so the quantile is what is judged.
    covered = probabilities[np.arange(len(targets)), targets] >= np.asarray(sets.limits, np.float32)[targets]
    classes = {f"class {label}": covered[targets == label].mean() for label in np.unique(targets)}
    return {"mean": covered.mean(), "set_size": sets.apply(probabilities).sum(1).mean(), **classes}


def judge_risk(first: Part, second: Part, third: Part, risk: float) -> dict[str, float]:
    """How many of the images of the third part are wrong that a threshold fitted on the second one accepts."""
    control = RiskControl.fit(*second, risk, start=likely_start(*first, risk))
    if control.threshold is None:
        return {"accepted": 0.0}
    probabilities, targets = third
    accepted = probabilities.max(1) >= np.float32(control.threshold)
    wrong = probabilities.argmax(1) != targets
    return {"mean": wrong[accepted].mean(), "accepted": accepted.mean()}


def main() -> None:
    """Divide, judge, print and write the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("files", type=Path, nargs="+", help="predictions files with targets, e.g. of val and test")
    words.add_argument("--weights", default="mobilenet_v2", help="whose predictions these are, for the table")
    words.add_argument("--out", type=Path, default=RESULTS / "conformal.csv")
    words.add_argument("--splits", type=int, default=20)
    given = words.parse_args()
    everything = pool(given.files)
    splits = [divide(everything, seed) for seed in range(given.splits)]

    def calibrated(method: str, apart: bool) -> list[list[Part]]:
        fits = [CALIBRATORS[method].fit(*parts[0 if apart else 1]) for parts in splits]
        return [
            [(fit.apply(logits), targets) for logits, targets in parts] for fit, parts in zip(fits, splits, strict=True)
        ]

    rows = []
    for method in CALIBRATORS:
        for apart in (True, False):
            tables = calibrated(method, apart)
            plain = method == "temperature" and apart
            for name, by_class in (("split sets", False), ("Mondrian sets", True)):
                for coverage in COVERAGES:
                    if plain or (coverage == CONTRAST[0] and not by_class):
                        found = [judge_sets(*parts[1:], coverage, by_class) for parts in tables]
                        rows.append(row(name, method, apart, coverage, found, lambda value, c: value < c))
            for risk in RISKS:
                if plain or risk == CONTRAST[1]:
                    found = [judge_risk(*parts, risk) for parts in tables]
                    rows.append(row("risk of the accepted", method, apart, risk, found, lambda value, r: value > r))
    third = len(everything[1]) // PARTS
    facts = {"images": f"{third:,} fit, {third:,} judge", **machine_facts(), "command": command(given)}
    rows = [{"weights": given.weights, **each, **facts} for each in rows]
    replace_rows(given.out, ("weights", "promise", "nominal", "calibration", "fitted_on"), rows)
    for each in rows:
        print("  ".join(f"{key}={value}" for key, value in each.items() if key not in facts), flush=True)
    print(given.out)


def row(
    promise: str,
    method: str,
    apart: bool,
    nominal: float,
    found: list[dict[str, float]],
    broken: Callable[[float, float], bool],
) -> dict[str, str]:
    """One promise over all splits."""

    def mean(column: str) -> float:
        return float(np.mean([each[column] for each in found if column in each] or [np.nan]))

    judged = [each["mean"] for each in found if "mean" in each] or [np.nan]
    classes = [mean(column) for column in found[0] if column.startswith("class ")]
    return {
        "promise": promise,
        "nominal": percent(nominal, 1),
        "calibration": method,
        "fitted_on": "other images" if apart else "the same images",
        "splits": str(len(found)),
        "mean": percent(mean("mean")),
        "lowest": percent(min(judged)),
        "highest": percent(max(judged)),
        "splits_beyond": str(sum(broken(value, nominal) for value in judged)),
        "lowest_class": percent(min(classes, default=np.nan)),
        "set_size": "" if np.isnan(mean("set_size")) else f"{mean('set_size'):.2f}",
        "accepted": percent(mean("accepted")),
    }


def percent(share: float, digits: int = 2) -> str:
    """A share as the other tables write it; nothing for NaN."""
    return "" if np.isnan(share) else f"{100 * share:.{digits}f} %"


def command(given: argparse.Namespace) -> str:
    """What was typed, with the files by their last two names."""
    names = " ".join("/".join(file.parts[-2:]) for file in given.files)
    script = "python benchmarks/robustness/conformal.py"
    return f"{script} --weights {given.weights} {names} --splits {given.splits}"


if __name__ == "__main__":
    main()
