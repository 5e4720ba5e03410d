"""The collection index: which repository on the Hub holds the weights of a name, and which bytes they must be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from cellnet.cards import Card

INDEX = Path(str(files("cellnet") / "hub" / "index.json"))
"""Ships with cellnet: name -> version -> `Published`, the newest version last."""


@dataclass(frozen=True)
class Published(Card):
    """Weights at one commit of a repository on the Hub.

    Args:
        repo: ``"organisation/repository"``.
        revision: The commit, 40 hexadecimal digits: a commit never changes, a branch or tag may.
        config_sha256: Hash of its config.json.
        weights_sha256: Hash of its model.safetensors.
    """

    repo: str
    revision: str
    config_sha256: str = ""
    weights_sha256: str = ""

    def __str__(self) -> str:
        return f"hf://{self.repo}@{self.revision}"


def read_index() -> dict[str, dict[str, Published]]:
    """Every name that the index knows, with its versions.

    Example:
        >>> all(versions for versions in read_index().values())
        True
    """
    names = json.loads(INDEX.read_text(encoding="utf-8"))
    return {
        name: {version: Published.from_dict(entry) for version, entry in versions.items()}
        for name, versions in names.items()
    }


def find_published(name: str) -> tuple[str, Published] | None:
    """Version and place of ``"name"``, then the newest version, or of ``"name.version"``; None if unknown."""
    index = read_index()
    if name in index:
        return list(index[name].items())[-1]
    for base, version in splits(name):
        if version in index.get(base, {}):
            return version, index[base][version]
    return None


def splits(name: str) -> list[tuple[str, str]]:
    """The ways to read a name as ``"name.version"``: both may hold dots.

    Example:
        >>> splits("timm.vit.1.0")
        [('timm.vit.1', '0'), ('timm.vit', '1.0'), ('timm', 'vit.1.0')]
    """
    dots = [place for place, character in enumerate(name) if character == "."]
    return [(name[:dot], name[dot + 1 :]) for dot in reversed(dots)]
