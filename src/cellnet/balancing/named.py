"""Samplers by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from imblearn import combine, over_sampling, under_sampling
from torch import Tensor

from cellnet.balancing.embedding import EmbeddingSMOTE
from cellnet.balancing.smote import SMOTE
from cellnet.errors import ConfigError
from cellnet.registry import check_name

_OWN = {"SMOTE": SMOTE, "EmbeddingSMOTE": EmbeddingSMOTE}
_FOR_TABLES = ("SMOTEN", "SMOTENC")  # for columns of categories, which images have none of
_PEERS = {
    name: getattr(module, name)
    for module in (over_sampling, under_sampling, combine)
    for name in module.__all__
    if name not in (*_OWN, *_FOR_TABLES)
}


def list_samplers() -> list[str]:
    """Names for `create_sampler`: cellnet's own, and those of imbalanced-learn that images can be given to.

    Example:
        >>> [name for name in list_samplers() if name.startswith("Random")]
        ['RandomOverSampler', 'RandomUnderSampler']
    """
    return sorted([*_OWN, *_PEERS])


def create_sampler(name: str, embed: Callable[[Tensor], Tensor] | None = None) -> Any:
    """A sampler with its own defaults.

    Args:
        name: A name of `list_samplers`: the name of its class.
        embed: What ``EmbeddingSMOTE`` needs, such as ``model.eval().features``; others do without.

    Raises:
        UnknownNameError: No such sampler.
        ConfigError: ``embed`` is missing.

    Example:
        >>> create_sampler("RandomOverSampler")
        RandomOverSampler()
    """
    check_name("sampler", name, list_samplers())
    if name != "EmbeddingSMOTE":
        return (_OWN | _PEERS)[name]()
    if embed is None:
        raise ConfigError("EmbeddingSMOTE needs features; give embed=model.eval().features of a trained model.")
    return EmbeddingSMOTE(embed)
