"""A run that was interrupted, wherever and however, ends in the bits of one that was not."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import ConfigError
from cellnet.models import CellClassifier, create_model
from cellnet.training import Callback, Fit, Interrupted, TrainConfig, Trainer, loop, trainer
from cellnet.training.checkpoint import load_state
from cellnet.training.loading import TrainingOrder

CONFIG = TrainConfig(
    epochs=3,
    batch_size=8,
    ema=0.9,
    augmentation="strong",
    mixup=0.2,
    freeze_epochs=1,
    start_size=16,
    layer_decay=0.8,
    norm_batches=2,
    checkpoint_minutes=0,
)
STEPS = 4  # an epoch: 32 images


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture(scope="module")
def parts() -> tuple[CellDataset, CellDataset]:
    return load_dataset("synthetic", per_class=8, image_size=24, seed=1).folds(2)[0]


def net() -> CellClassifier:
    torch.manual_seed(7)
    return create_model("cnn", image_size=24)  # with dropout in its head


def train(
    parts: tuple[CellDataset, CellDataset], out: Path, *callbacks: Callback, resume: bool = True, **options: Any
) -> Fit:
    config = TrainConfig.from_dict(CONFIG.to_dict() | options)
    return Trainer(net(), config, out=out, callbacks=callbacks, device="cpu").fit(*parts, resume=resume)


def timeless(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in history]


def assert_same_run(fit: Fit, whole: Fit) -> None:
    assert fit.out is not None
    assert whole.out is not None
    for name in ("best.safetensors", "last.safetensors"):
        assert (fit.out / name).read_bytes() == (whole.out / name).read_bytes()
    weights = zip(fit.model.state_dict().values(), whole.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    assert timeless(fit.history) == timeless(whole.history)
    assert fit.best_epoch == whole.best_epoch
    with (fit.out / "history.csv").open() as file:
        assert [float(row["train_loss"]) for row in csv.DictReader(file)] == [r["train_loss"] for r in fit.history]
    assert not list(fit.out.glob("*new*"))


@pytest.fixture(scope="module")
def whole(parts: tuple[CellDataset, CellDataset], tmp_path_factory: pytest.TempPathFactory) -> Fit:
    return train(parts, tmp_path_factory.mktemp("whole") / "run", resume=False)


class AtStep(Callback):
    """Does something after a number of steps."""

    def __init__(self, step: int, action: Any) -> None:
        self.left = step
        self.action = action

    def on_step(self, epoch: int, images: int) -> None:
        self.left -= 1
        if self.left == 0:
            self.action()


def kill() -> None:
    raise Killed


def test_a_run_killed_at_any_step_ends_in_the_same_bits(
    parts: tuple[CellDataset, CellDataset], whole: Fit, tmp_path: Path
) -> None:
    fit, kills = None, 0
    while fit is None:  # each start gets one or two steps further
        try:
            fit = train(parts, tmp_path / "run", AtStep(2 + kills % 2, kill))
        except Killed:
            kills += 1
    assert kills > STEPS
    assert_same_run(fit, whole)


def test_images_on_the_device_are_drawn_as_if_nothing_had_happened(
    parts: tuple[CellDataset, CellDataset], tmp_path: Path
) -> None:
    whole = train(parts, tmp_path / "whole", on_device=True)
    with pytest.raises(Killed):
        train(parts, tmp_path / "run", AtStep(STEPS + 2, kill), on_device=True)
    assert_same_run(train(parts, tmp_path / "run", on_device=True), whole)


@pytest.mark.slow
def test_a_run_killed_between_any_two_file_operations_ends_in_the_same_bits(
    parts: tuple[CellDataset, CellDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, operations, fatal = Path.replace, 0, -1
    short = {"epochs": 2, "batch_size": 32}

    def count(path: Path, target: Path) -> Path:
        nonlocal operations
        operations += 1
        if operations == fatal:
            raise Killed
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", count)
    whole = train(parts, tmp_path / "counted", **short)
    total = operations
    assert total > 15
    for fatal in range(1, total + 1):
        operations, out = 0, tmp_path / str(fatal)
        with pytest.raises(Killed):
            train(parts, out, **short)
        operations = -total
        assert_same_run(train(parts, out, **short), whole)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_saves_after_the_step(
    parts: tuple[CellDataset, CellDataset], whole: Fit, tmp_path: Path, name: str, code: int
) -> None:
    number = signal.Signals[name]
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=rf"by {name} after step 2 of 4 of epoch 2; .*--resume") as caught:
        # Saves only because of the signal.
        train(
            parts,
            tmp_path / "run",
            AtStep(STEPS + 2, lambda: os.kill(os.getpid(), number)),
            resume=False,
            checkpoint_minutes=1e6,
        )
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before
    witness = Witness()
    assert_same_run(train(parts, tmp_path / "run", witness), whole)
    assert witness.first_step == STEPS + 2


class Witness(Callback):
    first_step = -1

    def on_fit_start(self, epochs: int, steps_per_epoch: int, first_step: int) -> None:
        self.first_step = first_step


@pytest.mark.parametrize("options", [{}, {"on_device": True}, {"on_device": True, "gradient_accumulation": 4}])
def test_a_signal_during_validation_saves_before_it(
    parts: tuple[CellDataset, CellDataset],
    whole: Fit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
) -> None:
    validate = loop.all_logits

    def interrupted(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return validate(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "all_logits", interrupted)
        with pytest.raises(Interrupted, match=r"after step (\d) of \1 of epoch 1"):
            train(parts, tmp_path / "run", resume=False, checkpoint_minutes=1e6, **options)
    expected = train(parts, tmp_path / "whole", **options) if options else whole
    assert_same_run(train(parts, tmp_path / "run", **options), expected)


def test_without_a_folder_signals_have_their_usual_effect(parts: tuple[CellDataset, CellDataset]) -> None:
    stop = AtStep(1, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as caught:
        Trainer(net(), CONFIG, callbacks=[stop], device="cpu").fit(*parts)
    assert not isinstance(caught.value, Interrupted)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    parts: tuple[CellDataset, CellDataset], whole: Fit, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        train(parts, tmp_path / "run", AtStep(STEPS + 3, kill))
    path = tmp_path / "run" / "checkpoint.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    witness = Witness()
    with pytest.warns(UserWarning, match=r"checkpoint.safetensors is damaged.* continues from the checkpoint before"):
        fit = train(parts, tmp_path / "run", witness)
    assert witness.first_step == STEPS + 1
    assert_same_run(fit, whole)


def test_a_finished_run_is_given_back(parts: tuple[CellDataset, CellDataset], whole: Fit, tmp_path: Path) -> None:
    train(parts, tmp_path / "run")
    for name in ("last.safetensors", "history.csv"):  # as if killed just before the end
        (tmp_path / "run" / name).unlink()
    assert_same_run(train(parts, tmp_path / "run"), whole)
    sessions = json.loads((tmp_path / "run" / "run.json").read_text())["sessions"]
    assert len(sessions) == 2


def test_accumulation_and_sgd_resume_too(parts: tuple[CellDataset, CellDataset], tmp_path: Path) -> None:
    options = {"optimizer": "sgd", "gradient_accumulation": 3, "ema": None, "cutmix": 1.0, "epochs": 2}
    whole = train(parts, tmp_path / "whole", **options)
    with pytest.raises(Killed):
        train(parts, tmp_path / "cut", AtStep(2, kill), **options)
    assert_same_run(train(parts, tmp_path / "cut", **options), whole)


def test_scaled_gradients_resume_too(
    parts: tuple[CellDataset, CellDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As fp16 on a GPU, with a scaler for the CPU that finds the first gradients too large."""
    create = trainer.create_accelerator

    def scaled(*arguments: Any) -> Any:
        accelerator = create(*arguments)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=3)
        return accelerator

    monkeypatch.setattr(trainer, "create_accelerator", scaled)
    whole = train(parts, tmp_path / "whole", gradient_clip=1.0)
    with pytest.raises(Killed):
        train(parts, tmp_path / "cut", AtStep(STEPS + 2, kill), gradient_clip=1.0)
    assert_same_run(train(parts, tmp_path / "cut", gradient_clip=1.0), whole)
    scalers = [load_state(tmp_path / name / "checkpoint.safetensors")["scaler"] for name in ("whole", "cut")]
    assert scalers[0] == scalers[1]
    assert scalers[0]["scale"] <= 2.0**127


def test_time_between_checkpoints_and_workers_change_nothing(
    parts: tuple[CellDataset, CellDataset], whole: Fit, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        train(parts, tmp_path / "run", AtStep(STEPS + 3, kill), preload=False, workers=1)
    assert_same_run(train(parts, tmp_path / "run", checkpoint_minutes=5.0), whole)


def test_a_killed_worker_ends_the_run_which_then_continues(
    parts: tuple[CellDataset, CellDataset], whole: Fit, tmp_path: Path
) -> None:
    def kill_workers() -> None:
        for worker in multiprocessing.active_children():
            os.kill(worker.pid or 0, signal.SIGKILL)

    with pytest.raises(ConfigError, match=r"loads images ended unexpectedly.*fewer workers.*--resume"):
        train(parts, tmp_path / "run", AtStep(STEPS + 1, kill_workers), preload=False, workers=1)
    assert_same_run(train(parts, tmp_path / "run"), whole)


def test_seconds_are_summed(parts: tuple[CellDataset, CellDataset], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(parts, tmp_path / "run", AtStep(3, kill))
    before = load_state(tmp_path / "run" / "checkpoint.safetensors")["progress"]["seconds"]
    assert before > 0
    assert train(parts, tmp_path / "run").history[0]["seconds"] > before


@pytest.mark.parametrize(("name", "after"), [("checkpoint", STEPS + 1), ("best", STEPS)])
def test_a_full_disk_leaves_the_old_checkpoint_whole(
    parts: tuple[CellDataset, CellDataset],
    whole: Fit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    after: int,
) -> None:
    write, files = Path.write_bytes, 0

    def fill(path: Path, data: bytes) -> int:
        nonlocal files
        files += name in path.name
        if files <= {"checkpoint": after + 1, "best": 0}[name]:  # one more: an epoch's end saves once more
            return write(path, data)
        write(path, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(ConfigError, match=rf"Cannot write .*{name}.*No space left on device; free some space"):
        train(parts, tmp_path / "run")
    monkeypatch.undo()
    witness = Witness()
    assert_same_run(train(parts, tmp_path / "run", witness), whole)
    assert witness.first_step == after


@pytest.mark.parametrize("step", [1, STEPS + 2])
def test_a_loss_that_is_not_finite_names_the_images_and_keeps_the_checkpoint(
    parts: tuple[CellDataset, CellDataset], tmp_path: Path, step: int
) -> None:
    def objective(model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return model(images).square().mean() * (float("nan") if calls == step else 1.0)

    calls, out = 0, tmp_path / "run"
    order = TrainingOrder(32, seed=0, batch_size=8)
    names = [parts[0].files[i] for i in order.batch((step - 1) // STEPS, (step - 1) % STEPS, 0)]
    with pytest.raises(ConfigError, match="is not finite") as caught:
        Trainer(net(), CONFIG, out=out, objective=objective, device="cpu").fit(*parts)
    assert f"loss of epoch {1 + step // STEPS}" in str(caught.value)
    assert ", ".join(names) in str(caught.value)
    if step > 1:
        state = load_state(out / "checkpoint.safetensors")
        assert (state["progress"]["epoch"], state["progress"]["step"]) == (1, 1)
        assert all(weight.isfinite().all() for weight in state["model"].values())
        assert (out / "best.safetensors").exists()


def test_a_loss_that_is_looked_at_later_names_its_own_batch(
    parts: tuple[CellDataset, CellDataset], tmp_path: Path
) -> None:
    """The losses are read a few at a time, and batches are more than steps."""

    def objective(model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return model(images).square().mean() * (float("nan") if calls == 2 * STEPS + 2 else 1.0)

    calls, out = 0, tmp_path / "run"
    config = TrainConfig(epochs=3, batch_size=4, gradient_accumulation=2, checkpoint_minutes=1e6)
    names = [parts[0].files[i] for i in TrainingOrder(32, seed=0, batch_size=4).batch(1, 1, 0)]
    with pytest.raises(ConfigError, match="loss of epoch 2, batch 2, is not finite") as caught:
        Trainer(net(), config, out=out, objective=objective, device="cpu").fit(*parts)
    assert f"on the images {', '.join(names)}. Lower" in str(caught.value)
    assert f"The checkpoint in {out} is from before." in str(caught.value)
    state = load_state(out / "checkpoint.safetensors")
    assert (state["progress"]["epoch"], state["progress"]["step"]) == (1, 0)
    assert all(weight.isfinite().all() for weight in state["model"].values())
