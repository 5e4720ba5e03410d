"""Loaders: whole batches, the same images in any number of processes, an order that follows from the seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from cellnet.datasets import CellDataset
from cellnet.datasets.loading import create_loader
from cellnet.datasets.packed import PackedCells
from cellnet.datasets.packing import pack
from cellnet.errors import ConfigError, DataError, ImageError
from cellnet.images import Preprocess
from cellnet.labels import LabelSchema

SCHEMA = LabelSchema.from_names(["lymphocyte", "monocyte"])


@pytest.fixture
def files(tmp_path: Path) -> CellDataset:
    """Ten JPEG files of 24×22 pixels but the last, which has 24×20."""
    paths = [tmp_path / f"{i}.jpg" for i in range(10)]
    for i, path in enumerate(paths):
        array = np.random.default_rng(i).integers(0, 256, (22 if i < 9 else 20, 24, 3), np.uint8)
        Image.fromarray(array).save(path)
    return CellDataset(paths, [0, 1] * 5, SCHEMA)


def everything(loader: DataLoader[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(loader)
    return torch.cat([images for images, _ in batches]), torch.cat([targets for _, targets in batches])


def make(kind: str, cells: CellDataset, folder: Path) -> CellDataset:
    """The same 16×16 images from files, from memory or packed."""
    preprocess = Preprocess(16)
    match kind:
        case "files":
            return cells.with_transform(preprocess)
        case "memory":
            return cells.preload(preprocess)
        case _:
            return PackedCells(pack(cells, folder / "packed", preprocess))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", ["files", "memory", "packed"])
def test_what_torch_would_load(files: CellDataset, tmp_path: Path, kind: str, workers: int) -> None:
    cells = make(kind, files, tmp_path)
    loader = create_loader(cells, 4, workers=workers)
    for (images, targets), (expected, labels) in zip(loader, DataLoader(cells, 4), strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(targets, labels)
        assert images.dtype == torch.uint8
        assert targets.dtype == torch.int64
    assert len(loader) == 3
    assert len(create_loader(cells, 4, drop_last=True)) == 2


@pytest.mark.parametrize("kind", ["files", "packed"])
def test_batches_lie_channels_last(files: CellDataset, tmp_path: Path, kind: str) -> None:
    for images, _ in create_loader(make(kind, files, tmp_path), 4):
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_images_of_one_size_need_no_transform(files: CellDataset) -> None:
    images, targets = everything(create_loader(files.subset(range(9)), 4))
    assert torch.equal(images, torch.stack([files.image(i) for i in range(9)]))
    assert targets.tolist() == [0, 1] * 4 + [0]


def test_the_order_follows_from_the_seed(files: CellDataset) -> None:
    cells = files.preload(Preprocess(16))

    def passes(seed: int, workers: int = 0) -> list[torch.Tensor]:
        loader = create_loader(cells, 4, shuffle=True, seed=seed, workers=workers)
        return [everything(loader)[0] for _ in range(2)]

    torch.manual_seed(1)
    first, second = passes(0)
    torch.manual_seed(2)
    again = passes(0, workers=1)
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert not torch.equal(first, second)
    assert not torch.equal(first, passes(1)[0])
    hashes = sorted(image.numpy().tobytes() for image in first)
    assert hashes == sorted(cells.image(i).numpy().tobytes() for i in range(10))


def test_the_global_generator_is_left_alone(files: CellDataset) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    everything(create_loader(files.preload(Preprocess(16)), 4, shuffle=True))
    assert torch.equal(torch.rand(1), expected)


def test_batches_do_not_share_memory(files: CellDataset, tmp_path: Path) -> None:
    for kind in ("memory", "packed"):
        cells = make(kind, files, tmp_path)
        batches = list(create_loader(cells, 5))
        kept = batches[0][0].clone()
        batches[1][0].zero_()
        assert torch.equal(batches[0][0], kept)
        batches[0][0].zero_()
        assert torch.equal(cells.batch(range(5))[0], kept)


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        (lambda image: Preprocess(16)(image).float() / 255, (4, 3, 16, 16)),
        (lambda image: Preprocess(16)(image).contiguous(), (4, 3, 16, 16)),
        (lambda image: Preprocess(16)(image).flatten(), (4, 768)),
        (lambda image: image.sum(), (4,)),
    ],
)
def test_other_transforms(files: CellDataset, transform: Callable[[torch.Tensor], Any], shape: tuple[int, ...]) -> None:
    cells = files.with_transform(transform)
    images, _ = next(iter(create_loader(cells, 4)))
    assert images.shape == shape
    assert torch.equal(images, torch.stack([transform(files.image(i)) for i in range(4)]))


def test_a_transform_may_give_two_views(files: CellDataset) -> None:
    cells = files.with_transform(lambda image: (Preprocess(16)(image), Preprocess(20)(image)))
    (first, second), targets = next(iter(create_loader(cells, 4)))
    assert (first.shape, second.shape) == ((4, 3, 16, 16), (4, 3, 20, 20))
    assert len(targets) == 4


def test_sizes_that_differ_name_two_images(files: CellDataset) -> None:
    with pytest.raises(DataError, match=r"8\.jpg .*9\.jpg .*preload"):
        everything(create_loader(files, 4))
    with pytest.raises(DataError, match=r"8\.jpg is torch.uint8 \(3, 22, 24\) .*9\.jpg .*20, 24\).*Preprocess"):
        everything(create_loader(files.with_transform(torch.clone), 4))


def test_an_unreadable_image_is_named(files: CellDataset) -> None:
    Path(files.files[3]).write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"3\.jpg is not an image"):
        everything(create_loader(files, 4))


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 2.5}, {"workers": -1}, {"workers": None}])
def test_numbers_out_of_range(files: CellDataset, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        create_loader(files, **options)


@pytest.mark.parametrize("shuffle", [False, True])
def test_no_image(files: CellDataset, shuffle: bool) -> None:
    with pytest.raises(DataError, match="no images to load"):
        create_loader(files.subset([]), shuffle=shuffle)
