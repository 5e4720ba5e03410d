"""The demonstration: real cells with the shipped model, or the training path on drawn cells."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from cellnet.datasets import load_dataset, samples
from cellnet.evaluation import Report, evaluate
from cellnet.hub import load_pretrained
from cellnet.models import create_model
from cellnet.training import Callback, TrainConfig, Trainer


def predict_demo(out: str | PathLike[str], *, device: str | None = None) -> Report:
    """Judge the shipped model on the 40 shipped images, which it was not trained on, and save the report.

    Args:
        out: Folder for the report.
        device: Where to compute; None is the CPU.
    """
    report = evaluate(load_pretrained(device=device), samples(), title="cellnet demo: 40 real cells")
    report.save(out)
    return report


def train_demo(out: str | PathLike[str], *, device: str | None = None, callbacks: Sequence[Callback] = ()) -> Report:
    """Train the small CNN on drawn cells from nothing, judge it on others, and save the report.

    Args:
        out: Folder for the report.
        device: ``"cpu"``, or None for the best device there is.
        callbacks: Things that watch the training.
    """
    cells = load_dataset("synthetic", per_class=60, image_size=48)
    train, val, test = cells.split((0.6, 0.2, 0.2), seed=0)
    config = TrainConfig(epochs=6, batch_size=16, lr=2e-3)
    fit = Trainer(create_model("cnn", cells.labels, image_size=48), config, callbacks=callbacks, device=device).fit(
        train, val
    )
    report = evaluate(
        fit.model,
        test,
        calibrate_on=val,
        history=fit.history,
        best_epoch=fit.best_epoch,
        title="cellnet demo: drawn cells",
    )
    report.save(out)
    return report
