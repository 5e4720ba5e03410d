"""``cellnet download``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json
from cellnet.errors import CellnetError, ConfigError


def download(
    names: Annotated[list[str], typer.Argument(help="Data sets; `cellnet list --datasets` shows them.")],
    root: Annotated[Path, typer.Option("--root", help="Each set gets a folder of its name in this one.")] = Path(
        "data"
    ),
    json: options.Json = False,
) -> None:
    """Download data sets. One that fails does not stop the others; exit code 1 if any failed.

    Example: `cellnet download pbc bloodmnist --root data`
    """
    from cellnet.datasets import DATASETS
    from cellnet.datasets.public import PublicDataset

    kinds: dict[str, type[PublicDataset]] = {}
    for name in names:
        kind = DATASETS.get(name)
        if not (issubclass(kind, PublicDataset) and kind.card.files):
            raise ConfigError(
                f"The data set {name!r} is not one that can be downloaded; leave it out, and type "
                f"`cellnet info {name}` to see what it is."
            )
        kinds[name] = kind
    folders: dict[str, str] = {}
    errors: dict[str, str] = {}
    for name, kind in kinds.items():
        try:
            folders[name] = str(kind.download(root, progress=not json))
        except CellnetError as error:
            errors[name] = str(error)
    if json:
        print_json({"folders": folders, "errors": errors})
    else:
        for name, folder in folders.items():
            print(f"{name:<24}{folder}")
    for name, message in errors.items():
        log.print(f"Error: {name}: {message}", style="red", markup=False, soft_wrap=True)
    if errors:
        raise typer.Exit(1)
