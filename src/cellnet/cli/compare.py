"""``cellnet compare``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json, say
from cellnet.cli.inputs import load_teacher, open_dataset, parse_settings
from cellnet.cli.recipe import Recipe, Split, SplitSeed, this_command, with_recipe
from cellnet.errors import ConfigError


@with_recipe
def compare(
    *,
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            metavar="KEY=VALUE,VALUE",
            help="What differs: a training option, split-seed or model; repeat it for all combinations.",
        ),
    ],
    singly: Annotated[
        bool,
        typer.Option("--singly", help="An ablation: change one key at a time, from what all others leave as it is."),
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for the comparison, with a run folder a training.")],
    dataset: options.Dataset = "pbc",
    root: options.Root = None,
    exclude: options.Exclude = None,
    only: options.Only = None,
    split: Split = None,
    split_seed: SplitSeed = None,
    recipe: Recipe,
    distill: options.Distill = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue what stands in --out.")] = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Train models that differ in one thing, and test whether they differ in their answers.

    Example: `cellnet compare --vary optimizer=adam,rmsprop,sgd --dataset pbc --root data --model cnn --out runs/opt`
    """
    from cellnet.experiments import Trial, compare_trials
    from cellnet.experiments import trials as ways
    from cellnet.training import ProgressBar

    choices = parse_choices(vary)
    if "split_seed" in choices and split is not None and (split == "official" or split.endswith(".csv")):
        raise ConfigError(f"--split {split} has no seed to vary; give shares, e.g. --split 0.7,0.1,0.2.")
    models = choices.pop("model", None)
    if singly and models and len(models) > 1:
        raise ConfigError(
            "--singly changes one recipe in one thing at a time, and --vary model gives several; compare one model "
            "after the other (--model, --out), or leave out --singly."
        )
    images = open_dataset(dataset, root, exclude, only)
    log.print(images.summary())
    divided = cache(lambda seed: recipe.divide(images, split, seed))
    trials = [
        trial
        for name in models or [recipe.name]
        for trial in (ways.vary_singly if singly else ways.vary)(
            Trial(
                recipe.maker(images.labels, name),
                recipe.train_config(name),
                recipe.seed_of_split(split_seed),
                {"model": name} if models else {},
                recipe.starting_weights(name),
            ),
            choices,
        )
    ]
    result = compare_trials(
        lambda seed: divided(seed)[0],
        trials,
        out,
        how=lambda seed: divided(seed)[1],
        resume=resume,
        device=device,
        callbacks=[ProgressBar(log)],
        announce=log.print,
        command=this_command(),
        distill=load_teacher(distill),
    )
    if json:
        print_json({"out": str(out), **result.to_dict()})
        return
    say(result)
    say(f"\nRuns: {out / 'compare.csv'}")


def parse_choices(words: list[str]) -> dict[str, list[Any]]:
    """``KEY=VALUE,VALUE`` words as lists of values by key; ``-`` in a key is ``_``."""
    choices: dict[str, list[Any]] = {}
    for word in words:
        key, equals, values = word.partition("=")
        if not equals or not values:
            raise ConfigError(f"--vary {word!r} is not KEY=VALUE,VALUE; type e.g. --vary optimizer=adam,sgd.")
        key = key.replace("-", "_")
        if key in choices:
            raise ConfigError(f"--vary {key} was given twice; write all its values behind one another.")
        choices[key] = [parse_settings([f"{key}={value}"])[key] for value in values.split(",")]
    return choices
