"""What a comparison trains: runs that differ in what is said and in nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from cellnet.errors import ConfigError
from cellnet.experiments.study import MakeModel
from cellnet.registry import check_name
from cellnet.training import TrainConfig

SEEDS = ("seed", "split_seed")
"""Keys whose values are repetitions of one recipe, not recipes to choose from."""


@dataclass(frozen=True)
class Trial:
    """One training of a comparison.

    Args:
        make_model: Makes its model.
        config: How to train it.
        split_seed: Seed of its split.
        varied: What sets it apart from the others: name -> value.
        starting_weights: Where its weights start from, for the card.
    """

    make_model: MakeModel
    config: TrainConfig
    split_seed: int = 0
    varied: Mapping[str, Any] = field(default_factory=dict)
    starting_weights: str = ""

    @property
    def name(self) -> str:
        """What sets it apart, in words, e.g. ``"optimizer=adam,seed=0"``."""
        return _words(self.varied)

    @property
    def recipe(self) -> str:
        """The same without its seeds: runs of one recipe are repetitions."""
        return _words({key: value for key, value in self.varied.items() if key not in SEEDS})


def vary(trial: Trial, choices: Mapping[str, Iterable[Any]]) -> list[Trial]:
    """A trial for each combination of values.

    Args:
        trial: What the others start from.
        choices: Values of training options, or of ``split_seed``: name -> values.

    Raises:
        UnknownNameError: A key that cannot be varied, with the nearest that can.
        ConfigError: No value, a value given twice, or one that the option does not take.

    Example:
        >>> trial = Trial(lambda: None, TrainConfig())
        >>> [t.name for t in vary(trial, {"optimizer": ["adam", "sgd"], "seed": [0, 1]})]
        ['optimizer=adam,seed=0', 'optimizer=adam,seed=1', 'optimizer=sgd,seed=0', 'optimizer=sgd,seed=1']
    """
    lists = {key: list(values) for key, values in choices.items()}
    for key, values in lists.items():
        check_name("key to vary", key, ["split_seed", *(option.name for option in fields(TrainConfig))])
        if not values or any(value in values[:i] for i, value in enumerate(values)):
            raise ConfigError(f"{key} is to take the values {values}; give each value once, and at least one.")
    trials = []
    for combination in itertools.product(*lists.values()):
        chosen = dict(zip(lists, combination, strict=True))
        options = {key: value for key, value in chosen.items() if key != "split_seed"}
        trials.append(
            replace(
                trial,
                config=TrainConfig.from_dict(trial.config.to_dict() | options),
                split_seed=chosen.get("split_seed", trial.split_seed),
                varied={**trial.varied, **chosen},
            )
        )
    return trials


def vary_singly(trial: Trial, choices: Mapping[str, Iterable[Any]]) -> list[Trial]:
    """The trial as it is, and one for each value with nothing else changed: an ablation.

    Seeds are combined with everything.

    Args:
        trial: What the others start from.
        choices: As for `vary`.

    Raises:
        UnknownNameError, ConfigError: As `vary`; or a value that the trial has anyway.

    Example:
        >>> trial = Trial(lambda: None, TrainConfig(label_smoothing=0.1, ema=0.99))
        >>> [t.name for t in vary_singly(trial, {"label_smoothing": [0.0], "ema": [0.0], "seed": [0]})]
        ['seed=0', 'label_smoothing=0.0,seed=0', 'ema=0.0,seed=0']
    """
    seeds = {key: values for key, values in choices.items() if key in SEEDS}
    others = {key: list(values) for key, values in choices.items() if key not in SEEDS}
    trials = vary(trial, seeds)
    for key, values in others.items():
        own = getattr(trial.config, key, None)
        if own in values:
            raise ConfigError(f"{key}={own!r} is what all other runs have; leave this value out.")
        trials += vary(trial, {key: values, **seeds})
    return trials


def _words(values: Mapping[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in values.items())
