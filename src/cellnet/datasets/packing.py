"""Writing packed sets; `cellnet.datasets.packed` says what they are and reads them."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cellnet.datasets import display
from cellnet.datasets.base import CellDataset
from cellnet.datasets.packed import FORMAT, IMAGES, INDEX, VERSION, hash_index, hash_pixels
from cellnet.errors import ConfigError, DataError
from cellnet.images import Preprocess

BLOCK_BYTES = 1 << 23
"""Pixels that are read, written and hashed at once: what packing needs of memory, whatever the number of images."""


def pack(
    dataset: CellDataset,
    path: str | os.PathLike[str],
    preprocess: Preprocess | None = None,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write a data set as one array that `PackedCells` opens.

    The folder appears when it is complete; until then it has a temporary name beside it. Takes 3·S² bytes an image.

    Args:
        dataset: Any images; its transform is not used.
        path: Folder to make.
        preprocess: Brings each image to S×S; image i becomes exactly ``preprocess(dataset.image(i))``. None keeps
            the images as they are, which have to be of one size.
        overwrite: Replace a packed set that stands there.
        progress: Show a progress bar on standard error.

    Returns:
        The folder.

    Raises:
        DataError: There is no image, or they differ in size and ``preprocess`` is None.
        ImageError: An image cannot be read; the message names it.
        ConfigError: Something stands at ``path``, or it cannot be written.
    """
    final = Path(path).resolve()  # a link stays one: what it points to is replaced
    _check_target(final, overwrite)
    if not len(dataset):
        raise DataError("There are no images to pack; check how the data set was made.")
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        with (temporary / IMAGES).open("wb") as file:
            shape, blocks = _write_images(file, dataset, preprocess, progress)
        index = {
            "format": FORMAT,
            "version": VERSION,
            "shape": shape,
            "preprocess": None if preprocess is None else preprocess.to_dict(),
            "card": None if dataset.card is None else dataset.card.to_dict(),
            "labels": dataset.labels.to_dict(),
            "part": dataset.part,
            "files": _relative(dataset.files),
            "targets": dataset.targets.tolist(),
            "groups": None if dataset.groups is None else list(map(_plain, dataset.groups.tolist())),
            "parts": dataset.parts,
            "hashes": dataset.content_hashes(),
            "blocks": blocks,
        }
        (temporary / INDEX).write_text(json.dumps({"sha256": hash_index(index), **index}), encoding="utf-8")
        _rename(temporary, final)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"Cannot write {path}: {reason}; free some space or choose another folder.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Path(path)


def _check_target(final: Path, overwrite: bool) -> None:
    if not final.exists():
        return
    if not (final / INDEX).is_file() or not (final / IMAGES).is_file():
        raise ConfigError(f"{final} stands there and is not a packed set; choose a folder that does not exist yet.")
    if not overwrite:
        raise ConfigError(f"There is a packed set in {final}; pass overwrite=True (--overwrite) to replace it.")


def _write_images(
    file: BinaryIO, dataset: CellDataset, preprocess: Preprocess | None, progress: bool
) -> tuple[list[int], dict[str, Any]]:
    """Write the array; its shape, and the hashes of its blocks."""

    def read(index: int) -> NDArray[np.uint8]:
        image = dataset.image(index)
        return (image if preprocess is None else preprocess(image)).permute(1, 2, 0).contiguous().numpy()

    first = read(0)
    shape = [len(dataset), *first.shape]
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)})
    rows, hashes = max(1, BLOCK_BYTES // first.nbytes), []
    starts = range(0, len(dataset), rows)
    with ThreadPoolExecutor() as pool:  # threads, since decoding releases the interpreter lock
        for start in display.track(starts, len(starts), "Packing images") if progress else starts:
            members = range(start, min(start + rows, len(dataset)))
            block = np.empty((len(members), *first.shape), np.uint8)
            for place, (index, image) in enumerate(zip(members, pool.map(read, members), strict=True)):
                if image.shape != first.shape:
                    raise _differ(dataset.files[0], first, dataset.files[index], image)
                block[place] = image
            file.write(block.data)
            hashes.append(hash_pixels(block))
    return shape, {"rows": rows, "sha256": hashes}


def _differ(file: str, image: NDArray[np.uint8], other_file: str, other: NDArray[np.uint8]) -> DataError:
    side = min(*image.shape[:2], *other.shape[:2])
    sizes = (f"{name} has {a.shape[1]}×{a.shape[0]}" for name, a in ((file, image), (other_file, other)))
    return DataError(
        f"{' and '.join(sizes)} pixels; a packed set has one size: give an image size, such as "
        f"Preprocess({side}) (--image-size {side})."
    )


def _relative(files: list[str]) -> list[str]:
    """Names from the folder above the class folders on: nothing of this machine."""
    try:
        root = os.path.commonpath([Path(file).parent.parent for file in files])
    except ValueError:  # relative and absolute names together, or two drives
        return files
    return [Path(file).relative_to(root).as_posix() for file in files]


def _plain(group: Any) -> Any:
    """A group as JSON can hold it."""
    return group if group is None or isinstance(group, str | int | float) else str(group)


def _rename(temporary: Path, final: Path) -> None:
    """Put the new folder in place of the old one, which stays if that fails."""
    if not final.exists():
        temporary.rename(final)
        return
    old = temporary.with_suffix(".old")
    final.rename(old)
    try:
        temporary.rename(final)
    except OSError:
        old.rename(final)
        raise
    shutil.rmtree(old)
