"""``cellnet predict``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json
from cellnet.errors import DataError


def predict(
    inputs: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    model: options.Pretrained = "mobilenet_v2",
    batch_size: options.BatchSize = 32,
    device: options.Device = None,
    out: Annotated[Path, typer.Option("--out", help="CSV file for the predictions.")] = Path("predictions.csv"),
    json: options.Json = False,
) -> None:
    """Classify images; an unreadable one becomes a row with an error. Exit code 1 if none could be read.

    Example: `cellnet predict smears/ --out smears.csv`
    """
    from cellnet.hub import load_pretrained
    from cellnet.images import list_images

    for item in inputs:
        if not item.exists():
            raise DataError(f"There is no file or folder {item}; check the path.")
    paths = [path for item in inputs for path in (list_images(item) if item.is_dir() else [item])]
    result = load_pretrained(model).predict(paths, batch_size=batch_size, device=device, progress=not json)
    result.to_csv(out)
    failed = [(file, error) for file, error in zip(result.files, result.errors, strict=True) if error]
    counts = Counter(label for label in result.labels if label)
    abstained = sum(bool(row.abstain) and row.error is None for row in result)
    if json:
        print_json(
            {
                "out": str(out),
                "images": len(result),
                "labels": dict(counts),
                "abstained": abstained,
                "errors": dict(failed),
            }
        )
    else:
        for label, count in counts.most_common():
            print(f"{label:<24}{count:>8}")
        print(f"{len(result)} images, {abstained} abstained, {len(failed)} unreadable: {out}")
    for file, error in failed[:10]:
        log.print(f"{file}: {error}", style="yellow", markup=False)
    if len(failed) == len(result):
        raise typer.Exit(1)
