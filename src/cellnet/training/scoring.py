"""How well a model does on the validation part, in one process or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from cellnet.evaluation.metrics import accuracy, confusion_matrix, macro_f1


@torch.inference_mode()
def all_logits(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    accelerator: Accelerator,
    shape: tuple[int, int],
    stop: Callable[[], bool] = lambda: False,
) -> Tensor | None:
    """Logits of all images, in their order, in every process.

    Args:
        model: The network, which is left in the mode it was in.
        batches: What this process computes: every P-th image from its own number on, of P processes.
        accelerator: The processes.
        shape: Number of images of all processes together, and number of classes.
        stop: Asked after each batch.

    Returns:
        float32 images × classes on the CPU, or None where ``stop`` said so.
    """
    was_training = model.training
    model.eval()
    outputs = []
    for images, _ in batches:
        with accelerator.autocast():
            outputs.append(model(images.to(accelerator.device, non_blocking=True)).float())
        if stop():
            break
    model.train(was_training)
    if stop():
        return None
    # Each process fills its own rows: the sum over the processes has every image exactly once, and rounds nothing.
    logits = torch.zeros(shape, device=accelerator.device)
    if outputs:
        logits[accelerator.process_index :: accelerator.num_processes] = torch.cat(outputs)
    return accelerator.reduce(logits).cpu()  # type: ignore[no-any-return]


def scores(logits: Tensor, targets: NDArray[np.int64]) -> dict[str, float]:
    """Loss, accuracy and macro F1 of logits N×C against N labels."""
    confusion = confusion_matrix(targets, logits.argmax(1).numpy(), logits.shape[1])
    return {
        "val_loss": float(F.cross_entropy(logits, torch.from_numpy(targets))),
        "val_accuracy": float(accuracy(confusion)),
        "val_macro_f1": float(np.asarray(macro_f1(confusion))),
    }
