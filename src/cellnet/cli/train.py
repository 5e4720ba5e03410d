"""``cellnet train``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json, say
from cellnet.cli.inputs import load_branches, load_teacher, open_dataset
from cellnet.cli.recipe import Recipe, Split, SplitSeed, this_command, with_recipe
from cellnet.errors import ConfigError
from cellnet.registry import check_name


@with_recipe
def train(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for this run.")],
    dataset: options.Dataset = "pbc",
    root: options.Root = None,
    exclude: options.Exclude = None,
    only: options.Only = None,
    split: Split = None,
    split_seed: SplitSeed = None,
    recipe: Recipe,
    distill: options.Distill = None,
    stages: Annotated[
        str,
        typer.Option("--stages", help="one; or two: the networks of hybrid (or a+b) alone, then fused and frozen."),
    ] = "one",
    branch: Annotated[
        list[str] | None,
        typer.Option(
            "--branch", help="Twice: the trained networks of hybrid, by name or folder; the second of two stages alone."
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option("--objective", help="cross-entropy; or supcon: an encoder by contrast, then a classifier on it."),
    ] = "cross-entropy",
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="In the last of several stages, train the whole network.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue what stands in --out.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write curves for TensorBoard into OUT/tensorboard.")
    ] = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Train a model on a seeded split and report on its test part.

    Example: `cellnet train --dataset pbc --root data --model cnn --image-size 96 --epochs 20 --out runs/cnn`
    """
    import torch

    from cellnet.experiments import train_and_report
    from cellnet.training import ProgressBar, TensorBoard

    check_name("number of stages", stages, ["one", "two"])
    check_name("objective", objective, ["cross-entropy", "supcon"])
    several = [
        *(["--stages two"] if stages == "two" else []),
        *(["--branch"] if branch else []),
        *(["--objective supcon"] if objective == "supcon" else []),
    ]
    if len(several) > 1:
        raise ConfigError(f"{' and '.join(several)} exclude each other; give one.")
    if tensorboard and several:
        raise ConfigError(f"--tensorboard draws the curves of one training; leave it out with {several[0]}.")
    if distill is not None and several:
        raise ConfigError(f"--distill teaches one network by cross-entropy; leave it out with {several[0]}.")
    if fine_tune and not several:
        raise ConfigError(
            "--fine-tune belongs to --stages two, --branch and --objective supcon; all other trainings train the whole "
            "network."
        )
    callbacks = [ProgressBar(log), *([TensorBoard(out / "tensorboard")] if tensorboard else [])]
    config = recipe.train_config()
    images = open_dataset(dataset, root, exclude, only)
    log.print(images.summary())
    parts, how = recipe.divide(images, split, split_seed)
    shared: dict[str, Any] = {
        "split": how,
        "resume": resume,
        "device": device,
        "callbacks": callbacks,
        "command": this_command(),
        "starting_weights": recipe.starting_weights(),
    }
    if stages == "two" or branch:
        from cellnet.experiments.hybrid import FUSED_EPOCHS, branch_names, train_fused, train_two_stages

        names = branch_names(recipe.name)
        fused = config if recipe.gives(recipe.name, "epochs") else replace(config, epochs=FUSED_EPOCHS)
        chosen = recipe.model_options(recipe.name)
        shared["freeze"] = not fine_tune
        shared.update((name, chosen[name]) for name in ("image_size", "crop", "dropout") if name in chosen)
        if branch:
            shared["starting_weights"] = " and ".join(branch)
            result = train_fused(parts, load_branches(branch, names), fused, out, **shared)
        else:
            makers = [recipe.maker(images.labels, name, head="study") for name in names]
            *first, result = train_two_stages(parts, makers, [*map(recipe.train_config, names), fused], out, **shared)
            for one in first:
                log.print(str(one.report))
    elif objective == "supcon":
        from cellnet.experiments import classifier_config, train_contrastive

        make, stages_of = recipe.maker(images.labels), (config, classifier_config(config, fine_tune=fine_tune))
        result = train_contrastive(parts, make, stages_of, out, fine_tune=fine_tune, announce=log.print, **shared)
    else:
        torch.manual_seed(config.seed)  # the initial weights too: the same words give the same model
        net = recipe.create(images.labels)
        if net.backbone.weights_report is not None:
            log.print(str(net.backbone.weights_report))
        result = train_and_report(parts, net, config, out, name=recipe.name, distill=load_teacher(distill), **shared)
    if json:
        print_json({"out": str(out), "checkpoint": str(result.checkpoint), **result.report.to_dict()})
        return
    say(result.report)
    say(f"\nReport: {result.checkpoint.parent / 'report' / 'report.html'}\nModel:  {result.checkpoint}")
