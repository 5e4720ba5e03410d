"""Options that mean the same for every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Dataset = Annotated[str, typer.Option("--dataset", help="Data set by name; `cellnet list --datasets` shows them.")]
Root = Annotated[Path | None, typer.Option("--root", help="Folder that holds the data set.")]
Exclude = Annotated[
    str | None,
    typer.Option("--exclude", help="Leave images out: `samples` (the shipped ones) or a folder of images."),
]
Only = Annotated[
    Path | None,
    typer.Option("--only", help="Keep only the images that a text file lists, e.g. basophil/BA_101.jpg, one a line."),
]
Split = Annotated[
    str, typer.Option("--split", help="Shares of train, validation and test; or `official`, or a split's CSV file.")
]
SplitSeed = Annotated[int, typer.Option("--split-seed", help="Seed of the split; the same for all your models.")]
Device = Annotated[str | None, typer.Option("--device", help="`cpu`, `cuda` …; the best there is if not given.")]
Adapt = Annotated[
    bool, typer.Option("--adapt", help="Let the model get used to these images first: scale, stain and light.")
]
Tta = Annotated[
    bool, typer.Option("--tta", help="Test-time augmentation: the mean over seven views of each image; slower.")
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images computed at once.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable result on standard output.")]
Pretrained = Annotated[
    str, typer.Option("--model", help="Name of weights, a checkpoint folder, or hf://organisation/repository.")
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes", help="The only classes that can occur, by comma: neutrophil,lymphocyte; all if not given."
    ),
]
Risk = Annotated[
    float | None,
    typer.Option(
        "--risk", help="Largest share of the accepted images that may be wrong, with 95 % confidence, e.g. 0.01."
    ),
]
Coverage = Annotated[
    float | None,
    typer.Option("--coverage", help="How often the true class must be in the set of those not excluded, e.g. 0.95."),
]
Distill = Annotated[
    str | None,
    typer.Option("--distill", help="Learn from this trained model too: a name, or a checkpoint folder."),
]
