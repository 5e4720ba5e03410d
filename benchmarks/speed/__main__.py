"""Ask the questions of speed, one after another, and write their tables into benchmarks/results.

    python -m benchmarks.speed all --root DATA
    python -m benchmarks.speed smote inference
    python -m benchmarks.speed all --tiny

DATA holds one folder of images a class (PBC, for the figures in the results). Each question runs in an
interpreter of its own on one core, unless it says otherwise. A question whose peer is not installed writes nothing and
is named at the end. ``--tiny`` asks everything of a few small images in seconds, to see that it works: it needs no
data, leaves out what is not installed, and writes into a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the scripts import each other by name, as they do when they run alone

from harness import results_in  # noqa: E402

import cellnet  # noqa: E402


class Question(NamedTuple):
    """A function of a script, the values it is given, those at tiny size, and the tables that it writes."""

    script: str
    tables: Sequence[str]
    tiny: Mapping[str, Any]
    function: str = "main"
    given: Mapping[str, Any] = {}
    needs_root: bool = False


QUESTIONS = {
    "loading": Question(
        "loading",
        ("speed_loading", "speed_loading_steps"),
        {"count": 32, "size": 32, "rounds": 1},
        needs_root=True,
    ),
    "normalise": Question("normalise", ["speed_normalise"], {"size": 32, "rounds": 1}),
    "augment": Question("augment", ["speed_augment"], {"sizes": (32,), "count": 2, "rounds": 1}),
    "smote": Question("smote", ["speed_smote"], {"images": 60, "size": 16, "rounds": 1, "fresh": False}),
    "smote-big": Question(
        "smote",
        ["speed_smote_big"],
        {"images": 60, "size": 16, "rounds": 1, "fresh": False},
        given={"big": True},
    ),
    "supcon": Question(
        "supcon", ["speed_supcon"], {"samples": (16,), "rounds": 1, "fresh": False, "without_missing": True}
    ),
    "bootstrap": Question(
        "bootstrap", ("speed_bootstrap", "speed_bootstrap_small"), {"many": 400, "few": 200, "rounds": 1}
    ),
    "metrics": Question("metrics", ["speed_metrics"], {"images": 400, "rounds": 1}),
    "overhead": Question("overhead", ["speed_trainer"], {"rounds": 2, "steps": 3, "without_missing": True}),
    "training": Question(
        "training",
        ["speed_training"],
        {
            "names": ["mobilenet_v2"],
            "eager": True,
            "sizes": {"mobilenet_v2": 32, "hybrid": 96},
            "batches": {"mobilenet_v2": 2},
            "rounds": 1,
        },
        given={"names": ["mobilenet_v2", "timm:resnet18", "hybrid"], "device": "cpu"},
    ),
    "imports": Question("imports", ["speed_imports"], {"modules": ("cellnet",), "rounds": 2}),
    "inference": Question(
        "inference",
        ["speed_inference"],
        {"models": {"mobilenet_v2": 32}, "batches": (1, 2), "rounds": 1, "cores": 1, "seconds": 0},
    ),
    "audit": Question("audit", ["audit"], {"shares": (2,), "fresh": False}, function="costs", needs_root=True),
    "growth": Question(
        "growth",
        ["speed_growth"],
        {
            "sizes": {
                "SMOTE": (60, 80, 100),
                "SupCon": (16, 24, 32),
                "audit": (60, 70, 80),
                "packing": (4, 6, 8),
                "bootstrap": (100, 200, 400),
                "prediction": (1, 2, 3),
            },
            "rounds": 1,
            "fresh": False,
        },
    ),
}


def ask(name: str, root: Path | None = None, tiny: bool = False) -> None:
    """Ask one question in this process."""
    question = QUESTIONS[name]
    given = {**question.given, **(question.tiny if tiny else {})}
    if question.needs_root:
        if tiny:
            root = Path(cellnet.__file__).parent / "samples"
        elif root is None:
            sys.exit(f"{name} reads images; name the folder that holds one folder of them a class: --root DATA")
        given["root"] = root
    getattr(import_module(question.script), question.function)(**given)


def main(words: Sequence[str] | None = None) -> None:
    """Do what the words say."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "questions",
        nargs="*",
        default="all",
        choices=[*QUESTIONS, "all"],
        metavar="QUESTION",
        help=f"all, or some of {', '.join(QUESTIONS)}",
    )
    parser.add_argument("--root", type=Path, metavar="DATA", help="folder that holds one folder of images a class")
    parser.add_argument("--tiny", action="store_true", help="a few small images, tables into a temporary folder")
    chosen = parser.parse_args(words)
    names = list(QUESTIONS) if "all" in chosen.questions else chosen.questions
    if chosen.tiny:
        with tempfile.TemporaryDirectory() as folder, results_in(Path(folder)):
            for name in names:
                print(f"== {name}")
                ask(name, tiny=True)
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # read by what the scripts import, and by the processes that they start
    if len(names) == 1:
        ask(names[0], chosen.root)
        return
    root = [] if chosen.root is None else ["--root", str(chosen.root.absolute())]
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(HERE), name, *root]).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"No table from {', '.join(failed)}; the reasons stand above.")


if __name__ == "__main__":
    main()
