"""``cellnet download``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json
from cellnet.errors import CellnetError, ConfigError

if TYPE_CHECKING:
    from cellnet.datasets.public import PublicDataset


def download(
    names: Annotated[list[str] | None, typer.Argument(help="Data sets; `cellnet list --datasets` shows them.")] = None,
    root: Annotated[Path, typer.Option("--root", help="Each set gets a folder of its name in this one.")] = Path(
        "data"
    ),
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights", help="Weights, as often as you need: `all`, a name, or hf://organisation/repository."
        ),
    ] = None,
    to: Annotated[
        Path, typer.Option("--to", help="Folder for weights; CELLNET_WEIGHTS makes cellnet look there.")
    ] = Path("weights"),
    json: options.Json = False,
) -> None:
    """Download data sets, or weights for a place without the net.

    One that fails does not stop the others; exit code 1 if any failed.

    Example: `cellnet download pbc bloodmnist --root data`

    Example: `cellnet download --weights all --to weights`, there `export CELLNET_WEIGHTS=weights`
    """
    if not names and not weights:
        raise ConfigError("Nothing to download: give names of data sets, or --weights all.")
    kinds = _public_datasets(names or [])
    folders: dict[str, str] = {}
    errors: dict[str, str] = {}
    for name, kind in kinds.items():
        try:
            folders[name] = str(kind.download(root, progress=not json))
        except CellnetError as error:
            errors[name] = str(error)
    if weights:
        from cellnet.hub import copy_pretrained, list_pretrained

        wanted = (name for word in weights for name in (list_pretrained() if word == "all" else [word]))
        for name in dict.fromkeys(wanted):
            try:
                folders[name] = str(copy_pretrained(name, to))
            except CellnetError as error:
                errors[name] = str(error)
    if json:
        print_json({"folders": folders, "errors": errors})
    else:
        for name, folder in folders.items():
            print(f"{name:<24}{folder}")
    for name, message in errors.items():
        log.print(f"Error: {name}: {message}", style="red")
    if errors:
        raise typer.Exit(1)


def _public_datasets(names: list[str]) -> dict[str, type[PublicDataset]]:
    """Data sets by name, all of which can be downloaded."""
    if not names:
        return {}
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
    return kinds
