"""``cellnet doctor``."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import typer

from cellnet import __version__
from cellnet.cli import options
from cellnet.cli.console import print_json
from cellnet.errors import CellnetError

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "numpy",
    "scikit-learn",
    "imbalanced-learn",
    "pillow",
)


def doctor(json: options.Json = False) -> None:
    """Check the installation: versions, devices, decoding, and whether the shipped model computes as it should.

    Exit code 1 if something is wrong.

    Example: `cellnet doctor`
    """
    facts: dict[str, Any] = {"cellnet": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "missing"
    facts["processors"] = os.cpu_count()
    facts["free disk here"] = f"{shutil.disk_usage('.').free / 2**30:.1f} GiB"
    checks: dict[str, str] = {}
    checks["torch and torchvision fit together"] = _check_torch(facts)
    if not checks["torch and torchvision fit together"]:
        checks["the 40 sample images decode"] = _check_samples()
        checks["the shipped model computes its golden logits"] = _check_model()
    healthy = not any(checks.values())
    if json:
        print_json({"healthy": healthy, "facts": facts, "problems": {k: v for k, v in checks.items() if v}})
    else:
        for key, value in facts.items():
            print(f"{key:<20}{value}")
        for check, problem in checks.items():
            print(f"{'ok  ' if not problem else 'FAIL'} {check}{': ' + problem if problem else ''}")
    if not healthy:
        raise typer.Exit(1)


def _check_torch(facts: dict[str, Any]) -> str:
    try:
        import torch
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        return f"{error}; install both together: pip install --upgrade torch torchvision"
    facts["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    facts["cpu capability"] = torch.backends.cpu.get_cpu_capability()
    return ""


def _check_samples() -> str:
    from cellnet.datasets import samples

    try:
        images = samples()
        for i in range(len(images)):
            images.image(i)
    except CellnetError as error:
        return str(error)
    return "" if len(images) == 40 else f"found {len(images)}; reinstall cellnet"


def _check_model() -> str:
    from cellnet.hub import load_pretrained

    try:
        result = load_pretrained().self_test()
    except CellnetError as error:
        return str(error)
    return "" if result.ok else result.message
