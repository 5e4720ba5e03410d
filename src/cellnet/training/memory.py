"""Out of memory: which batch would have fitted, and how to train with it as if nothing had happened."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from accelerate import Accelerator
from accelerate.utils import release_memory
from accelerate.utils.memory import should_reduce_batch_size

from cellnet.errors import ConfigError
from cellnet.models import CellClassifier
from cellnet.training.config import TrainConfig
from cellnet.training.objectives import Objective, views_of

SMALLEST_BATCH = 2
"""One image has no variance for batch normalisation."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether a smaller batch would help: the memory of a GPU, or of the computer, ran out."""
    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)


def batch_unit(config: TrainConfig) -> int:
    """What a batch must be a multiple of."""
    return config.images_per_class if config.sampling == "m_per_class" else 1


def fitting_batch_size(compute: Callable[[int], None], batch_size: int, unit: int = 1) -> int | None:
    """The largest of a half, a quarter, an eighth ... of a batch that fits into memory.

    Call it after the ``except`` block that caught the first error: while that is handled, it holds on to all that the
    failed batch had computed.

    Args:
        compute: One forward and backward pass of so many images.
        batch_size: Images of the batch that did not fit.
        unit: What a batch must be a multiple of.

    Returns:
        The number of images, at least 2; None if not even that fits.

    Example:
        >>> def compute(images: int) -> None:
        ...     if images > 10:
        ...         raise torch.OutOfMemoryError("CUDA out of memory.")
        >>> fitting_batch_size(compute, 32)
        8
    """
    size, smallest = batch_size, max(SMALLEST_BATCH, unit)
    while size > smallest:
        size = max(size // 2 // unit * unit, smallest)
        release_memory()
        try:
            compute(size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            release_memory()
            return size
    return None


def training_pass(model: CellClassifier, objective: Objective, accelerator: Accelerator) -> Callable[[int], None]:
    """One forward and backward pass of so many black images, on a copy of the model, which stays as it is.

    The copy and its gradients take about the room that the optimizer's state will take.

    Args:
        model: The model.
        objective: What is minimised.
        accelerator: Device and precision.

    Returns:
        What `fitting_batch_size` takes.
    """

    def compute(images: int) -> None:
        size, device = model.preprocess.image_size, accelerator.device
        batch = torch.zeros(views_of(objective) * images, 3, size, size, dtype=torch.uint8, device=device)
        targets = torch.arange(images, device=device) % len(model.labels)
        net = copy.deepcopy(model).to(device).train()
        with accelerator.autocast():
            loss = objective(net, batch, targets)
        accelerator.backward(loss)

    return compute


def with_batch(config: TrainConfig, batch_size: int) -> TrainConfig:
    """The config with another batch, and as many images a step as before, or slightly more.

    Example:
        >>> with_batch(TrainConfig(batch_size=32, gradient_accumulation=2), 16).gradient_accumulation
        4
    """
    batches = math.ceil(config.gradient_accumulation * config.batch_size / batch_size)
    return replace(config, batch_size=batch_size, gradient_accumulation=batches)


def with_fitting_batch(
    config: TrainConfig, model: CellClassifier, objective: Objective, accelerator: Accelerator
) -> TrainConfig:
    """The config with a batch that fits into the memory of every process.

    Args:
        config: The config; as it is where its batch fits, or cannot be smaller.
        model: The model, which stays as it is.
        objective: What is minimised.
        accelerator: Device, precision and processes.

    Raises:
        ConfigError: Not even a small batch fits.
    """
    unit = batch_unit(config)
    if config.batch_size <= max(SMALLEST_BATCH, unit):
        return config
    # As if twice the batch had not fitted: the first to be tried is the batch itself.
    mine = fitting_batch_size(training_pass(model, objective, accelerator), 2 * config.batch_size, unit)
    fits = int(accelerator.gather(torch.tensor([mine or 0], device=accelerator.device)).min())
    if not fits:
        raise out_of_memory_error(config.batch_size, None, model.preprocess.image_size, unit=unit)
    return with_batch(config, min(fits, config.batch_size))


def out_of_memory_error(
    batch_size: int, fits: int | None, image_size: int, accumulation: int = 1, unit: int = 1
) -> ConfigError:
    """The error for a batch that did not fit, with the options that keep the images a step as they are.

    Args:
        batch_size: Images of the batch.
        fits: What `fitting_batch_size` found.
        image_size: Their side, pixels.
        accumulation: Batches a step so far.
        unit: What a batch must be a multiple of.

    Example:
        >>> "(--batch-size 16 --set gradient_accumulation=2)" in str(out_of_memory_error(32, 16, image_size=224))
        True
    """
    failed = f"Out of memory: a batch of {batch_size} images of {image_size} px does not fit"
    if fits is None:
        smallest = max(SMALLEST_BATCH, unit)
        smaller = f", nor do {smallest}" if batch_size > smallest else ""
        return ConfigError(
            f"{failed}{smaller}. Choose smaller images (--image-size) or a smaller model (--model), or free memory "
            "that other programs hold."
        )
    batches = math.ceil(accumulation * batch_size / fits)
    same = "as many" if fits * batches == accumulation * batch_size else "about as many"
    return ConfigError(
        f"{failed}, {fits} do. For {same} images a step, set batch_size={fits} and gradient_accumulation={batches} "
        f"(--batch-size {fits} --set gradient_accumulation={batches}); fit_batch=True (--set fit_batch=true) does so "
        "by itself."
    )
