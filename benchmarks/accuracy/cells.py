"""What the table says of a trained row."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from benchmarks.accuracy.hardware import PeakMemory, matrix_rate
from benchmarks.accuracy.published import PUBLISHED
from benchmarks.accuracy.tasks import Task
from benchmarks.speed.operations import training_flops

from cellnet.datasets import CellDataset, split_hash
from cellnet.evaluation import Estimate, Report
from cellnet.evaluation.intervals import wilson
from cellnet.experiments import RunResult
from cellnet.inference import predict
from cellnet.models import CellClassifier

Cells = dict[str, str]

FIGURES = ("macro_precision", "macro_recall", "macro_f1")

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def describe(
    task: Task, epochs: int, result: RunResult, parts: tuple[CellDataset, ...], folder: Path, memory: PeakMemory
) -> Cells:
    """A trained row in words.

    Args:
        task: What was trained.
        epochs: Epochs beside those of the protocol.
        result: What came of it.
        parts: Its training, validation and test part.
        folder: Where it was trained.
        memory: What it took at its peak.
    """
    report, device = result.report, task.setting.device
    run = json.loads((result.checkpoint.parent / "run.json").read_text(encoding="utf-8"))
    session, precision = run["sessions"][-1], run["identity"]["precision"]
    hardware = session["hardware"]
    published = PUBLISHED.get(task.row.name, {}).get(task.shuffled)
    return {
        "model": task.row.name,
        "protocol": task.setting.protocol_name,
        "shuffled": task.shuffled,
        **judged(result.fit.model, parts, report),
        "published": "" if published is None else percent(published, 2),
        "published_lies": "" if published is None else where(published, report.accuracy),
        "epochs": "+".join(str(config.epochs) for config in task.configs(epochs)),
        "start": task.start or "nothing",
        "minutes": f"{seconds_in(folder) / 60:.1f}",
        "device": hardware["device"] if device == "cuda" else processor_in_words(hardware),
        "precision": precision,
        "peak_gib": str(memory),
        "matrix_share": matrix_share(result, device, precision) if task.row.kind == "single" else "",
        "versions": versions_in_words(session["versions"]),
        "commit": session["git_commit"] or "",
    }


def judged(model: CellClassifier, parts: tuple[CellDataset, ...], report: Report) -> Cells:
    """What a model shows, on which images.

    Args:
        model: The model.
        parts: Training, validation and test part.
        report: Of the test part.
    """
    return {
        "image_size": str(model.preprocess.image_size),
        "train_accuracy": str(accuracy_of(model, parts[0])),
        "accuracy": str(report.accuracy),
        **{figure: str(report.metrics[figure]) for figure in FIGURES},
        "test_images": str(report.n),
        "split_hash": split_hash(*parts),
    }


def accuracy_of(model: CellClassifier, part: CellDataset) -> Estimate:
    """Share of the images of a part that a model calls rightly."""
    called = predict(model, part, batch_size=128).probabilities.argmax(1)
    return wilson(int((called == part.targets).sum()), len(part))


def versions_in_words(versions: Mapping[str, str]) -> str:
    """Libraries and their versions.

    Example:
        >>> versions_in_words({"python": "3.11.7", "torch": "2.15.0"})
        'python 3.11.7, torch 2.15.0'
    """
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def processor_in_words(hardware: Mapping[str, Any]) -> str:
    """The processor of a run, and how many of its cores the run used.

    Example:
        >>> processor_in_words({"processor": "AMD EPYC", "threads": 1, "cores": 2})
        'AMD EPYC, 1 of 2 cores'
    """
    return f"{hardware['processor']}, {hardware['threads']} of {hardware['cores']} cores"


def where(published: float, ours: Estimate) -> str:
    """Where a published figure lies beside our interval.

    Example:
        >>> where(0.96, Estimate(0.9, 0.8, 0.95))
        'above'
    """
    if published > ours.high:
        return "above"
    return "below" if published < ours.low else "inside"


def matrix_share(result: RunResult, device: str, precision: str) -> str:
    """How fast a network learned, all of it, beside the rate at which the device multiplies matrices of that type."""
    rate = median(float(row["images_per_second"]) for row in result.fit.history)
    return percent(rate * training_flops(result.fit.model) / matrix_rate(device, DTYPES[precision]), 1)


def seconds_in(folder: Path) -> float:
    """The time of all epochs of all stages in a folder, however often they were continued."""
    seconds = 0.0
    for file in folder.rglob("history.csv"):
        with file.open(newline="", encoding="utf-8") as stream:
            seconds += sum(float(row["seconds"]) for row in csv.DictReader(stream))
    return seconds


def percent(share: float, digits: int) -> str:
    """A share in words.

    Example:
        >>> percent(0.9851, 2)
        '98.51 %'
    """
    return f"{100 * share:.{digits}f} %"
