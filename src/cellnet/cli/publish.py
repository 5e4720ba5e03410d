"""``cellnet publish``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import print_json, say


def publish(
    folder: Annotated[Path, typer.Argument(help="Checkpoint folder, e.g. `runs/hybrid/model`.")],
    repo: Annotated[str, typer.Argument(help="Repository on the Hub, e.g. `me/hybrid-pbc`; made if need be.")],
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="Who sees a new repository; as your account is set if not given."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Upload a checkpoint folder to the Hub in one commit, its card written anew.

    Log in before with `hf auth login`, or set HF_TOKEN.

    Example: `cellnet publish runs/hybrid/model me/hybrid-pbc --private`
    """
    from cellnet import hub

    url, published = hub.publish(folder, repo, private=private)
    if json:
        print_json({"url": url, "address": str(published), **published.to_dict()})
    else:
        say(url)
        say(f'cellnet.load_pretrained("{published}")')
