"""The training loop: it learns, resumes bit for bit, and refuses what would make a result worthless."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cellnet.cards import WeightsCard
from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import ConfigError, DataError
from cellnet.hub import load_pretrained
from cellnet.images import Preprocess
from cellnet.inference import fit_familiarity
from cellnet.models import CellClassifier, create_model
from cellnet.training import Callback, Classification, TrainConfig, Trainer, processes


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


def test_a_trained_model_keeps_nothing_of_the_one_before(
    parts: tuple[CellDataset, CellDataset], tmp_path: Path
) -> None:
    train, val = parts
    model = net()
    model.calibrate(val, coverage=0.5)
    fit_familiarity(model, train, val, device="cpu")
    card = WeightsCard("old", training_data="old images", metrics={"accuracy": {"value": 1, "low": 1, "high": 1}})
    model = load_pretrained(model.save(tmp_path / "old", card=card))
    assert model.self_test()
    model.nucleus_share = 0.2
    refused = Trainer(model, TrainConfig(epochs=1), device="cpu")
    with pytest.raises(DataError, match="part is empty"):
        refused.fit(train.subset([]), val)
    assert model.weights_card == card
    fit = Trainer(model, TrainConfig(epochs=1, batch_size=16), device="cpu").fit(train, val)
    assert (fit.model.risk_control, fit.model.sets, fit.model.familiarity) == (None, None, None)
    assert (fit.model.temperature, fit.model.thresholds, fit.model.nucleus_share) == (1, {}, None)
    assert (fit.model.weights_card, fit.model.golden, fit.model.origins) == (None, None, (card,))
    saved = load_pretrained(fit.model.save(tmp_path / "new"))
    assert saved.self_test()
    assert saved.weights_card == WeightsCard("new")


def test_a_device_that_would_not_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("banana", "meta", "cpu:0"):
        with pytest.raises(ConfigError, match=f"device '{name}'"):
            Trainer(net(), device=name)
    monkeypatch.setattr(processes, "torch_device", torch.device)  # as if there were GPUs
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    assert Trainer(net(), device="cuda").device == "cuda"
    with pytest.raises(ConfigError, match=r"'cuda:7'; give 'cpu' or 'cuda', and choose .*CUDA_VISIBLE_DEVICES=1"):
        Trainer(net(), device="cuda:7")


def test_early_stopping_counts_epochs_without_a_better_one(parts: tuple[CellDataset, CellDataset]) -> None:
    config = TrainConfig(epochs=30, batch_size=16, lr=1e-9, patience=2, monitor="val_accuracy", warmup_epochs=0)
    fit = Trainer(net(), config, device="cpu").fit(*parts)
    assert len(fit.history) == fit.best_epoch + 2 < 30


@pytest.mark.parametrize("options", [{}, {"norm_batches": 1}, {"norm_batches": 1, "ema": 0.9}])
def test_frozen_epochs_train_the_head_alone(parts: tuple[CellDataset, CellDataset], options: dict[str, float]) -> None:
    model, before = net(), net()
    Trainer(model, TrainConfig(epochs=1, freeze_epochs=1, **options), device="cpu").fit(*parts)  # type: ignore[arg-type]
    after, start = model.backbone.state_dict(), before.backbone.state_dict()
    assert all(torch.equal(after[key], start[key]) for key in start)
    assert any(not torch.equal(a, b) for a, b in zip(model.head.parameters(), before.head.parameters(), strict=True))


def test_a_loss_that_is_not_finite_stops_the_run(parts: tuple[CellDataset, CellDataset]) -> None:
    def infinite(model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return model(images).sum() * float("inf")

    config = TrainConfig(epochs=1, batch_size=4, lr=0.5)
    message = r"loss of epoch 1, batch 1, is not finite on the images .*ower the learning rate \(lr=0\.5\)"
    with pytest.raises(ConfigError, match=message):
        Trainer(net(), config, objective=infinite, device="cpu").fit(*parts)


def test_weights_that_are_not_finite_are_never_saved(parts: tuple[CellDataset, CellDataset], tmp_path: Path) -> None:
    class Poison(Callback):
        def on_step(self, epoch: int, images: int) -> None:
            with torch.no_grad():
                next(model.parameters()).fill_(float("nan"))

    model = net()
    trainer = Trainer(
        model,
        TrainConfig(epochs=1, batch_size=16, checkpoint_minutes=0),
        out=tmp_path / "run",
        callbacks=[Poison()],
        device="cpu",
    )
    with pytest.raises(ConfigError, match="model after step 1 of epoch 1 is not finite"):
        trainer.fit(*parts)
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_a_validation_loss_that_is_not_finite_stops_the_run(parts: tuple[CellDataset, CellDataset]) -> None:
    def huge(model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -model(images).square().sum()

    config = TrainConfig(epochs=1, optimizer="sgd", lr=1e3, momentum=0.0, warmup_epochs=0, batch_size=32)
    with pytest.raises(ConfigError, match=r"(validation loss|loss) of epoch 1.* is not finite"):
        Trainer(net(), config, objective=huge, device="cpu").fit(*parts)


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


@pytest.mark.parametrize("frozen", [(), ("head",), ("backbone",)])
def test_frozen_epochs_give_the_model_back_as_it_was(
    parts: tuple[CellDataset, CellDataset], frozen: tuple[str, ...]
) -> None:
    model = net()
    model.freeze(*frozen)
    before = [weight.requires_grad for weight in model.parameters()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Trainer(model, TrainConfig(epochs=1, freeze_epochs=1 if frozen != ("head",) else 0), device="cpu").fit(*parts)
    assert torch.equal(torch.rand(3), expected)  # the global generator too
    assert model.frozen == frozen
    assert [weight.requires_grad for weight in model.parameters()] == before
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_given_back_as_it_was(parts: tuple[CellDataset, CellDataset], fails: bool) -> None:
    """Not wrapped in mixed precision, also after an error."""

    class Fails(Callback):
        def on_step(self, epoch: int, images: int) -> None:
            if fails:
                raise ValueError("a flaw")

    model = net()
    trainer = Trainer(model, TrainConfig(epochs=1, precision="bf16"), callbacks=[Fails()], device="cpu")
    with pytest.raises(ValueError, match="a flaw") if fails else nullcontext():
        trainer.fit(*parts)
    assert "forward" not in vars(model)
    assert model.eval()(torch.zeros(1, 3, 32, 32)).dtype == torch.float32


class Witness(Callback):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def on_fit_start(self, epochs: int, steps_per_epoch: int, first_step: int) -> None:
        self.calls.append(("start", epochs, steps_per_epoch, first_step))

    def on_step(self, epoch: int, images: int) -> None:
        self.calls.append(("step", epoch, images))

    def on_epoch_end(self, row: dict[str, Any], history: list[dict[str, Any]], improved: bool) -> None:
        self.calls.append(("epoch", row["epoch"], len(history), improved))

    def on_fit_end(self) -> None:
        self.calls.append("end")


def test_a_model_with_nothing_to_train_is_refused(parts: tuple[CellDataset, CellDataset], tmp_path: Path) -> None:
    model = net()
    for trainer in (
        Trainer(net().requires_grad_(False), out=tmp_path / "run", device="cpu"),
        Trainer(model, out=tmp_path / "run", distill=model, device="cpu"),
    ):
        with pytest.raises(ConfigError, match=r"No weight of the model can be trained.*another model"):
            trainer.fit(*parts)
    assert not (tmp_path / "run").exists()


def test_callbacks_are_told_of_everything(parts: tuple[CellDataset, CellDataset]) -> None:
    witness = Witness()
    config = TrainConfig(epochs=1, batch_size=6, gradient_accumulation=2)
    Trainer(net(), config, callbacks=[witness], device="cpu").fit(*parts)
    steps = [("step", 0, 12), ("step", 0, 12), ("step", 0, 6)]
    assert witness.calls == [("start", 1, 3, 0), *steps, ("epoch", 1, 1, True), "end"]


def test_callbacks_are_told_the_end_even_when_it_fails(parts: tuple[CellDataset, CellDataset]) -> None:
    class Fails(Callback):
        def on_step(self, epoch: int, images: int) -> None:
            raise ValueError("a flaw")

    witness = Witness()
    with pytest.raises(ValueError, match="a flaw"):
        Trainer(net(), TrainConfig(batch_size=16), callbacks=[witness, Fails()], device="cpu").fit(*parts)
    assert witness.calls == [("start", 30, 2, 0), ("step", 0, 16), "end"]


def test_accumulated_batches_train_as_one_large_batch(parts: tuple[CellDataset, CellDataset]) -> None:
    """Without batch normalisation and dropout the gradients are those of the whole batch."""

    def train(**options: Any) -> list[dict[str, Any]]:
        model = net()
        model.backbone.eval()
        model.freeze_backbone()
        model.head.classify[0].p = 0.0
        config = TrainConfig(epochs=2, optimizer="sgd", lr=0.1, **options)
        return Trainer(model, config, device="cpu").fit(*parts).history

    whole, parted = train(batch_size=16), train(batch_size=4, gradient_accumulation=4)
    for key in ("train_loss", "val_loss", "lr"):
        assert [row[key] for row in whole] == pytest.approx([row[key] for row in parted], abs=1e-5)


def test_a_batch_without_variance_is_refused(parts: tuple[CellDataset, CellDataset]) -> None:
    torch.manual_seed(0)
    model = create_model("cnn", image_size=16)  # whose last maps are 1×1
    with pytest.raises(ConfigError, match="A batch of 1 gives batch normalisation one value"):
        Trainer(model, TrainConfig(epochs=1, batch_size=1), device="cpu").fit(*parts)


def test_a_batch_larger_than_the_set_is_one_step_over_all_of_it(parts: tuple[CellDataset, CellDataset]) -> None:
    witness = Witness()
    Trainer(net(), TrainConfig(epochs=2, batch_size=1000), callbacks=[witness], device="cpu").fit(*parts)
    assert [call for call in witness.calls if call[0] == "step"] == [("step", 0, 32), ("step", 1, 32)]


def test_parts_that_cannot_be_used_are_refused_before_anything_is_written(
    parts: tuple[CellDataset, CellDataset], tmp_path: Path
) -> None:
    train, val = parts
    trainer = Trainer(net(), TrainConfig(epochs=1), out=tmp_path / "run", device="cpu")
    with pytest.raises(DataError, match=r"The val part is empty; give it images, e\.g\. dataset\.split"):
        trainer.fit(train, val.subset([]))
    with pytest.raises(DataError, match="images of 'basophil' only"):
        trainer.fit(train.subset(train.targets == 0), val)
    assert not list(tmp_path.iterdir())


def test_a_class_without_a_training_image_is_named_and_the_others_are_learned(
    parts: tuple[CellDataset, CellDataset],
) -> None:
    train, val = parts
    some = train.subset(train.targets != 1)
    with pytest.warns(UserWarning, match="no image of eosinophil: the model will not learn to name this class"):
        fit = Trainer(net(), TrainConfig(epochs=1, batch_size=16), device="cpu").fit(some, val)
    assert fit.model.predict(val).probabilities.shape[1] == len(train.labels)
    with (
        pytest.warns(UserWarning, match="no image of eosinophil"),
        pytest.raises(ConfigError, match="need every class in the training part"),
    ):
        Trainer(net(), TrainConfig(epochs=1, class_weights="balanced"), device="cpu").fit(some, val)


def test_a_run_goes_on_with_the_same_loss_frozen_parts_and_start_alone(
    parts: tuple[CellDataset, CellDataset], tmp_path: Path
) -> None:
    def train(objective: Classification, frozen: bool = False, start: str = "ImageNet", resume: bool = True) -> None:
        model = net()
        if frozen:
            model.freeze_backbone()
        config = TrainConfig(epochs=1, batch_size=16)
        trainer = Trainer(
            model, config, out=tmp_path / "run", objective=objective, device="cpu", starting_weights=start
        )
        trainer.fit(*parts, resume=resume)

    train(Classification(0.1), resume=False)
    with pytest.raises(ConfigError, match=r"objective_options was .*smoothing=0.1, .* is .*smoothing=0.9, .*gamma=3\)"):
        train(Classification(0.9, focal_gamma=3))
    with pytest.raises(ConfigError, match=r"frozen was \[\], is \['backbone'\]"):
        train(Classification(0.1), frozen=True)
    with pytest.raises(ConfigError, match=r"starting_weights was 'ImageNet', is 'another set'"):
        train(Classification(0.1), start="another set")
    path = tmp_path / "run" / "run.json"
    run = json.loads(path.read_text())
    for key in ("objective_options", "frozen", "starting_weights"):  # as an earlier version left it
        del run["identity"][key]
    path.write_text(json.dumps(run))
    train(Classification(0.1), start="the same, in other words")


def test_facts_of_the_caller_stand_in_run_json(parts: tuple[CellDataset, CellDataset], tmp_path: Path) -> None:
    facts = {"split_hash": "0123456789abcdef"}
    Trainer(net(), TrainConfig(epochs=1), out=tmp_path / "run", device="cpu", facts=facts).fit(*parts)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["sessions"][0]["split_hash"] == "0123456789abcdef"
    assert "versions" in run["sessions"][0]
