"""The training loop: it learns, resumes bit for bit, and refuses what would make a result worthless."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.images import Preprocess
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier, create_model
from cellnet.training import Callback, TrainConfig, Trainer


@pytest.fixture(scope="module")
def parts() -> tuple[CellDataset, CellDataset]:
    return load_dataset("synthetic", per_class=8, image_size=32, seed=1).folds(2)[0]


def net() -> CellClassifier:
    torch.manual_seed(7)
    return create_model("cnn", image_size=32)


def same_weights(a: CellClassifier, b: CellClassifier) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.slow
def test_a_small_network_learns_drawn_cells() -> None:
    train, val, test = load_dataset("synthetic", per_class=40, image_size=32).split((0.6, 0.2, 0.2), seed=0)
    config = TrainConfig(epochs=10, batch_size=16, lr=3e-3, ema=0.95, label_smoothing=0.05)
    fit = Trainer(net(), config, device="cpu").fit(train, val)
    predictions = fit.model.predict(test)
    assert np.mean(predictions.probabilities.argmax(1) == test.targets) > 0.8
    assert fit.history[-1]["train_loss"] < fit.history[0]["train_loss"]
    assert fit.history[fit.best_epoch - 1]["val_macro_f1"] == max(row["val_macro_f1"] for row in fit.history)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_the_same_seed_gives_the_same_weights(parts: tuple[CellDataset, CellDataset], optimizer: str) -> None:
    config = TrainConfig(epochs=1, batch_size=16, optimizer=optimizer, lr=1e-3)
    first = Trainer(net(), config, device="cpu").fit(*parts)
    second = Trainer(net(), config, device="cpu").fit(*parts)
    assert same_weights(first.model, second.model)
    assert not same_weights(first.model, net())


class Interrupt(Callback):
    """Ends a run after an epoch as Ctrl-C would."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_step(self, epoch: int, images: int) -> None:
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_an_interrupted_run_continues_bit_for_bit(
    parts: tuple[CellDataset, CellDataset], tmp_path: Path, optimizer: str
) -> None:
    config = TrainConfig(
        epochs=3, batch_size=8, optimizer=optimizer, ema=0.9, augmentation="strong", mixup=0.2, freeze_epochs=1
    )
    whole = Trainer(net(), config, out=tmp_path / "whole", device="cpu").fit(*parts)
    with pytest.raises(KeyboardInterrupt):
        Trainer(net(), config, out=tmp_path / "cut", callbacks=[Interrupt(2)], device="cpu").fit(*parts)
    resumed = Trainer(net(), config, out=tmp_path / "cut", device="cpu").fit(*parts, resume=True)
    assert same_weights(whole.model, resumed.model)
    for name in ("best.safetensors", "last.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    timeless = [[{k: v for k, v in row.items() if "second" not in k} for row in f.history] for f in (whole, resumed)]
    assert timeless[0] == timeless[1]
    with (tmp_path / "cut" / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_preloading_and_workers_change_nothing(parts: tuple[CellDataset, CellDataset]) -> None:
    def train(**options: Any) -> CellClassifier:
        model = net()
        model.preprocess = Preprocess(32, crop=0.7)  # applied once, wherever it is applied
        config = TrainConfig(epochs=2, batch_size=16, augmentation="strong", **options)
        return Trainer(model, config, device="cpu").fit(*parts).model

    expected = train(preload=False)
    assert same_weights(train(preload=True), expected)
    assert same_weights(train(preload=False, workers=2), expected)


@pytest.mark.parametrize("mixing", [{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_mixed_batches_train_and_follow_from_the_seed(
    parts: tuple[CellDataset, CellDataset], mixing: dict[str, float]
) -> None:
    fits = [
        Trainer(net(), TrainConfig(epochs=1, batch_size=16, seed=2, **options), device="cpu").fit(*parts)
        for options in (mixing, mixing, {})
    ]
    assert same_weights(fits[0].model, fits[1].model)
    assert not same_weights(fits[0].model, fits[2].model)


def test_resume_starts_where_there_is_nothing(parts: tuple[CellDataset, CellDataset], tmp_path: Path) -> None:
    fit = Trainer(net(), TrainConfig(epochs=1), out=tmp_path / "new", device="cpu").fit(*parts, resume=True)
    assert len(fit.history) == 1


def test_a_folder_with_another_run_is_refused(parts: tuple[CellDataset, CellDataset], tmp_path: Path) -> None:
    out = tmp_path / "run"
    Trainer(net(), TrainConfig(epochs=1), out=out, device="cpu").fit(*parts)
    with pytest.raises(ConfigError, match="already holds a run; continue it with resume"):
        Trainer(net(), TrainConfig(epochs=1), out=out).fit(*parts)
    with pytest.raises(ConfigError, match=r"epochs was 1, is 2"):
        Trainer(net(), TrainConfig(epochs=2), out=out).fit(*parts, resume=True)
    with pytest.raises(ConfigError, match="train was"):
        Trainer(net(), TrainConfig(epochs=1), out=out).fit(parts[0].subset(range(20)), parts[1], resume=True)


def test_a_folder_with_other_files_is_refused(parts: tuple[CellDataset, CellDataset], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="not empty and holds no run"):
        Trainer(net(), out=tmp_path).fit(*parts)
    with pytest.raises(ConfigError, match="is a file"):
        Trainer(net(), out=tmp_path / "thesis.txt").fit(*parts)


def test_resume_without_a_folder(parts: tuple[CellDataset, CellDataset]) -> None:
    with pytest.raises(ConfigError, match="give the run's folder"):
        Trainer(net()).fit(*parts, resume=True)


def test_early_stopping_counts_epochs_without_a_better_one(parts: tuple[CellDataset, CellDataset]) -> None:
    config = TrainConfig(epochs=30, batch_size=16, lr=1e-9, patience=2, monitor="val_accuracy", warmup_epochs=0)
    fit = Trainer(net(), config, device="cpu").fit(*parts)
    assert len(fit.history) == fit.best_epoch + 2 < 30


def test_frozen_epochs_train_the_head_alone(parts: tuple[CellDataset, CellDataset]) -> None:
    model, before = net(), net()
    Trainer(model, TrainConfig(epochs=1, freeze_epochs=1), device="cpu").fit(*parts)
    after, start = model.backbone.state_dict(), before.backbone.state_dict()
    assert all(torch.equal(after[key], start[key]) for key in start)
    assert any(not torch.equal(a, b) for a, b in zip(model.head.parameters(), before.head.parameters(), strict=True))


def test_a_loss_that_is_not_finite_stops_the_run(parts: tuple[CellDataset, CellDataset]) -> None:
    config = TrainConfig(epochs=1, optimizer="sgd", lr=1e3, warmup_epochs=0, batch_size=4, schedule="constant")

    def infinite(model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return model(images).sum() * float("inf")

    with pytest.raises(ConfigError, match="loss of epoch 1 is not finite"):
        Trainer(net(), config, objective=infinite, device="cpu").fit(*parts)


def test_gradient_accumulation_counts_updates(parts: tuple[CellDataset, CellDataset]) -> None:
    config = TrainConfig(epochs=1, batch_size=8, gradient_accumulation=2, schedule="linear", warmup_epochs=0, lr=1.0)
    fit = Trainer(net(), config, device="cpu").fit(*parts)
    assert fit.history[0]["lr"] == pytest.approx(0.0)


def test_other_choices_run(parts: tuple[CellDataset, CellDataset]) -> None:
    config = TrainConfig(
        epochs=1,
        class_weights="balanced",
        gradient_clip=1.0,
        channels_last=False,
        preload=False,
        augmentation="none",
    )
    assert len(Trainer(net(), config, device="cpu").fit(*parts).history) == 1


def test_parts_in_the_wrong_place(parts: tuple[CellDataset, CellDataset]) -> None:
    train, val, test = load_dataset("synthetic", per_class=6, image_size=32).split((0.4, 0.3, 0.3))
    with pytest.raises(DataError, match="'test' part was given where the 'train' part belongs"):
        Trainer(net()).fit(test, val)
    with pytest.raises(DataError, match="'test' part was given where the 'val' part belongs"):
        Trainer(net()).fit(train, test)
    with pytest.raises(DataError, match="val part is empty"):
        Trainer(net()).fit(train, val.subset([]))


def test_one_image_in_both_parts(synthetic: CellDataset) -> None:
    with pytest.raises(DataError, match="3 images stand in both"):
        Trainer(net()).fit(synthetic.subset(range(10)), synthetic.subset(range(7, 20)))


def test_other_labels(parts: tuple[CellDataset, CellDataset]) -> None:
    model = create_model("cnn", LabelSchema.from_names(["a", "b"]), image_size=32)
    with pytest.raises(LabelError, match="make the model with labels"):
        Trainer(model).fit(*parts)


def test_callbacks_are_told_the_end_even_when_it_fails(parts: tuple[CellDataset, CellDataset]) -> None:
    class Witness(Callback):
        calls: list[Any]

        def __init__(self) -> None:
            self.calls = []

        def on_fit_start(self, epochs: int, steps_per_epoch: int, first_epoch: int) -> None:
            self.calls.append(("start", epochs, steps_per_epoch, first_epoch))

        def on_fit_end(self) -> None:
            self.calls.append("end")

    witness = Witness()
    with pytest.raises(KeyboardInterrupt):
        Trainer(net(), TrainConfig(batch_size=16), callbacks=[witness, Interrupt(0)], device="cpu").fit(*parts)
    assert witness.calls == [("start", 30, 2, 0), "end"]
