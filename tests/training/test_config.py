"""TrainConfig: validation and the TOML round trip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellnet.errors import ConfigError, UnknownNameError
from cellnet.training import TrainConfig
from cellnet.training.config import list_presets


def test_round_trip_through_toml(tmp_path: Path) -> None:
    config = TrainConfig(
        epochs=3, optimizer="sgd", lr=0.05, ema=0.99, class_weights="balanced", patience=2, preload=False
    )
    path = tmp_path / "train.toml"
    path.write_text(config.to_toml())
    assert TrainConfig.from_toml(path) == config


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    config = TrainConfig(epochs=np.int64(3), lr=np.float32(0.5), ema=np.float64(0.5), patience=np.int32(2))  # type: ignore[arg-type]
    assert config == TrainConfig(epochs=3, lr=0.5, ema=0.5, patience=2)
    (tmp_path / "train.toml").write_text(config.to_toml())
    assert TrainConfig.from_toml(tmp_path / "train.toml") == config


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("epochs", 0),
        ("epochs", np.float64(3)),
        ("epochs", np.True_),
        ("epochs", 1.5),
        ("epochs", True),
        ("batch_size", -1),
        ("lr", 0.0),
        ("lr", "fast"),
        ("ema", 1.0),
        ("label_smoothing", 1.0),
        ("patience", 0.5),
        ("seed", -1),
        ("gradient_clip", 0),
        ("lr", float("nan")),
        ("checkpoint_minutes", -1),
        ("layer_decay", 0),
        ("layer_decay", 1.1),
        ("start_size", 64.0),
        ("norm_batches", 1.5),
        ("distill_weight", 2),
        ("distill_temperature", 0),
    ],
)
def test_values_out_of_range_name_the_option(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{option}=.* out of range; give a"):
        TrainConfig(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["channels_last", "compile", "fit_batch", "preload"])
def test_switches_are_true_or_false(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option}='yes' must be true or false"):
        TrainConfig(**{option: "yes"})  # type: ignore[arg-type]


def test_every_preset_is_a_config() -> None:
    assert list_presets() == ["best", "fast"]
    for name in list_presets():
        config = TrainConfig.preset(name)
        assert config.start_size is None or config.start_size < 128
        assert config.ema
    with pytest.raises(UnknownNameError, match=r"Unknown preset 'bets'. Did you mean 'best'"):
        TrainConfig.preset("bets")


@pytest.mark.parametrize(
    ("option", "value", "near"),
    [
        ("optimizer", "adm", "adam"),
        ("schedule", "cosin", "cosine"),
        ("precision", "fp23", "fp32"),
        ("monitor", "val_acuracy", "val_accuracy"),
        ("augmentation", "lite", "light"),
        ("class_weights", "balance", "balanced"),
    ],
)
def test_unknown_words_show_the_nearest(option: str, value: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean .*{near}"):
        TrainConfig(**{option: value})  # type: ignore[arg-type]


def test_unknown_key_shows_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text("epoch = 3\n")
    with pytest.raises(UnknownNameError, match="Did you mean 'epochs'"):
        TrainConfig.from_toml(path)


@pytest.mark.parametrize("content", [b"epochs = ", b"\xff\xfe"])
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not TOML"):
        TrainConfig.from_toml(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot read "):
        TrainConfig.from_toml(tmp_path / "none.toml")


def test_difference_names_what_changed_but_for_speed() -> None:
    assert TrainConfig().difference(TrainConfig(lr=0.5, workers=2, preload=False, checkpoint_minutes=1.0)) == {
        "lr": (1e-3, 0.5)
    }
