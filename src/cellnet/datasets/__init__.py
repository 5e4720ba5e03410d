"""Data sets of single-cell images: `load_dataset` by name, `samples` for a look, `CellDataset` for yours."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from typing import Any

from cellnet.datasets.aml_lmu import AMLLMU
from cellnet.datasets.base import CellDataset
from cellnet.datasets.bccd import BCCD, BCCDCropped
from cellnet.datasets.bloodmnist import BloodMNIST
from cellnet.datasets.folder import CellFolder
from cellnet.datasets.lists import read_list, write_list
from cellnet.datasets.loading import create_loader
from cellnet.datasets.mll23 import MLL23
from cellnet.datasets.packed import PackedCells
from cellnet.datasets.packing import pack
from cellnet.datasets.pbc import PBC
from cellnet.datasets.public import PublicDataset
from cellnet.datasets.raabin import Raabin
from cellnet.datasets.samples import samples
from cellnet.datasets.segmentation_wbc import WBCCellaVision, WBCJiangxi
from cellnet.datasets.split_files import read_split, split_hash, write_split
from cellnet.datasets.synthetic import SyntheticCells
from cellnet.datasets.wbcatt import WBCAtt
from cellnet.errors import ConfigError
from cellnet.registry import Registry, check_name

__all__ = [
    "AMLLMU",
    "BCCD",
    "DATASETS",
    "MLL23",
    "PBC",
    "BCCDCropped",
    "BloodMNIST",
    "CellDataset",
    "CellFolder",
    "PackedCells",
    "PublicDataset",
    "Raabin",
    "SyntheticCells",
    "WBCAtt",
    "WBCCellaVision",
    "WBCJiangxi",
    "create_loader",
    "load_dataset",
    "pack",
    "read_list",
    "read_split",
    "samples",
    "split_hash",
    "write_list",
    "write_split",
]

DATASETS: Registry[type[CellDataset]] = Registry("data set", "cellnet.datasets")
"""Data set classes by name; each has a class-level ``card``. Open to plug-ins."""

for _name, _kind in {
    "aml_lmu": AMLLMU,
    "bccd": BCCD,
    "bccd_cropped": BCCDCropped,
    "bloodmnist": BloodMNIST,
    "folder": CellFolder,
    "mll23": MLL23,
    "packed": PackedCells,
    "pbc": PBC,
    "raabin": Raabin,
    "synthetic": SyntheticCells,
    "wbc_cellavision": WBCCellaVision,
    "wbc_jiangxi": WBCJiangxi,
    "wbcatt": WBCAtt,
}.items():
    DATASETS.register(_name)(_kind)


def load_dataset(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    exclude: Iterable[str | os.PathLike[str]] = (),
    **options: Any,
) -> CellDataset:
    """Load a data set by name.

    Args:
        name: A name in ``DATASETS``, e.g. ``"pbc"`` or ``"folder"``; `cellnet list --datasets` shows all.
        root: Folder with the images, for sets that are read from disk.
        exclude: Files to leave out, see `CellDataset.exclude`.
        **options: Further arguments of the data set's class.

    Raises:
        UnknownNameError: No such data set, or an option that it does not have.
        ConfigError: ``root`` is needed and missing, or given and not used.
        DataError: The data are not there, or not as they should be.

    Example:
        >>> load_dataset("synthetic", per_class=2, image_size=32)
        SyntheticCells(16 images, 8 classes)
    """
    kind = DATASETS.get(name)
    make: Callable[..., CellDataset] = kind
    parameters = inspect.signature(kind).parameters
    for option in options:
        check_name(f"option of the data set {name!r}", option, parameters.keys() - {"root", "exclude"})
    if "root" not in parameters:
        if root is not None:
            raise ConfigError(f"The data set {name!r} is not read from disk; leave out root={os.fspath(root)!r}.")
        return make(**options).exclude(exclude)
    if root is None and parameters["root"].default is inspect.Parameter.empty:
        source = f" The data are at {kind.card.source}." if kind.card and kind.card.source else ""
        raise ConfigError(f"The data set {name!r} is read from disk; give root=FOLDER (--root FOLDER).{source}")
    return make(root, **options).exclude(exclude)
