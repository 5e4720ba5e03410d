"""Random numbers of an augmentation: from torch's global generator and from nowhere else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor

from cellnet.errors import ConfigError

Range = tuple[float, float]
"""The least and the greatest value of a draw."""


def check_numbers(name: str, values: Sequence[float], least: float = -math.inf, greatest: float = math.inf) -> None:
    """Refuse numbers that are not finite or out of range.

    Raises:
        ConfigError: One of ``values`` is not in ``least`` to ``greatest``; the message names the argument.
    """
    if not all(math.isfinite(value) and least <= value <= greatest for value in values):
        given = values[0] if len(values) == 1 else tuple(values)
        above, below = math.isfinite(least), math.isfinite(greatest)
        bounds = f"{least:g} to {greatest:g}" if below else f"{least:g} or more" if above else "a finite number"
        raise ConfigError(f"{name}={given} cannot be used; give {bounds}{', each' if len(values) > 1 else ''}.")


def check_whole(name: str, value: int, least: float = -math.inf) -> None:
    """Refuse what is no whole number, or out of range.

    Raises:
        ConfigError: ``value`` is not a whole number of ``least`` or more.
    """
    check_numbers(name, [value], least)
    if not isinstance(value, Integral):
        raise ConfigError(f"{name}={value} cannot be used; give a whole number.")


def check_range(name: str, limits: Range, least: float = -math.inf, greatest: float = math.inf) -> None:
    """Refuse a range to draw from that is out of bounds or upside down.

    Raises:
        ConfigError: Not two numbers, the lower one first, in ``least`` to ``greatest``.
    """
    if not hasattr(limits, "__len__") or len(limits) != 2 or limits[0] > limits[1]:
        raise ConfigError(f"{name}={limits} is no range; give its least and its greatest value, in this order.")
    check_numbers(name, limits, least, greatest)


def uniform(*limits: Range) -> list[float]:
    """One number from each range, all values equally likely."""
    draws = torch.rand(len(limits)).tolist()
    return [low + (high - low) * draw for (low, high), draw in zip(limits, draws, strict=True)]


def log_uniform(*limits: Range) -> list[float]:
    """One factor from each range of positive numbers: halving is as likely as doubling."""
    draws = torch.rand(len(limits)).tolist()
    return [low * (high / low) ** draw for (low, high), draw in zip(limits, draws, strict=True)]


def happens(probability: float) -> bool:
    """Heads or tails."""
    return float(torch.rand(())) < probability


def uniform_batch(images: int, generator: torch.Generator, *limits: Range) -> list[Tensor]:
    """As `uniform`, for each of so many images: float32 N from each range, on the CPU, drawn from ``generator``."""
    draws = torch.rand(len(limits), images, generator=generator)
    return [low + (high - low) * draw for (low, high), draw in zip(limits, draws, strict=True)]


def log_uniform_batch(images: int, generator: torch.Generator, *limits: Range) -> list[Tensor]:
    """As `log_uniform`, for each of so many images."""
    draws = torch.rand(len(limits), images, generator=generator)
    return [low * (high / low) ** draw for (low, high), draw in zip(limits, draws, strict=True)]
