r"""Write what a finished study says into benchmarks/results/NAME.csv: the table that the documentation shows.

    python benchmarks/accuracy/studies.py ablation=runs/ablation optimizers=runs/optimizers_cnn \
        splits=runs/splits_cnn cross_validation=runs/cv_cnn distillation=runs/distillation_cnn

The folder is one of ``cellnet compare`` or ``cellnet cross-validate``; the name says which table is wanted.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from collect import RESULTS, machine_facts

import cellnet
from cellnet.evaluation import Estimate
from cellnet.files import atomic_path

Row = dict[str, str]


def ablation(folder: Path) -> list[Row]:
    """One row a change, beside the recipe that all runs share."""
    effects = read_rows(folder / "effects.csv")
    base = next(row for row in read_rows(folder / "spread.csv") if row["figure"] == "accuracy")
    rows = [{"change": "none", "seeds": base["runs"], "accuracy": percent(base["mean"]), "difference": ""}]
    for row in effects:
        points = [100 * float(row[key]) for key in ("difference", "difference_low", "difference_high")]
        rows.append(
            {
                "change": row["recipe"],
                "seeds": row["seeds"],
                "accuracy": percent(row["accuracy"]),
                "difference": "{:+.2f} points [{:+.2f} to {:+.2f}]".format(*points),
                "of_single_seeds": f"{100 * float(row['lowest']):+.2f} to {100 * float(row['highest']):+.2f}",
            }
        )
    return rows


def spread(folder: Path) -> list[Row]:
    """One row a recipe: how its accuracy and macro F1 spread over seeds or splits."""
    rows: dict[str, Row] = {}
    for row in read_rows(folder / "spread.csv"):
        if row["figure"] in ("accuracy", "macro_f1"):
            figures = rows.setdefault(row["recipe"], {"recipe": row["recipe"] or "all", "runs": row["runs"]})
            figures |= {row["figure"]: str(estimate(row, "mean"))}
            if row["figure"] == "accuracy":
                figures |= {
                    "standard_deviation": f"{100 * float(row['deviation']):.2f} points",
                    "lowest": str(estimate(row, "lowest")),
                    "highest": str(estimate(row, "highest")),
                }
    return list(rows.values())


def splits(folder: Path) -> list[Row]:
    """One row a run, then their mean."""
    rows = [
        {
            "split_seed": row["split_seed"],
            "test_images": row["n_test"],
            "accuracy": str(estimate(row, "accuracy")),
            "macro_f1": str(estimate(row, "macro_f1")),
        }
        for row in read_rows(folder / "compare.csv")
    ]
    (mean,) = spread(folder)
    return [
        *rows,
        {
            "split_seed": "mean",
            "test_images": "",
            "accuracy": mean["accuracy"],
            "macro_f1": mean["macro_f1"],
            "standard_deviation": mean["standard_deviation"],
        },
    ]


def cross_validation(folder: Path) -> list[Row]:
    """One row a fold, their mean, and all images together."""
    rows = [
        {
            "fold": row["fold"],
            "images": row["n_test"],
            "accuracy": str(estimate(row, "accuracy")),
            "macro_f1": str(estimate(row, "macro_f1")),
        }
        for row in read_rows(folder / "folds.csv")
    ]
    facts = json.loads((folder / "cross_validation.json").read_text(encoding="utf-8"))
    for name, images, figures in (
        ("mean", "", facts["means"]),
        ("pooled", facts["pooled"]["n"], facts["pooled"]["metrics"]),
    ):
        accuracy, macro_f1 = (
            str(Estimate(*(math.nan if x is None else x for x in figures[figure].values())))
            for figure in ("accuracy", "macro_f1")
        )
        rows.append({"fold": name, "images": str(images), "accuracy": accuracy, "macro_f1": macro_f1})
    return rows


TABLES: dict[str, Callable[[Path], list[Row]]] = {
    "ablation": ablation,
    "cross_validation": cross_validation,
    "distillation": ablation,
    "optimizers": spread,
    "splits": splits,
}


def facts_of(folder: Path) -> Row:
    """The command of a study, and on what it ran."""
    model = cellnet.load_pretrained(sorted(folder.glob("*/model"))[0])
    assert model.weights_card is not None
    return machine_facts() | {"command": model.weights_card.command}


def estimate(row: Mapping[str, str], name: str) -> Estimate:
    """A figure of a flat row, with its interval."""
    return Estimate(*(float(row[key]) for key in (name, f"{name}_low", f"{name}_high")))


def percent(share: str) -> str:
    """A share in words."""
    return f"{100 * float(share):.2f} %"


def read_rows(path: Path) -> list[dict[str, str]]:
    """A CSV file of a study."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main(words: list[str]) -> None:
    """Write one table for each ``NAME=FOLDER``."""
    for word in words:
        name, _, folder = word.partition("=")
        if name not in TABLES:
            raise SystemExit(f"{word!r} is not NAME=FOLDER with a name of {', '.join(TABLES)}.")
        rows: list[dict[str, Any]] = [dict(row) for row in TABLES[name](Path(folder))]
        rows = [row | (facts_of(Path(folder)) if i == 0 else {}) for i, row in enumerate(rows)]
        columns = list(dict.fromkeys(key for row in [*rows[1:], rows[0]] for key in row))
        with (
            atomic_path(RESULTS.with_name(f"{name}.csv")) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns, lineterminator="\n", restval="")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
