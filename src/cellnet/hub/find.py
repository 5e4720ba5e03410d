"""From the name of weights to their folder: the user's own place first, then what ships with cellnet."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import torch

from cellnet.errors import UnknownNameError
from cellnet.hub import config as config_file
from cellnet.hub.checkpoint import load
from cellnet.models import CellClassifier
from cellnet.registry import unknown_name

VARIABLE = "CELLNET_WEIGHTS"
"""Environment variable that names a folder of checkpoint folders."""


def load_pretrained(
    name: str | os.PathLike[str] = "mobilenet_v2", *, device: str | torch.device | None = None
) -> CellClassifier:
    """Load a trained model, ready to predict.

    Args:
        name: A name of `list_pretrained`, or the path of a checkpoint folder, e.g. ``"./folder"``. A name is
            looked up in the folder that ``CELLNET_WEIGHTS`` names, then in the package, and only then taken
            for a folder beside you, so that no such folder ever hides the weights of that name.
        device: Where to put the model; default: the CPU.

    Returns:
        The model in evaluation mode, with its ``temperature``, ``thresholds`` and ``weights_card``.

    Raises:
        UnknownNameError: No weights of that name; the message says where was looked.
        WeightsError: A folder that is missing, damaged or foreign.
        ConfigError: A device that this machine does not have.

    Example:
        >>> load_pretrained("mobilenet_v3")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        cellnet.errors.UnknownNameError: Unknown weights 'mobilenet_v3'. ...
    """
    return load(_find(name), device=device)


def list_pretrained() -> list[str]:
    """Names of all weights that `load_pretrained` finds by name, in alphabetical order."""
    return sorted(
        {
            file.parent.name
            for place in _places().values()
            if place is not None
            for file in place.glob(f"*/{config_file.NAME}")
        }
    )


def _find(name: str | os.PathLike[str]) -> Path:
    path = Path(name)
    if not isinstance(name, str) or path.name != name:
        return path
    for place in _places().values():
        if place is not None and (place / name / config_file.NAME).is_file():
            return place / name
    if path.is_dir():
        return path
    looked = ", ".join(f"{words} ({place or 'not set'})" for words, place in _places().items())
    raise UnknownNameError(
        f"{unknown_name('weights', name, list_pretrained())} Looked in {looked} and the working folder."
    )


def _places() -> dict[str, Path | None]:
    """Where checkpoint folders stand, in the order of looking; None for a variable that is not set."""
    own = os.environ.get(VARIABLE)
    return {
        f"${VARIABLE}": Path(own) if own else None,
        "the package": Path(str(files("cellnet") / "weights")),
    }
