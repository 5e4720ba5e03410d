"""``cellnet demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json


def demo(
    train: Annotated[bool, typer.Option("--train", help="Train a small network on synthetic cells instead.")] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for the report.")] = Path("runs/demo"),
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Classify the 40 real cells that cellnet ships, offline, and write a report.

    Example: `cellnet demo` then open runs/demo/report.html
    """
    start = time.perf_counter()
    with log.status("Loading torch …"):
        from cellnet.experiments import demo as experiment
    if train:
        from cellnet.training import ProgressBar

        report = experiment.train_demo(out, device=device, callbacks=[ProgressBar(log)])
    else:
        report = experiment.predict_demo(out, device=device)
    seconds = time.perf_counter() - start
    if json:
        print_json({"seconds": round(seconds, 2), "out": str(out), **report.to_dict()})
        return
    print(report)
    print(f"\n{len(report.predictions)} cells in {seconds:.1f} s. Report: {out / 'report.html'}")
