"""``cellnet train``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json
from cellnet.cli.inputs import divide, open_dataset, parse_settings


def train(
    out: Annotated[Path, typer.Option("--out", help="Folder for this run.")],
    dataset: options.Dataset = "pbc",
    root: options.Root = None,
    exclude: options.Exclude = None,
    split: options.Split = "0.7,0.1,0.2",
    split_seed: options.SplitSeed = 0,
    model: Annotated[str, typer.Option("--model", help="Architecture; `cellnet list --models`.")] = "mobilenet_v2",
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Start from ImageNet weights of the Hub.")] = False,
    weights: Annotated[Path | None, typer.Option("--weights", help="Start from this safetensors file.")] = None,
    mean: Annotated[float | None, typer.Option("--mean", help="Mean that the weights expect, all channels.")] = None,
    std: Annotated[float | None, typer.Option("--std", help="Standard deviation that they expect.")] = None,
    head: Annotated[str | None, typer.Option("--head", help="linear, or the study's: study.")] = None,
    image_size: Annotated[int | None, typer.Option("--image-size", help="Side of the input, pixels.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of training options.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the training part.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Images a step.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    optimizer: Annotated[str | None, typer.Option("--optimizer", help="adam, adamw, rmsprop or sgd.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the training.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other training option, e.g. ema=0.999; repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue what stands in --out.")] = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Train a model on a seeded split and report on its test part.

    Example: `cellnet train --dataset pbc --root data --model cnn --image-size 96 --epochs 20 --out runs/cnn`
    """
    import torch

    from cellnet.experiments import train_and_report
    from cellnet.models import create_model
    from cellnet.training import ProgressBar, TrainConfig

    given = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "optimizer": optimizer, "seed": seed}
    base = TrainConfig.from_toml(config) if config else TrainConfig()
    chosen = TrainConfig.from_dict(
        base.to_dict() | {k: v for k, v in given.items() if v is not None} | parse_settings(settings or [])
    )
    images = open_dataset(dataset, root, exclude)
    log.print(images.summary())
    parts, how = divide(images, split, split_seed)
    torch.manual_seed(chosen.seed)  # the initial weights too: the same words give the same model
    net = create_model(
        model,
        images.labels,
        pretrained=pretrained,
        weights=weights,
        head=head,
        image_size=image_size,
        mean=None if mean is None else (mean,) * 3,
        std=None if std is None else (std,) * 3,
    )
    if net.backbone.weights_report is not None:
        log.print(str(net.backbone.weights_report))
    result = train_and_report(
        parts,
        net,
        chosen,
        out,
        name=model,
        split=how,
        resume=resume,
        device=device,
        callbacks=[ProgressBar(log)],
        command=shlex.join(["cellnet", *(word for word in sys.argv[1:] if word != "--resume")]),
        starting_weights=weights.name if weights else "the Hub's ImageNet weights" if pretrained else "",
    )
    if json:
        print_json({"out": str(out), "checkpoint": str(result.checkpoint), **result.report.to_dict()})
        return
    print(result.report)
    print(f"\nReport: {out / 'report' / 'report.html'}\nModel:  {result.checkpoint}")
