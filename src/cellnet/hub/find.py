"""From the name of weights to their folder: your own place, what ships with cellnet, the cache, the Hub."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import torch

from cellnet.errors import UnknownNameError, WeightsError
from cellnet.hub import config as config_file
from cellnet.hub import remote
from cellnet.hub.checkpoint import load
from cellnet.hub.config import CheckpointConfig
from cellnet.hub.index import Published, find_published, read_index, splits
from cellnet.models import CellClassifier
from cellnet.registry import unknown_name

VARIABLE = "CELLNET_WEIGHTS"
"""Environment variable that names a folder of checkpoint folders."""


def load_pretrained(
    name: str | os.PathLike[str] = "mobilenet_v2", *, device: str | torch.device | None = None
) -> CellClassifier:
    """Load a trained model, ready to predict.

    Args:
        name: One of these:

            - a name of `list_pretrained`, alone or with a version, e.g. ``"hybrid.pbc_v1"``. It is looked up in
              the folder that ``CELLNET_WEIGHTS`` names, in the package, in the cache and on the Hub, and only then
              taken for a folder beside you, so that no such folder ever hides the weights of that name;
            - the path of a checkpoint folder, e.g. ``"./folder"``;
            - an address on the Hub, ``"hf://organisation/repository"``, alone or with ``@`` and a commit, tag or
              branch. Give the commit where results must be repeated: without it you get what is newest.
        device: Where to put the model; default: the CPU.

    Returns:
        The model in evaluation mode, with its ``temperature``, ``thresholds`` and ``weights_card``; its ``source``
        says where it came from, on the Hub with the commit.

    Raises:
        UnknownNameError: No weights of that name; the message says where was looked.
        WeightsError: A folder that is missing, damaged or foreign, or a repository that cannot be had.
        ConfigError: A device that this machine does not have, or a cache that cannot be written.

    Example:
        >>> load_pretrained("mobilenet_v3")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        cellnet.errors.UnknownNameError: Unknown weights 'mobilenet_v3'. ...
    """
    folder, source = find(name)
    model = load(folder, device=device)
    model.source = source
    return model


def read_pretrained(name: str | os.PathLike[str]) -> CheckpointConfig:
    """What is known about weights, without loading them; of what is on the Hub, config.json alone is fetched.

    Args:
        name: As for `load_pretrained`.

    Raises:
        CellnetError: As `load_pretrained`.

    Example:
        >>> read_pretrained("mobilenet_v2").card.training_data
        'pbc'
    """
    return CheckpointConfig.read(find(name, weights=False)[0])


def list_pretrained() -> list[str]:
    """Names of all weights that `load_pretrained` finds by name, in alphabetical order.

    Nothing is asked on the net: what is on the Hub is listed in an index that ships with cellnet.

    Example:
        >>> "mobilenet_v2" in list_pretrained()
        True
    """
    here = {
        file.parent.name
        for place in _places().values()
        if place is not None
        for file in place.glob(f"*/{config_file.NAME}")
    }
    return sorted(here | read_index().keys())


def find(name: str | os.PathLike[str], *, weights: bool = True) -> tuple[Path, str]:
    """The checkpoint folder of a name, path or address, fetched from the Hub if need be, and its source.

    Args:
        name: As for `load_pretrained`.
        weights: Fetch everything; without, config.json alone.
    """
    if isinstance(name, str) and name.startswith("hf://"):
        return _fetch(remote.parse_address(name), weights)
    path = Path(name)
    if not isinstance(name, str) or path.name != name:
        return path, str(path)
    here = _find_here(name)
    if here is not None:
        return here, str(here)
    published = find_published(name)
    if published is not None:
        try:
            return _fetch(published[1], weights)
        except WeightsError as error:
            raise WeightsError(f"{error} Nor is {name!r} in {_looked()}.") from error
    if path.is_dir():
        return path, str(path)
    raise UnknownNameError(
        f"{unknown_name('weights', name, list_pretrained())}{_other_version(name)} Looked in {_looked()}, in "
        f"cellnet's index of the Hub, and in the working folder; give one of the known names, a path such as "
        f"./{name}, or an address hf://organisation/repository."
    )


def _fetch(wanted: Published, weights: bool) -> tuple[Path, str]:
    folder, found = remote.fetch(wanted, weights=weights)
    return folder, str(found)


def _find_here(name: str) -> Path | None:
    """The folder in your own place or the package: of that name, or of that name without its version."""
    for place in _places().values():
        if place is None:
            continue
        if (place / name / config_file.NAME).is_file():
            return place / name
        for base, version in splits(name):
            if _version(place / base) == version:
                return place / base
    return None


def _version(folder: Path) -> str | None:
    return CheckpointConfig.read(folder).card.version if (folder / config_file.NAME).is_file() else None


def _other_version(name: str) -> str:
    """A hint where the name is right and the version is not."""
    index = read_index()
    for base, version in splits(name):
        here = [_version(place / base) for place in _places().values() if place is not None]
        known = {there for there in (*here, *index.get(base, {})) if there is not None}
        if known:
            return f" {base!r} has no version {version!r}, but {', '.join(map(repr, sorted(known)))}."
    return ""


def _looked() -> str:
    return ", ".join(f"{words} ({place or 'not set'})" for words, place in _places().items())


def _places() -> dict[str, Path | None]:
    """Where checkpoint folders stand, in the order of looking; None for a variable that is not set."""
    own = os.environ.get(VARIABLE)
    return {
        f"${VARIABLE}": Path(own) if own else None,
        "the package": Path(str(files("cellnet") / "weights")),
    }
