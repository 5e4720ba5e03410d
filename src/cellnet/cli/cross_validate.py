"""``cellnet cross-validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json, say
from cellnet.cli.inputs import open_dataset
from cellnet.cli.recipe import Recipe, this_command, with_recipe


@with_recipe
def cross_validate(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for the cross-validation, with a run folder a fold.")],
    dataset: options.Dataset = "pbc",
    root: options.Root = None,
    exclude: options.Exclude = None,
    only: options.Only = None,
    recipe: Recipe,
    folds: Annotated[int, typer.Option("--folds", help="Parts that are held out in turn.")] = 5,
    repeats: Annotated[int, typer.Option("--repeats", help="How often the images are divided anew.")] = 1,
    fold_seed: Annotated[int, typer.Option("--fold-seed", help="Seed of the division.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue what stands in --out.")] = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Train a model for each fold on the images outside it, and judge it on the fold.

    Example: `cellnet cross-validate --dataset pbc --root data --model cnn --image-size 96 --folds 5 --out runs/cv`
    """
    from cellnet.experiments import cross_validate as run
    from cellnet.training import ProgressBar

    config = recipe.train_config()
    images = open_dataset(dataset, root, exclude, only)
    log.print(images.summary())
    result = run(
        images,
        recipe.maker(images.labels),
        config,
        out,
        k=folds,
        repeats=repeats,
        seed=fold_seed,
        resume=resume,
        device=device,
        callbacks=[ProgressBar(log)],
        announce=log.print,
        command=this_command(),
        starting_weights=recipe.starting_weights(),
    )
    if json:
        print_json({"out": str(out), **result.to_dict()})
        return
    say(result)
    say(f"\nFolds: {out / 'folds.csv'}\nReport: {out / 'report' / 'report.html'}")
