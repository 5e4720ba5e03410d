"""Golden images and logits beside the weights: does this machine compute what the author's machine did?"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from cellnet._version import __version__
from cellnet.errors import DataError, WeightsError
from cellnet.inference import evaluation_mode

if TYPE_CHECKING:
    from cellnet.models import CellClassifier

TOLERANCE = 0.01
"""Allowed difference as a share of the largest golden logit (at least 1): above what float32 kernels of other
processors and TF32 on GPUs differ by, below what a damaged weight or another way of resizing does."""

_IMAGE_SIDE = 96
_LIBRARIES = ("torch", "torchvision", "timm", "numpy")


@dataclass(frozen=True, eq=False)
class Golden:
    """What a model must compute.

    Args:
        images: uint8 N×3×H×W, before preprocessing, so that resizing is tested too.
        logits: float32 N×C, computed on a CPU from the weights as they are stored.
        tolerance: Largest allowed absolute difference of a logit.
        libraries: Versions that computed ``logits``.
    """

    images: Tensor
    logits: Tensor
    tolerance: float
    libraries: dict[str, str]


@dataclass(frozen=True)
class SelfTest:
    """Result of `self_test`; true if the model computes its golden logits.

    Args:
        ok: Whether every logit is within ``tolerance``.
        max_difference: Largest absolute difference of a logit.
        tolerance: Largest allowed one.
        message: The result in words, with the suspected causes of a difference.
    """

    ok: bool
    max_difference: float
    tolerance: float
    message: str

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return self.message


def library_versions() -> dict[str, str]:
    """Versions of what computes logits, on this machine."""
    versions = {"cellnet": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def default_images() -> Tensor:
    """Two smooth, coloured, always equal random images: uint8 2×3×96×96."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 6, 6, generator=generator)
    fine = torch.rand(2, 3, _IMAGE_SIDE, _IMAGE_SIDE, generator=generator)
    smooth = F.interpolate(coarse, size=(_IMAGE_SIDE, _IMAGE_SIDE), mode="bilinear")
    return ((0.9 * smooth + 0.1 * fine) * 255).round().to(torch.uint8)


def make_golden(model: CellClassifier, images: Tensor | None = None) -> Golden:
    """Compute golden logits with ``model``, which must be in evaluation mode.

    Raises:
        DataError: ``images`` is not a batch of uint8 images.
    """
    images = default_images() if images is None else images.detach().cpu()
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise DataError(
            f"Golden images are uint8 N×3×H×W, not {images.dtype} {tuple(images.shape)}; "
            "stack a few images that cellnet.images.decode gave."
        )
    logits = _logits(model, images)
    tolerance = TOLERANCE * max(1.0, float(logits.abs().max()))
    return Golden(images, logits, tolerance, library_versions())


def self_test(model: CellClassifier) -> SelfTest:
    """Compare what the model computes here with the golden logits stored beside its weights.

    It runs where the model is, so move the model first to test another device.

    Raises:
        WeightsError: The model did not come from a checkpoint folder with golden logits.
    """
    golden: Golden | None = getattr(model, "golden", None)
    if golden is None:
        raise WeightsError(
            "This model has no golden logits: only one that was loaded from a checkpoint folder with "
            "golden.safetensors can test itself; save it and load it again."
        )
    with evaluation_mode(model):
        logits = _logits(model, golden.images)
    difference = float((logits - golden.logits).abs().max())
    ok = difference <= golden.tolerance  # False for NaN
    message = (
        f"The largest difference from the golden logits is {difference:.2g}, "
        f"{'within' if ok else 'more than'} the tolerance of {golden.tolerance:.2g}."
    )
    if not ok:
        message += " Possible causes: " + "; ".join(_suspects(model, golden)) + "."
    return SelfTest(ok, difference, golden.tolerance, message)


@torch.no_grad()
def _logits(model: CellClassifier, images: Tensor) -> Tensor:
    device = next(model.parameters()).device
    logits: Tensor = model(model.preprocess(images).to(device))
    return logits.float().cpu()


def _suspects(model: CellClassifier, golden: Golden) -> list[str]:
    """What differs from the machine that computed the golden logits, most likely cause first."""
    weight = next(model.parameters())
    suspects = ["the weights were changed after loading, e.g. by training"]
    if weight.dtype != torch.float32:
        suspects.append(f"the model computes in {weight.dtype}, the golden logits in torch.float32")
    if weight.device.type != "cpu":
        suspects.append(f"the model is on {weight.device}, the golden logits were computed on a CPU")
    here = library_versions()
    suspects += [
        f"{name} is {here.get(name, 'missing')} here and was {there} there"
        for name, there in golden.libraries.items()
        if here.get(name) != there
    ]
    return suspects
