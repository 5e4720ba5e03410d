"""BloodMNIST: the Barcelona set cropped, shrunk and divided by MedMNIST (Yang et al. 2023)."""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from cellnet.cards import DatasetCard, RemoteFile
from cellnet.datasets.columns import PARTS
from cellnet.datasets.public import Contents, PublicDataset
from cellnet.download import obtain
from cellnet.errors import ConfigError, DataError
from cellnet.labels import PBC_LABELS

SIZES = {28: "bloodmnist.npz", 64: "bloodmnist_64.npz", 128: "bloodmnist_128.npz", 224: "bloodmnist_224.npz"}
"""Side of the images in pixels, and the file that holds them."""

_MD5 = (
    "7053d0359d879ad8a5505303e11de1dc",
    "2b94928a2ae4916078ca51e05b6b800b",
    "adace1e0ed228fccda1f39692059dd4c",
    "b718ff6835fcbdb22ba9eacccd7b2601",
)
_URL = "https://zenodo.org/records/10519652/files/{}?download=1"
_CHUNK = 1 << 22


class BloodMNIST(PublicDataset):
    """PBC's images, their central 200×200 px shrunk to 28 to 224 px, with MedMNIST's division into three parts.

    Layout: one file a size, ``bloodmnist.npz`` (28 px) or ``bloodmnist_<size>.npz``, with the arrays
    ``{train,val,test}_images`` (uint8 N×S×S×3) and ``{train,val,test}_labels`` (N×1), in the order of PBC's classes.
    Addresses, checksums, keys and order of the classes are confirmed in public code; the files were not at hand.

    The images are decoded once into memory: 40 MB at 28 px, 2.6 GB at 224 px.

    Args:
        root: Folder that holds the file, or a folder up to two levels above it.
        transform: Applied to each image (uint8 3×H×W) by ``ds[i]``.
        exclude: Names to leave out, see `CellDataset.exclude`.
        size: 28, 64, 128 or 224 px. None: the one that is there.
        download: Fetch the file of this size (28 px if none is named and none is there).

    Raises:
        ConfigError: A size that there is none of, or none named where several are there.
        DataError: The file is not there, damaged, or holds other arrays.
        LabelError: A label is not one of the eight.

    Source: Yang et al., Scientific Data 10 (2023) 41, DOI 10.1038/s41597-022-01721-8.

    Example:
        >>> BloodMNIST.remote_files(size=64)[0].name
        'bloodmnist_64.npz'
    """

    card = DatasetCard(
        name="bloodmnist",
        title="BloodMNIST (MedMNIST+)",
        description="PBC's images, centre-cropped to 200×200 px and resized, with an official split.",
        source="https://doi.org/10.5281/zenodo.10519652",
        licence="CC-BY-4.0",
        citation=(
            "Yang J, Shi R, Wei D, Liu Z, Zhao L, Ke B, Pfister H, Ni B. MedMNIST v2 - A large-scale lightweight "
            "benchmark for 2D and 3D biomedical image classification. Scientific Data 10 (2023) 41. "
            "doi:10.1038/s41597-022-01721-8. Images: Acevedo et al. 2020, doi:10.17632/snkd93bnjr.1"
        ),
        doi="10.5281/zenodo.10519652",
        stain="May-Grünwald-Giemsa",
        scanner="CellaVision DM96",
        num_images=17_092,
        known_defects=(
            "the same images as pbc: never use one to judge a model trained on the other",
            "the official split was made without regard to PBC's identical images",
            "no donor, slide or date of any image is known",
        ),
        files=tuple(
            RemoteFile(name, (_URL.format(name),), md5=md5) for name, md5 in zip(SIZES.values(), _MD5, strict=True)
        ),
    )
    schema = PBC_LABELS

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Tensor], Any] | None = None,
        exclude: Iterable[str | os.PathLike[str]] = (),
        *,
        size: int | None = None,
        download: bool = False,
    ) -> None:
        if download:
            self.download(root, progress=True, size=size)
        self._fill(self.read(self.find(root), size=size), transform, exclude)

    @classmethod
    def remote_files(cls, *, size: int | None = None) -> tuple[RemoteFile, ...]:
        """The file of one size; 28 px unless told.

        Raises:
            ConfigError: There is no such size.
        """
        name = _file_name(28 if size is None else size)
        return tuple(file for file in cls.card.files if file.name == name)

    @classmethod
    def download(cls, root: str | os.PathLike[str], *, progress: bool = False, size: int | None = None) -> Path:
        """Fetch the file of this size into ``root/bloodmnist``, unless it is below ``root`` already.

        Raises:
            ConfigError: There is no such size.
            DataError: The file cannot be had; the message says how to get it by hand.
        """
        files = cls.remote_files(size=size)
        with contextlib.suppress(DataError):
            folder = cls.find(root)
            if size in (None, *_there(folder)):
                return folder
        obtain(files, Path(root) / cls.card.name, progress=progress)
        return cls.find(root)

    @classmethod
    def missing(cls, folder: Path) -> list[str]:
        """That there is no file of any size."""
        return [] if _there(folder) else [f"one of {', '.join(SIZES.values())}"]

    @classmethod
    def read(cls, folder: Path, *, size: int | None = None) -> Contents:
        """The images of one size, with their parts."""
        there = _there(folder)
        if size is None and len(there) > 1:
            raise ConfigError(f"{folder} holds BloodMNIST in {there} px; say which, for instance size={there[0]}.")
        size = there[0] if size is None else size
        path = folder / _file_name(size)
        if size not in there:
            raise DataError(
                f"{path.name} is not in {folder}, which holds {there} px; "
                f"pass size={there[0]}, or download=True to fetch it."
            )
        images, labels, counts = _read_npz(path, size)
        parts = [part for part, count in zip(PARTS, counts, strict=True) for _ in range(count)]
        names = [f"{part}_{row:05d}" for part, count in zip(PARTS, counts, strict=True) for row in range(count)]
        return Contents(names, labels, parts=parts, images=torch.from_numpy(images).permute(0, 3, 1, 2))


def _file_name(size: int) -> str:
    if size not in SIZES:
        raise ConfigError(f"size={size!r} is none of BloodMNIST's; give 28, 64, 128 or 224.")
    return SIZES[size]


def _there(folder: Path) -> list[int]:
    return [size for size, name in SIZES.items() if (folder / name).is_file()]


def _read_npz(path: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[int]]:
    """All images N×S×S×3, all labels N, and the number of images of each part.

    ``np.load`` would need the memory of a part twice to put the three together; here each goes to its place at once.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [f"{part}_{kind}.npy" for part in PARTS for kind in ("images", "labels")]
            lacking = [Path(name).stem for name in names if name not in archive.namelist()]
            if lacking:
                raise DataError(f"{path} lacks {', '.join(lacking)}; download the file of BloodMNIST again.")
            labels = [_read_labels(archive, part) for part in PARTS]
            counts = [len(part) for part in labels]
            images = np.empty((sum(counts), size, size, 3), np.uint8)
            for part, place in zip(PARTS, np.split(images, np.cumsum(counts)[:-1]), strict=True):
                _read_images(archive, part, place)
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged or not BloodMNIST's: {error}; download it again.") from error
    return images, np.concatenate(labels), counts


def _read_labels(archive: zipfile.ZipFile, part: str) -> NDArray[np.int64]:
    with archive.open(f"{part}_labels.npy") as file:
        labels = npy.read_array(file, allow_pickle=False)
    if labels.dtype.kind not in "iu" or labels.shape not in ((len(labels), 1), (len(labels),)):
        raise ValueError(f"{part}_labels is {labels.dtype} of shape {labels.shape}, not integers N×1")
    return labels.reshape(-1).astype(np.int64)


def _read_images(archive: zipfile.ZipFile, part: str, place: NDArray[np.uint8]) -> None:
    """Decompress the images of a part into ``place``, a piece at a time."""
    with archive.open(f"{part}_images.npy") as file:
        read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read_header(file)
        if shape != place.shape or dtype != np.uint8 or fortran_order:
            raise ValueError(f"{part}_images is {dtype} of shape {shape}, not uint8 of shape {place.shape}")
        pixels = place.reshape(-1)
        for start in range(0, pixels.size, _CHUNK):
            piece = pixels[start : start + _CHUNK]
            data = file.read(piece.size)
            if len(data) != piece.size:
                raise EOFError(f"{part}_images ends early")
            piece[:] = np.frombuffer(data, np.uint8)
