"""Images a second on one core, from JPEG files and from a packed set to a normalised float batch of 299 px.

    python benchmarks/speed/loading.py ROOT

ROOT holds one folder of images a class (PBC, for the figures in the results). The reference is what most training
scripts have: torchvision's ImageFolder, transforms on PIL images, and a DataLoader. cellnet does the same work, then
without the last step, which its models leave to the device. A second table says where the time goes, step by step,
beside JPEG decoding alone, the limit of reading from files.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import torch
from harness import interleave, rows, write
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms
from torchvision.io import decode_jpeg, read_file

from cellnet.datasets import CellDataset, CellFolder
from cellnet.datasets.loading import create_loader
from cellnet.datasets.packed import PackedCells
from cellnet.datasets.packing import pack
from cellnet.images import IMAGENET_MEAN, IMAGENET_STD, Preprocess, decode

PACKAGES = ("torch", "torchvision", "pillow", "simplejpeg", "opencv-python-headless", "numpy")
SIZE, BATCH, COUNT = 299, 32, 384

Work = Callable[[], int]


def peer(root: Path, cells: CellDataset, size: int) -> Work:
    """ImageFolder, PIL transforms and DataLoader, over the same files."""
    steps = [transforms.Resize((size, size)), transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    folder = datasets.ImageFolder(str(root), transforms.Compose(steps))
    place = {Path(file): i for i, (file, _) in enumerate(folder.samples)}
    loader = DataLoader(Subset(folder, [place[Path(file)] for file in cells.files]), BATCH, shuffle=True)
    return lambda: sum(len(images) for images, _ in loader)


def ours(cells: CellDataset, preprocess: Preprocess | None, out: Tensor | None) -> Work:
    """A loader of cellnet; with ``preprocess`` normalised, into ``out`` or into new memory."""
    loader = create_loader(cells, BATCH, shuffle=True)

    def run() -> int:
        count = 0
        for images, _ in loader:
            if preprocess is not None:
                preprocess.normalise(images, None if out is None else out[: len(images)])
            count += len(images)
        return count

    return run


def each(function: Callable[[Path], object], cells: CellDataset) -> Work:
    """A function of every file."""

    def run() -> int:
        for file in cells.files:
            function(Path(file))
        return len(cells)

    return run


def copying(packed: PackedCells) -> Work:
    """The same bytes from one place in memory to another."""
    source = packed.batch(range(BATCH))[0].permute(0, 2, 3, 1).numpy()
    target = np.empty_like(source)

    def run() -> int:
        for _ in range(len(packed) // BATCH):
            np.copyto(target, source)
        return len(packed) // BATCH * BATCH

    return run


def main(root: Path, count: int = COUNT, size: int = SIZE, rounds: int = 7) -> None:
    """Measure and write both tables.

    Args:
        root: One folder of images a class.
        count: How many of them, at least a batch.
        size: Side of the images that come out, in pixels.
        rounds: Of measuring.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    warnings.filterwarnings("ignore", ".*TorchVision are deprecated", DeprecationWarning)
    cells = CellFolder(root)
    cells = cells.subset(np.linspace(0, len(cells) - 1, count).astype(int))
    preprocess = Preprocess(size)
    out = torch.empty(BATCH, size, size, 3).permute(0, 3, 1, 2)
    reference, decoding = "ImageFolder, PIL transforms, DataLoader", "step: simplejpeg alone"
    with tempfile.TemporaryDirectory() as folder:
        packed = PackedCells(pack(cells, Path(folder) / "packed", preprocess))
        files = cells.with_transform(preprocess)
        rates = interleave(
            {
                reference: peer(root, cells, size),
                "cellnet from files": ours(files, preprocess, out),
                "cellnet from files, uint8": ours(files, None, None),
                "cellnet packed": ours(packed, preprocess, out),
                "cellnet packed, into new memory": ours(packed, preprocess, None),
                "cellnet packed, uint8": ours(packed, None, None),
                "step: reading files": each(Path.read_bytes, cells),
                decoding: each(lambda file: simplejpeg.decode_jpeg(file.read_bytes()), cells),
                "step: cellnet.decode": each(decode, cells),
                "step: Pillow alone": each(lambda file: Image.open(file).load(), cells),
                "step: torchvision's decoder alone": each(lambda file: decode_jpeg(read_file(str(file))), cells),
                "step: OpenCV's decoder alone": each(lambda file: cv2.imread(str(file)), cells),
                "step: decode and resize": each(lambda file: preprocess(decode(file)), cells),
                "step: decode, resize and batch": ours(files, None, None),
                "step: copying packed pixels": copying(packed),
            },
            rounds,
        )
    steps = {name: values for name, values in rates.items() if name.startswith("step")}
    contestants = {name: values for name, values in rates.items() if name not in steps}
    write("speed_loading", rows(contestants, reference, PACKAGES))
    write("speed_loading_steps", rows(steps, decoding, PACKAGES))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
