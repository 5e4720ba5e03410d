"""Images in, predictions out: reading runs ahead of the model in a few threads, memory holds two batches."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError, LabelError, WeightsError
from cellnet.inference.inputs import KINDS, Source, open_sources
from cellnet.inference.ood import abstain, energy_score
from cellnet.inference.predictions import Predictions
from cellnet.inference.views import cuts, make_views
from cellnet.models.fusion import fuse

if TYPE_CHECKING:
    from cellnet.images import Preprocess
    from cellnet.inference.explanation import Explanation
    from cellnet.models import CellClassifier

FUSED_FROM = 64
"""Images that are worth a fused copy of the model, which costs as much as a few of them."""

MAX_READERS = 8
"""Threads that read images: more only help where the disk, not the model, is slow."""


def predict(
    model: CellClassifier,
    inputs: Any,
    *,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    progress: bool = False,
    features: bool = False,
) -> Predictions:
    """Classify images.

    The model is run in evaluation mode without gradients, and is left as it was found; many images are seen by a
    fused copy of it (`cellnet.models.fuse`), which gives the same logits up to rounding. ``model.calibrator`` turns
    logits into probabilities; ``model.thresholds`` decide where it abstains, and ``model.sets``, where there are
    some, which classes cannot be excluded. Where ``model.tta`` is true, the logits are the mean over seven views of
    each image; features, distance and words are those of the image as it is.

    Args:
        model: The model; its ``preprocess`` is applied to every image.
        inputs: A folder (searched with its subfolders), one image, or any iterable of images: paths, encoded
            bytes, PIL images, arrays (H×W, H×W×3 or 3×H×W), uint8 tensors (3×H×W or B×3×H×W). Or a
            `CellDataset`, whose targets and groups are kept and whose own transform is not applied.
        batch_size: Images at a time.
        device: Where to compute, e.g. ``"cuda"``; default: where the model is.
        progress: Show a progress bar on standard error.
        features: Keep the N×D features of the backbone too.

    Returns:
        One row an input, in input order. An unreadable image is a row with an error; the rest goes on.

    Raises:
        DataError: No images, a missing path, or something that is not an image.
        LabelError: A data set whose classes are not those of the model.
        ConfigError: A batch size below 1, or a device that this machine does not have.
        WeightsError: The model computes values that are not finite.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}, but must be at least 1.")
    if isinstance(inputs, CellDataset) and inputs.labels.hash != model.labels.hash:
        raise LabelError(
            f"The data set has the classes {', '.join(inputs.labels.names)}, the model has "
            f"{', '.join(model.labels.names)}; call dataset.harmonise(model.labels) first."
        )
    sources, total = open_sources(inputs)

    files: list[str] = []
    targets: list[int | None] = []
    errors: list[str | None] = []
    outputs: list[Output] = []
    # What holds its images, or their files, can be read again; to keep those of a stream would fill the memory.
    stream = isinstance(inputs, Iterable) and not isinstance(inputs, (Collection, CellDataset))
    kept: list[Source] | None = None if stream else []
    with (
        evaluation_mode(model),
        _on_device(model, device) as place,
        closing(_read_ahead(sources, cuts(model.preprocess, model.tta), batch_size)) as batches,
        _progress_bar(total, progress) as advance,
    ):
        runner = fuse(model) if (total or 0) >= FUSED_FROM and not model.fused else model
        for batch, images in batches:
            files += [source.name for source in batch]
            if kept is not None:
                kept += batch
            targets += [source.target for source in batch]
            errors += [None if isinstance(image, Tensor) else image for image in images]
            readable = [image for image in images if isinstance(image, Tensor)]
            if readable:
                outputs.append(_run(runner, readable, place, features))
            advance(len(batch))
    if not files:
        raise DataError(f"There is nothing to predict; give {KINDS}.")

    known = np.array([error is None for error in errors])
    labels = [target for target in targets if target is not None]
    logits = _spread([output.logits for output in outputs], known, len(model.labels))
    probabilities = model.calibrator.apply(logits)
    distances = [output.distances for output in outputs if output.distances is not None]
    ood = _spread(distances, known, 1)[:, 0] if model.familiarity else energy_score(logits, model.temperature)
    words = [row for output in outputs for row in output.words]
    return Predictions(
        files,
        model.labels,
        probabilities,
        errors=errors,
        ood=ood,
        abstain=abstain(probabilities, ood, model.thresholds),
        in_set=None if model.sets is None else model.sets.apply(probabilities),
        features=_spread([o.features for o in outputs if o.features is not None], known, 0) if features else None,
        attributes=None if model.attributes is None else _rows(words, known),
        targets=labels if len(labels) == len(files) else None,
        groups=inputs.groups.tolist() if isinstance(inputs, CellDataset) and inputs.groups is not None else None,
        logits=logits,
        explainer=None if kept is None else partial(_explain_row, model, kept),
    )


def _explain_row(model: CellClassifier, sources: Sequence[Source], row: int, **options: Any) -> Explanation:
    from cellnet.inference.explanation import explain

    return explain(model, [sources[row].read()], **options)[0]


def torch_device(name: str | torch.device) -> torch.device:
    """The device called ``name``, e.g. ``"cpu"`` or ``"cuda:1"``.

    Raises:
        ConfigError: There is no such device on this machine.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    # torch built without CUDA raises AssertionError, other missing devices one of the other two.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"The device {str(name)!r} cannot be used ({reason}); give another one, e.g. 'cpu'."
        ) from error
    return device


def best_device(name: str | None = None) -> torch.device:
    """The device called ``name``, or the best there is: of several processes on a machine, a GPU each.

    Raises:
        ConfigError: As `torch_device`.
    """
    if name in (None, "cuda") and torch.cuda.is_available():
        process = int(os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")))
        return torch.device("cuda", process % torch.cuda.device_count())
    return torch_device(name or "cpu")


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within the block; afterwards every module is in the mode it was in."""
    # Flag by flag: with a frozen backbone, parts of a model in training are in evaluation mode.
    switched = [module for module in model.modules() if module.training]
    try:
        for module in switched:
            module.training = False
        yield
    finally:
        for module in switched:
            module.training = True


@contextmanager
def _on_device(model: nn.Module, device: str | torch.device | None) -> Iterator[torch.device]:
    """The model on the device within the block; afterwards where it was.

    Its weights are laid out channels-last, as the batches are: convolutions are fastest so, and a model gives the
    same logits to the last bit before it is saved and after it is loaded.
    """
    home = next(model.parameters()).device
    place = home if device is None else torch_device(device)
    try:
        if not all(map(partial(_lies, place), [*model.parameters(), *model.buffers()])):  # to() walks for long
            model.to(place).to(memory_format=torch.channels_last)
        yield place
    finally:
        if place != home:
            model.to(home)


def _lies(place: torch.device, tensor: Tensor) -> bool:
    """Whether a tensor lies there, and channels-last."""
    flat = tensor.ndim != 4 or tensor.is_contiguous(memory_format=torch.channels_last)
    return tensor.device == place and flat


def _read_ahead(
    sources: Iterator[Source], preprocess: list[Preprocess], batch_size: int
) -> Generator[tuple[list[Source], list[Tensor | str]], None, None]:
    """Batches of sources with their images (or the reason why not), the next batch already being read."""
    pool = ThreadPoolExecutor(min(MAX_READERS, os.cpu_count() or 1), thread_name_prefix="cellnet-read")
    waiting: deque[tuple[list[Source], list[Future[Tensor | str]]]] = deque()
    try:
        while batch := list(islice(sources, batch_size)):
            waiting.append((batch, [pool.submit(_read, source, preprocess) for source in batch]))
            if len(waiting) > 1:
                ready, futures = waiting.popleft()
                yield ready, [future.result() for future in futures]
        for ready, futures in waiting:
            yield ready, [future.result() for future in futures]
    finally:  # also on Ctrl-C: what has not begun is dropped
        pool.shutdown(wait=True, cancel_futures=True)


def _read(source: Source, preprocess: list[Preprocess]) -> Tensor | str:
    try:
        image = source.read()
        return torch.stack([cut(image) for cut in preprocess])
    except DataError as error:
        return str(error)


class Output(NamedTuple):
    """What a batch gives: logits B×C, and features B×D, distances B×1 and words of B rows where they are wanted."""

    logits: Tensor
    features: Tensor | None = None
    distances: Tensor | None = None
    words: Sequence[dict[str, tuple[str, float]]] = ()


@torch.inference_mode()
def _run(model: CellClassifier, images: list[Tensor], device: torch.device, features: bool) -> Output:
    batch, *others = make_views(images, device)
    vectors = model.features(batch) if features or model.probes else None
    logits = model(batch) if vectors is None else model.head(vectors)
    if others:
        logits = torch.stack([logits, *map(model, others)]).mean(0)
    logits = logits.float().cpu()
    if not torch.isfinite(logits).all():
        raise WeightsError(
            "The model computes values that are not finite, so its weights are damaged or its training "
            "diverged; load another checkpoint, or train with a lower learning rate."
        )
    if vectors is None:
        return Output(logits)
    return Output(
        logits,
        vectors.float().cpu() if features else None,
        model.familiarity(vectors, batch).cpu()[:, None] if model.familiarity else None,
        model.attributes.words_for(vectors) if model.attributes else [],
    )


def _rows(
    words: list[dict[str, tuple[str, float]]], known: np.ndarray[Any, np.dtype[np.bool_]]
) -> list[dict[str, tuple[str, float]]]:
    found = iter(words)
    return [next(found) if readable else {} for readable in known]


def _spread(parts: list[Tensor], known: np.ndarray[Any, np.dtype[np.bool_]], width: int) -> np.ndarray[Any, Any]:
    """Rows of the readable inputs at their places among all inputs; NaN elsewhere."""
    rows = torch.cat(parts).numpy() if parts else np.empty((0, width), np.float32)
    spread = np.full((len(known), rows.shape[1]), np.nan, np.float32)
    spread[known] = rows
    return spread


@contextmanager
def _progress_bar(total: int | None, shown: bool) -> Iterator[Callable[[int], None]]:
    """A function that counts images done, in a bar on standard error if it is ``shown``."""
    if not shown:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)
