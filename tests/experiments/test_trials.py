from __future__ import annotations

import pytest

from cellnet.errors import ConfigError, UnknownNameError
from cellnet.experiments import Trial, vary, vary_singly
from cellnet.training import TrainConfig


@pytest.fixture
def trial() -> Trial:
    return Trial(lambda: None, TrainConfig(epochs=3), split_seed=7, varied={"model": "cnn"})  # type: ignore[arg-type]


def test_every_combination_once_and_nothing_else_changed(trial: Trial) -> None:
    trials = vary(trial, {"optimizer": ["adam", "sgd"], "split_seed": range(3)})
    assert [(t.config.optimizer, t.split_seed) for t in trials] == [
        (optimizer, seed) for optimizer in ("adam", "sgd") for seed in (0, 1, 2)
    ]
    assert all(set(t.config.difference(trial.config)) == {"optimizer"} for t in trials)
    assert all(t.make_model is trial.make_model for t in trials)
    assert trials[-1].name == "model=cnn,optimizer=sgd,split_seed=2"
    assert trials[-1].recipe == "model=cnn,optimizer=sgd"


def test_nothing_varied_is_the_trial_itself(trial: Trial) -> None:
    assert vary(trial, {}) == [trial]
    assert vary(trial, {"seed": [4]})[0].split_seed == 7


def test_keys_and_values_that_cannot_be_varied(trial: Trial) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown key to vary 'optimiser'. Did you mean 'optimizer'"):
        vary(trial, {"optimiser": ["adam"]})
    with pytest.raises(UnknownNameError, match="Did you mean 'rmsprop'"):
        vary(trial, {"optimizer": ["adam", "rmspro"]})
    with pytest.raises(ConfigError, match="lr=-1 is out of range"):
        vary(trial, {"lr": [-1]})
    with pytest.raises(ConfigError, match="give each value once"):
        vary(trial, {"seed": [0, 1, 0]})
    with pytest.raises(ConfigError, match="at least one"):
        vary(trial, {"seed": []})


def test_an_ablation_changes_one_thing_at_a_time_under_every_seed() -> None:
    trial = Trial(lambda: None, TrainConfig(ema=0.99, label_smoothing=0.1))  # type: ignore[arg-type,return-value]
    trials = vary_singly(trial, {"ema": [0.0], "seed": [0, 1], "label_smoothing": [0.0, 0.2]})
    assert [dict(t.varied) for t in trials[:4]] == [
        {"seed": 0},
        {"seed": 1},
        {"ema": 0.0, "seed": 0},
        {"ema": 0.0, "seed": 1},
    ]
    assert len(trials) == 2 + 2 + 4
    for t in trials:
        changed = trial.config.difference(t.config)
        assert {key for key in changed if key != "seed"} == {key for key in t.varied if key != "seed"}
    with pytest.raises(ConfigError, match=r"ema=0.99 is what all other runs have; leave this value out"):
        vary_singly(trial, {"ema": [0.0, 0.99]})
