"""``cellnet list`` and ``cellnet info``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from cellnet.cards import DatasetCard
from cellnet.cli import options
from cellnet.cli.console import log, print_json
from cellnet.errors import UnknownNameError
from cellnet.registry import unknown_name


def list_names(
    datasets: Annotated[bool, typer.Option("--datasets", help="Data sets only.")] = False,
    models: Annotated[bool, typer.Option("--models", help="Architectures, each built and run once.")] = False,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Weights only.")] = False,
    json: options.Json = False,
) -> None:
    """List data sets, architectures and weights.

    Example: `cellnet list --models`
    """
    everything = not (datasets or models or pretrained)
    rows: dict[str, list[dict[str, Any]]] = {}
    if datasets or everything:
        rows["datasets"] = [
            {
                "name": name,
                "title": card.title,
                "images": card.num_images,
                "licence": card.licence,
                "get": _how_to_get(card),
            }
            for name, card in _dataset_cards().items()
        ]
    if models:
        from cellnet.datasets import samples
        from cellnet.models import describe_models

        with log.status("Building every model …"):
            rows["models"] = describe_models([image for image, _ in samples()][::5])
    elif everything:
        from cellnet.models import list_models

        rows["models"] = [{"name": name} for name in list_models()]
    if pretrained or everything:
        from cellnet.hub import list_pretrained

        rows["pretrained"] = [{"name": name} for name in list_pretrained()]
    if json:
        print_json(rows)
        return
    for title, entries in rows.items():
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for column in entries[0] if entries else ["name"]:
            numbers = bool(entries) and isinstance(entries[0][column], int | float)
            table.add_column(
                column.replace("_", " "),
                overflow="fold",
                no_wrap=column == "name",
                justify="right" if numbers else "left",
            )
        for entry in entries:
            table.add_row(*("" if v is None else f"{v:,}" if isinstance(v, int) else str(v) for v in entry.values()))
        Console(markup=False).print(table)


def info(
    name: Annotated[
        str, typer.Argument(help="Weights, a checkpoint folder, hf://organisation/repository, or a data set.")
    ],
    json: options.Json = False,
) -> None:
    """Show the card of weights or of a data set. Of weights on the Hub, the card alone is fetched.

    Example: `cellnet info mobilenet_v2`
    """
    from cellnet.hub import list_pretrained, read_pretrained, summarise

    datasets = _dataset_cards()
    if name in datasets:
        card = datasets[name].to_dict()
        if json:
            print_json(card)
        else:
            _print_facts(card)
        return
    try:
        config = read_pretrained(name)
    except UnknownNameError:
        raise unknown_name("weights or data set", name, [*list_pretrained(), *datasets]) from None
    if json:
        print_json(config.card.to_dict() | {"labels": config.labels.to_dict()})
    else:
        Console().print(Markdown(summarise(config)))


def _print_facts(card: dict[str, Any]) -> None:
    for key, value in card.items():
        lines = value if isinstance(value, list) else [] if value in (None, "", {}) else [value]
        for line in lines:
            print(f"{key.replace('_', ' '):<22}{line}")


def _dataset_cards() -> dict[str, DatasetCard]:
    from cellnet.datasets import DATASETS

    return {name: card for name in DATASETS.list() if (card := DATASETS.get(name).card)}


def _how_to_get(card: DatasetCard) -> str:
    if any(file.urls for file in card.files):
        return "download"
    return "by hand" if card.files else ""
