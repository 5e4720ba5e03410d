"""`cellnet.augment.pixels`: any memory layout, and OpenCV inside data-loader workers."""

from __future__ import annotations

import multiprocessing

import cv2
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from cellnet.augment import create_augmentation, perturb_lab, rotate_scale
from cellnet.augment.pixels import to_array, to_tensor
from cellnet.errors import ImageError

IMAGE = torch.randint(0, 256, (3, 20, 26), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


class Changed(Dataset[tuple[torch.Tensor, int]]):
    """Augmented images, and the number of threads that OpenCV has where they were made."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        torch.manual_seed(index)
        image = create_augmentation("domain")(IMAGE)
        return image, cv2.getNumThreads()


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        IMAGE.permute(1, 2, 0).contiguous().permute(2, 0, 1),
        IMAGE.transpose(1, 2),
        IMAGE[:, 3:11, ::2],
        IMAGE.flip(0),
        IMAGE[:1].expand(3, -1, -1),
        IMAGE[:, :1, :1].expand(3, 7, 5),
        IMAGE[:, :1],
        IMAGE[:, :, :1],
        IMAGE[:, :1, :1],
    ],
    ids=["planar", "channels-last", "transposed", "cut", "flipped", "grey", "flat", "row", "column", "pixel"],
)
def test_any_layout_in_memory(image: torch.Tensor) -> None:
    array = to_array(image)
    assert array.shape == (*image.shape[1:], 3)
    assert array.flags.c_contiguous
    assert torch.equal(torch.from_numpy(array).permute(2, 0, 1), image)
    assert torch.equal(to_tensor(array), image)


def test_what_lies_channels_last_is_not_copied() -> None:
    image = IMAGE.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert to_array(image).ctypes.data == image.data_ptr()
    assert to_tensor(to_array(image)).data_ptr() == image.data_ptr()


@pytest.mark.parametrize(
    "given",
    [
        torch.zeros(3, 32, 32),
        torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
        torch.zeros(32, 32, 3, dtype=torch.uint8),
        torch.zeros(32, 32, dtype=torch.uint8),
        torch.zeros(3, 0, 32, dtype=torch.uint8),
        torch.zeros(3, 32, 32, dtype=torch.uint8, device="meta"),
    ],
    ids=["float", "batch", "channels last", "no channels", "empty", "not on the CPU"],
)
def test_what_is_no_image(given: torch.Tensor) -> None:
    with pytest.raises(ImageError, match="one uint8 3×H×W image on the CPU, not"):
        to_array(given)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_forked_workers_neither_hang_nor_start_threads() -> None:
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        # Large enough for OpenCV to start its threads, which do not live on in a forked process.
        rotate_scale(torch.zeros(3, 1500, 1500, dtype=torch.uint8), angle=30)
        perturb_lab(torch.zeros(3, 1500, 1500, dtype=torch.uint8), (1, 1, 1))
        loader = DataLoader(Changed(), batch_size=2, num_workers=2, multiprocessing_context="fork", timeout=60)
        batches = list(loader)
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(threads)
    assert torch.cat([threads for _, threads in batches]).tolist() == [1] * 4
    assert torch.equal(torch.cat([images for images, _ in batches]), torch.stack([Changed()[i][0] for i in range(4)]))


def test_the_number_of_threads_does_not_matter() -> None:
    large = torch.randint(0, 256, (3, 600, 500), dtype=torch.uint8)
    augment = create_augmentation("domain")
    threads = cv2.getNumThreads()
    results = []
    try:
        for number in (0, 2):
            cv2.setNumThreads(number)
            torch.manual_seed(0)
            results.append([augment(large) for _ in range(8)])
    finally:
        cv2.setNumThreads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
