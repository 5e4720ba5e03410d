"""Whatever a user hands to `predict`, as one stream of named images that are read only when needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from cellnet.datasets import CellDataset
from cellnet.errors import DataError, ImageError
from cellnet.images import decode, list_images, to_uint8_rgb

KINDS = "a folder, image files, PIL images, arrays, uint8 tensors or a CellDataset"

_PIL_LOCK = Lock()


@dataclass(frozen=True)
class Source:
    """One image to come.

    Args:
        name: File name, or ``image_0000`` and so on for images from memory.
        read: Gives the image as uint8 3×H×W, or raises `ImageError`. Called from another thread.
        target: Label, where it is known.
    """

    name: str
    read: Callable[[], Tensor]
    target: int | None = None


def open_sources(inputs: Any) -> tuple[Iterator[Source], int | None]:
    """The images in ``inputs``, in order, and how many there are where that is known beforehand.

    Raises:
        DataError: Not a kind of input that can be predicted, a path that does not exist, or a folder without
            images. A file *within* a list that does not exist is only found when it is read.
    """
    if isinstance(inputs, CellDataset):
        return _from_dataset(inputs), len(inputs)
    if isinstance(inputs, (str, os.PathLike)):
        files = _files(Path(inputs))
        return (_from_file(file) for file in files), len(files)
    if isinstance(inputs, (Image.Image, bytes)):
        return _from_items([inputs]), 1
    if isinstance(inputs, (np.ndarray, Tensor)):
        return _from_items([inputs]), len(inputs) if inputs.ndim == 4 else 1
    if isinstance(inputs, Iterable):
        return _from_items(inputs), len(inputs) if isinstance(inputs, Sized) else None
    raise DataError(f"Cannot predict a {type(inputs).__name__}; give {KINDS}.")


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return list_images(path)
    if not path.exists():
        raise DataError(f"There is no file or folder {path}; check the path.")
    return [path]


def _from_dataset(dataset: CellDataset) -> Iterator[Source]:
    # image(i) and not dataset[i]: the data set's own transform is for training.
    for i, (name, target) in enumerate(zip(dataset.files, dataset.targets, strict=True)):
        yield Source(str(name), partial(dataset.image, i), int(target))


def _from_file(path: Path) -> Source:
    return Source(str(path), partial(decode, path))


def _from_items(items: Iterable[Any]) -> Iterator[Source]:
    position = 0
    for item in items:
        for source in _expand(item, position):
            yield source
            position += 1


def _expand(item: Any, position: int) -> Iterator[Source]:
    """One item of a list: most are one image, a folder or a batch is several."""
    name = f"image_{position:04d}"
    if isinstance(item, (str, os.PathLike)):
        path = Path(item)
        try:
            files = _files(path) if path.is_dir() else [path]
        except DataError as error:
            yield Source(str(path), partial(_fail, str(error)))
        else:
            yield from map(_from_file, files)
    elif isinstance(item, bytes):
        yield Source(name, partial(decode, item))
    elif isinstance(item, Image.Image):
        yield Source(name, partial(_from_pil, item))
    elif isinstance(item, (np.ndarray, Tensor)):
        images = item if item.ndim == 4 else item[None]
        for i, image in enumerate(images):
            yield Source(f"image_{position + i:04d}", partial(to_uint8_rgb, image))
    else:
        raise DataError(f"Input {position} is a {type(item).__name__}; give {KINDS}.")


def _from_pil(image: Image.Image) -> Tensor:
    # Pillow reads the file of an opened image late, and two threads must not do so for one image.
    with _PIL_LOCK:
        return to_uint8_rgb(image)


def _fail(message: str) -> Tensor:
    raise ImageError(message)
