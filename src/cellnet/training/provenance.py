"""On what, with what and where a run was made: what a reader of its results wants to know."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from cellnet import __version__
from cellnet.datasets import CellDataset
from cellnet.models import CellClassifier

PACKAGES = ("torch", "torchvision", "timm", "accelerate", "numpy")


def run_identity(
    model: CellClassifier, train: CellDataset, val: CellDataset, accelerator: Accelerator
) -> dict[str, Any]:
    """What must be the same to continue a run, beside its options: another one would give another result."""
    return {
        "architecture": model.architecture,
        "preprocess": model.preprocess.to_dict(),
        "frozen": list(model.frozen),
        "train": train.fingerprint(),
        "train_order": hashlib.sha256("".join(train.content_hashes()).encode()).hexdigest()[:16],
        "val": val.fingerprint(),
        "precision": "fp32" if accelerator.mixed_precision == "no" else accelerator.mixed_precision,
        "processes": accelerator.num_processes,
    }


def run_session(train: CellDataset, val: CellDataset, seed: int, device: torch.device) -> dict[str, Any]:
    """What may differ each time a run is started or continued; nothing of it is compared."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "data": {
            place: {
                "name": part.card.name if part.card else part.labels.name,
                "images": len(part),
                "hash": part.fingerprint(),
            }
            for place, part in (("train", train), ("val", val))
        },
        **machine(device),
        "git_commit": git_commit(),
    }


def machine(device: torch.device) -> dict[str, dict[str, Any]]:
    """Versions of what computes, and on what it does."""
    return {
        "versions": {
            "cellnet": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
        "hardware": {
            "system": platform.platform(),
            "processor": processor_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        },
    }


def processor_name() -> str:
    """The processor in words, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_commit() -> str | None:
    """Commit of the checkout that is the working directory, with ``-dirty`` where files differ from it; or None."""
    command = ["git", "--no-optional-locks", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None
