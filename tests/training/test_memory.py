"""Which batch fits when memory runs out, and what the error says."""

from __future__ import annotations

import copy
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import ConfigError
from cellnet.models import CellClassifier, create_model
from cellnet.training import TrainConfig, Trainer
from cellnet.training.memory import (
    fitting_batch_size,
    is_out_of_memory,
    out_of_memory_error,
    training_pass,
    with_batch,
)
from cellnet.training.objectives import Classification
from cellnet.training.processes import create_accelerator

GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ...")
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you ...")


class Device:
    """Holds so many images, and notes what it was asked for."""

    def __init__(self, holds: int, error: RuntimeError = GPU) -> None:
        self.holds, self.error = holds, error
        self.sizes: list[int] = []

    def compute(self, images: int) -> None:
        self.sizes.append(images)
        if images > self.holds:
            raise self.error


@pytest.mark.parametrize("error", [GPU, CPU])
@pytest.mark.parametrize(
    ("batch_size", "holds", "fits", "sizes"),
    [
        (32, 20, 16, [16]),
        (32, 7, 4, [16, 8, 4]),
        (33, 5, 4, [16, 8, 4]),
        (32, 1, None, [16, 8, 4, 2]),
        (12, 2, 2, [6, 3, 2]),
        (3, 2, 2, [2]),
        (2, 1, None, []),
    ],
)
def test_batches_are_halved_until_one_fits(
    batch_size: int, holds: int, fits: int | None, sizes: list[int], error: RuntimeError
) -> None:
    device = Device(holds, error)
    assert fitting_batch_size(device.compute, batch_size) == fits
    assert device.sizes == sizes


@pytest.mark.parametrize(
    ("batch_size", "holds", "fits", "sizes"),
    [(24, 13, 12, [12]), (24, 11, 4, [12, 4]), (24, 3, None, [12, 4]), (4, 3, None, [])],
)
def test_batches_of_so_many_a_class_stay_such(batch_size: int, holds: int, fits: int | None, sizes: list[int]) -> None:
    device = Device(holds)
    assert fitting_batch_size(device.compute, batch_size, 4) == fits
    assert device.sizes == sizes


def test_what_torch_raises_is_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)  # more than any computer has
    assert is_out_of_memory(caught.value)


def test_another_error_passes() -> None:
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not is_out_of_memory(error)
    with pytest.raises(RuntimeError, match="shapes"):
        fitting_batch_size(Device(3, error).compute, 32)


def test_a_failed_batch_is_freed_before_the_next() -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    def compute(images: int) -> None:
        assert not any(reference() is not None for reference in alive)
        activations = torch.zeros(images)
        alive.append(weakref.ref(activations))
        if images > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    assert fitting_batch_size(compute, 32) == 4
    assert len(alive) == 3


@pytest.mark.parametrize(
    ("batch_size", "fits", "accumulation", "words"),
    [
        (32, 16, 1, r"as many images a step, set batch_size=16 and gradient_accumulation=2 \("),
        (32, 8, 3, r"as many images a step, set batch_size=8 and gradient_accumulation=12 \("),
        (33, 16, 1, r"about as many images a step, set batch_size=16 and gradient_accumulation=3 \("),
    ],
)
def test_the_error_names_the_batch_that_fits(batch_size: int, fits: int, accumulation: int, words: str) -> None:
    error = out_of_memory_error(batch_size, fits, 224, accumulation)
    with pytest.raises(
        ConfigError, match=rf"a batch of {batch_size} images of 224 px does not fit, {fits} do.*{words}"
    ):
        raise error


@pytest.mark.parametrize(("batch_size", "words"), [(32, "fit, nor do 2. Choose"), (2, "fit. Choose")])
def test_the_error_where_nothing_fits(batch_size: int, words: str) -> None:
    message = str(out_of_memory_error(batch_size, None, 512))
    assert message.startswith(
        f"Out of memory: a batch of {batch_size} images of 512 px does not {words} smaller images"
    )


class SmallDevice(Classification):
    """The usual objective on a device that holds so many images."""

    def __init__(self, holds: int) -> None:
        super().__init__()
        self.holds = holds

    def __call__(self, model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if len(images) > self.holds:
            raise GPU
        return super().__call__(model, images, targets)


@pytest.fixture(scope="module")
def parts() -> tuple[CellDataset, CellDataset]:
    return load_dataset("synthetic", per_class=4, image_size=16, seed=1).folds(2)[0]


def net() -> CellClassifier:
    torch.manual_seed(0)
    return create_model("cnn", image_size=16)


def test_a_training_that_runs_out_of_memory_names_the_batch_that_fits(
    parts: tuple[CellDataset, CellDataset], tmp_path: Path
) -> None:
    config = TrainConfig(epochs=1, batch_size=16, gradient_accumulation=2)
    trainer = Trainer(net(), config, out=tmp_path / "run", objective=SmallDevice(5), device="cpu")
    with pytest.raises(ConfigError, match=r"a batch of 16 images of 16 px does not fit, 4 do.*accumulation=8"):
        trainer.fit(*parts)


def test_a_batch_that_does_not_fit_is_halved_when_asked_and_stays_so(
    parts: tuple[CellDataset, CellDataset], tmp_path: Path
) -> None:
    config = TrainConfig(epochs=2, batch_size=16, fit_batch=True)

    def train(holds: int, resume: bool) -> Trainer:
        trainer = Trainer(net(), config, out=tmp_path / "run", objective=SmallDevice(holds), device="cpu")
        trainer.fit(*parts, resume=resume)
        return trainer

    first = train(5, resume=False)
    assert (first.config.batch_size, first.config.gradient_accumulation) == (4, 4)
    again = train(100, resume=True)  # on a larger device, the run goes on as it began
    assert again.config == first.config
    plain = Trainer(net(), TrainConfig(epochs=2, batch_size=4, gradient_accumulation=4), device="cpu").fit(*parts)
    for a, b in zip(first.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_batch_that_cannot_be_smaller_is_not_tried(parts: tuple[CellDataset, CellDataset]) -> None:
    torch.manual_seed(0)
    model = create_model("cnn", image_size=32)  # whose last maps are larger than one pixel
    config = TrainConfig(epochs=1, batch_size=1, fit_batch=True)
    assert Trainer(model, config, device="cpu").fit(*parts).best_epoch == 1
    trainer = Trainer(net(), replace(config, batch_size=2), objective=SmallDevice(1), device="cpu")
    with pytest.raises(ConfigError, match=r"a batch of 2 images of 16 px does not fit\. Choose"):
        trainer.fit(*parts)


def test_halved_batches_hold_so_many_of_a_class(parts: tuple[CellDataset, CellDataset]) -> None:
    config = TrainConfig(epochs=1, batch_size=12, sampling="m_per_class", images_per_class=4, fit_batch=True)
    trainer = Trainer(net(), config, objective=SmallDevice(7), device="cpu")
    trainer.fit(*parts)
    assert (trainer.config.batch_size, trainer.config.gradient_accumulation) == (4, 3)
    with pytest.raises(ConfigError, match="a batch of 12 images of 16 px does not fit, nor do 4"):
        Trainer(net(), config, objective=SmallDevice(3), device="cpu").fit(*parts)
    with pytest.raises(ConfigError, match="does not fit, 4 do"):
        Trainer(net(), replace(config, fit_batch=False), objective=SmallDevice(7), device="cpu").fit(*parts)


def test_where_no_batch_fits_nothing_is_begun(parts: tuple[CellDataset, CellDataset], tmp_path: Path) -> None:
    config = TrainConfig(epochs=1, batch_size=8, fit_batch=True)
    with pytest.raises(ConfigError, match=r"nor do 2. Choose smaller images"):
        Trainer(net(), config, out=tmp_path / "run", objective=SmallDevice(1), device="cpu").fit(*parts)
    assert not (tmp_path / "run").exists()


def test_trying_a_batch_leaves_the_model_as_it_is() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    training_pass(model, Classification(), create_accelerator(TrainConfig(), "cpu"))(4)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("size", "wanted"), [(16, (16, 2)), (5, (5, 7)), (32, (32, 1))])
def test_another_batch_keeps_the_images_a_step(size: int, wanted: tuple[int, int]) -> None:
    config = with_batch(TrainConfig(batch_size=32), size)
    assert (config.batch_size, config.gradient_accumulation) == wanted
