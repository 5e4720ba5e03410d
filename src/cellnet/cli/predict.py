"""``cellnet predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json
from cellnet.cli.inputs import open_model
from cellnet.errors import ConfigError, DataError
from cellnet.files import check_file


def predict(
    inputs: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    model: options.Pretrained = "mobilenet_v2",
    risk: options.Risk = None,
    coverage: options.Coverage = None,
    classes: options.Classes = None,
    adapt: options.Adapt = False,
    tta: options.Tta = False,
    batch_size: options.BatchSize = 32,
    device: options.Device = None,
    out: Annotated[Path, typer.Option("--out", help="CSV file for the predictions.")] = Path("predictions.csv"),
    json: options.Json = False,
) -> None:
    """Classify images; an unreadable one becomes a row with an error. Exit code 1 if none could be read.

    Example: `cellnet predict smears/ --out smears.csv`

    Example: `cellnet predict smears/ --model sure --risk 0.01`, with a model that promises this; it comes from
    `cellnet evaluate --risk 0.01 --save sure`

    Several processes share the work: `torchrun --nproc-per-node 4 -m cellnet predict smears/ --out smears.csv`
    """
    for item in inputs:
        if not item.exists():
            raise DataError(f"There is no file or folder {item}; check the path.")
    from cellnet.images import list_images
    from cellnet.inference import check_promised, guarantees
    from cellnet.inference.sharded import predict_files

    paths = [path for item in inputs for path in (list_images(item) if item.is_dir() else [item])]
    check_file(out)
    if out.exists() and any(path.exists() and path.samefile(out) for path in paths):
        raise ConfigError(f"--out {out} is one of the images, and would take its place; give another file.")
    net = open_model(model, classes, tta, device)
    if adapt:
        net = net.adapt(paths)
    check_promised(net, risk, coverage)
    promises = guarantees(net)
    summary = predict_files(net, paths, out, batch_size=batch_size, device=device, progress=not json)
    if summary is None:  # the first process tells of the work of all
        return
    if json:
        print_json(
            {
                "out": str(out),
                "images": summary.images,
                "labels": dict(summary.labels),
                "abstained": summary.abstained,
                "guarantees": promises,
                "unreadable": summary.unreadable,
                "errors": summary.errors,
            }
        )
    else:
        for label, count in summary.labels.most_common():
            print(f"{label:<24}{count:>8}")
        print(f"{summary.images} images, {summary.abstained} abstained, {summary.unreadable} unreadable: {out}")
        for promise in promises:
            print(promise)
    for file, error in list(summary.errors.items())[:10]:
        log.print(f"{file}: {error}", style="yellow")
    if summary.unreadable == summary.images:
        raise typer.Exit(1)
