"""``cellnet find-lr``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json, say
from cellnet.cli.inputs import open_dataset
from cellnet.cli.recipe import Recipe, Split, SplitSeed, with_recipe
from cellnet.files import check_picture


@with_recipe
def find_lr(
    *,
    dataset: options.Dataset = "pbc",
    root: options.Root = None,
    exclude: options.Exclude = None,
    only: options.Only = None,
    split: Split = None,
    split_seed: SplitSeed = None,
    recipe: Recipe,
    steps: Annotated[int, typer.Option("--steps", help="Steps over which the rate rises.")] = 100,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw loss against rate into this file, e.g. a PNG.")
    ] = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Suggest a learning rate: let it rise on training images and see where the loss stops falling.

    Example: `cellnet find-lr --dataset pbc --root data --model cnn --image-size 96 --plot rates.png`
    """
    import torch

    from cellnet.experiments import find_learning_rate

    if plot is not None:
        check_picture(plot)
    config = recipe.train_config()
    parts, _ = recipe.divide(open_dataset(dataset, root, exclude, only), split, split_seed)
    torch.manual_seed(config.seed)
    with log.status("Trying learning rates …"):
        found = find_learning_rate(recipe.create(parts[0].labels), parts[0], config, steps=steps, device=device)
    if plot is not None:
        found.plot(plot)
    if json:
        print_json(found.to_dict())
    else:
        say(found)
