"""``cellnet differential``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellnet.cli import options
from cellnet.cli.console import log, print_json, say
from cellnet.cli.inputs import open_model


def differential(
    folder: Annotated[Path, typer.Argument(help="Images of single cells of one sample.")],
    model: options.Pretrained = "mobilenet_v2",
    classes: options.Classes = None,
    adapt: options.Adapt = False,
    tta: options.Tta = False,
    batch_size: options.BatchSize = 32,
    device: options.Device = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", file_okay=False, help="Folder for differential.csv, differential.html and predictions.csv."
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Count the cells of each class, with limits, the model's known mistakes taken out.

    Example: `cellnet differential smears/patient_7 --out runs/patient_7`
    """
    from cellnet.evaluation import differential as count
    from cellnet.inference import familiar_up_to

    net = open_model(model, classes, tta, device)
    card = net.weights_card
    # What a model that is asked in another way mistakes is not what the card's figures say.
    judged = card.headline if card is not None and not (adapt or tta) else None
    if adapt:
        net = net.adapt(folder)
    predictions = net.predict(folder, batch_size=batch_size, progress=not json)
    called = judged.called if judged is not None and judged.called else None
    result = count(predictions, called, strange=float(familiar_up_to(net.thresholds)))
    if out is not None:
        predictions.to_csv(out / "predictions.csv")
        result.to_csv(out / "differential.csv")
        result.to_html(out / "differential.html", title=f"Differential of {folder.name}", model=model)
        log.print(f"Page: {out / 'differential.html'}")
    if json:
        print_json(result.to_dict())
    else:
        say(result)
