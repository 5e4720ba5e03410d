"""``cellnet audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json
from cellnet.cli.inputs import divide, open_dataset


def audit(
    dataset: options.Dataset = "pbc",
    root: options.Root = None,
    exclude: options.Exclude = None,
    only: options.Only = None,
    split: Annotated[
        str,
        typer.Option("--split", help="Shares of the parts, `official`, a split's CSV file, or `none`: all as one."),
    ] = "0.7,0.1,0.2",
    split_seed: options.SplitSeed = 0,
    near: Annotated[
        bool, typer.Option("--near/--no-near", help="Look for near-identical images too, not for equal files alone.")
    ] = True,
    write_split: Annotated[
        Path | None,
        typer.Option("--write-split", help="Divide anew, keep what belongs together in one part, write this CSV file."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for audit.html and audit.json.")] = None,
    json: options.Json = False,
) -> None:
    """Look for leaks, wrong files and signals beside the cell. Exit code 1 if a cell stands in two parts.

    Example: `cellnet audit --dataset folder --root cells --out runs/audit`
    """
    from cellnet.datasets import write_split as write
    from cellnet.datasets.audit import audit as look

    images = open_dataset(dataset, root, exclude, only)
    parts = (images,) if split == "none" else divide(images, split, split_seed)[0]
    found = look(*parts, near=near, progress=not json)
    if out is not None:
        log.print(f"Page with pictures: {found.save(out)}")
    if write_split is not None:
        shares = "0.7,0.1,0.2" if split in ("none", "official") or split.endswith(".csv") else split
        clean = divide(images.with_groups(found.groups(images)), shares, split_seed)[0]
        log.print(f"Split {write(write_split, *clean)}, to be used by --split {write_split}")
    if json:
        print_json(found.to_dict())
    else:
        print(found)
    if not found.ok:
        raise typer.Exit(1)
