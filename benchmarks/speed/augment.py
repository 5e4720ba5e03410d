"""Augmented images a second on one core: cellnet against Pillow, torchvision and scikit-image.

    python benchmarks/speed/augment.py

Every side gets the 40 sample images in memory in the form that it likes best and gives uint8; each question is asked in
interleaved rounds. Most training scripts have flips, rotation and ColorJitter, which is less than `strong` does.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import torch
from harness import interleave, rows, write
from PIL import Image
from skimage.color import hed2rgb, lab2rgb, rgb2hed, rgb2lab
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from cellnet import samples
from cellnet.augment import (
    RandomColour,
    RandomJpeg,
    RandomLab,
    RandomRotationScale,
    RandomStain,
    create_augmentation,
)
from cellnet.images import Preprocess

PACKAGES = ("torch", "torchvision", "pillow", "opencv-python-headless", "simplejpeg", "scikit-image")
SIZES = (299, 128)
HUE = 10 / 360

FLIPS = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
LITTLE_COLOUR = v2.ColorJitter(0.2, 0.2, 0.2, HUE)
MUCH_COLOUR = v2.ColorJitter((0.7, 1.1), (0.6, 1.2), (0.7, 2.0), 15 / 360)
AFFINE = v2.RandomAffine(180, scale=(0.8, 1.25), interpolation=InterpolationMode.BILINEAR)
FAR_AFFINE = v2.RandomAffine(180, (0.08, 0.08), (0.6, 2.0), interpolation=InterpolationMode.BILINEAR)

Change = Callable[[Any], Any]


def pil_jpeg(image: Image.Image) -> Image.Image:
    """Through a JPEG file in memory, in Pillow."""
    file = BytesIO()
    image.save(file, "JPEG", quality=int(torch.randint(30, 91, ())))
    return Image.open(file).convert("RGB")


def sometimes(probability: float, change: Change) -> v2.RandomApply:
    """A share of the images."""
    return v2.RandomApply([v2.Lambda(change)], probability)


def strong(*last: Change) -> v2.Compose:
    """The changes of `strong` by torchvision, which works on Pillow's images and on tensors."""
    return v2.Compose([*FLIPS, AFFINE, LITTLE_COLOUR, sometimes(0.2, v2.GaussianBlur(5, (0.1, 1.5))), *last])


def domain(jpeg: Change, *last: Change) -> v2.Compose:
    """The changes of `domain` by torchvision, less stain and white balance, which it does not have."""
    blur = sometimes(0.3, v2.GaussianBlur(9, (0.5, 2.0)))
    return v2.Compose([*FLIPS, FAR_AFFINE, MUCH_COLOUR, blur, sometimes(0.3, jpeg), *last])


def hed(array: np.ndarray) -> np.ndarray:
    """Stains perturbed by scikit-image."""
    factors, offsets = torch.rand(2, 3).numpy()
    return np.asarray(hed2rgb(rgb2hed(array) * (0.8 + 0.4 * factors) + 0.01 * offsets) * 255).astype(np.uint8)


def lab(array: np.ndarray) -> np.ndarray:
    """Channel statistics of CIELAB perturbed by scikit-image."""
    factors, offsets = torch.rand(2, 3).numpy()
    colours = rgb2lab(array)
    mean = colours.mean(axis=(0, 1))
    return np.asarray(lab2rgb((colours - mean) * (0.8 + 0.4 * factors) + mean + 5 * offsets) * 255).astype(np.uint8)


def questions(images: list[Tensor]) -> dict[str, dict[str, Callable[[], int]]]:
    """What is compared: by question, each side's name and work; the first is what the ratios refer to."""
    arrays = [image.permute(1, 2, 0).contiguous().numpy() for image in images]
    pictures = [Image.fromarray(array) for array in arrays]

    def each(change: Change, inputs: list[Any]) -> Callable[[], int]:
        def work() -> int:
            for one in inputs:
                change(one)
            return len(inputs)

        return work

    tensor = v2.PILToTensor()
    usual = v2.Compose([*FLIPS, v2.RandomRotation(180), LITTLE_COLOUR, tensor])
    return {
        "strong": {
            "Pillow: the same changes": each(strong(tensor), pictures),
            "Pillow: flips, rotation (nearest), ColorJitter": each(usual, pictures),
            "torchvision on tensors: the same changes": each(strong(), images),
            "cellnet: strong": each(create_augmentation("strong"), images),
            "cellnet: light": each(create_augmentation("light"), images),
        },
        "domain": {
            "Pillow: the same changes without stain": each(domain(pil_jpeg, tensor), pictures),
            "Pillow: flips, rotation (nearest), ColorJitter": each(usual, pictures),
            "torchvision on tensors: the same changes without stain": each(domain(v2.JPEG((30, 90))), images),
            "cellnet: domain": each(create_augmentation("domain"), images),
        },
        "rotation and size": {
            "Pillow: RandomAffine (bilinear)": each(AFFINE, pictures),
            "torchvision on tensors: RandomAffine (bilinear)": each(AFFINE, images),
            "cellnet: RandomRotationScale": each(RandomRotationScale(), images),
        },
        "colour": {
            "Pillow: ColorJitter": each(LITTLE_COLOUR, pictures),
            "torchvision on tensors: ColorJitter": each(LITTLE_COLOUR, images),
            "cellnet: RandomColour": each(RandomColour(), images),
        },
        "stain": {
            "scikit-image: rgb2hed, hed2rgb": each(hed, arrays),
            "cellnet: RandomStain": each(RandomStain(), images),
            "cellnet: RandomStain(own=True)": each(RandomStain(own=True), images),
        },
        "CIELAB": {
            "scikit-image: rgb2lab, lab2rgb": each(lab, arrays),
            "cellnet: RandomLab": each(RandomLab(), images),
        },
        "JPEG": {
            "Pillow: save, open": each(pil_jpeg, pictures),
            "torchvision on tensors: JPEG": each(v2.JPEG((30, 90)), images),
            "cellnet: RandomJpeg": each(RandomJpeg((30, 90)), images),
        },
    }


def main(sizes: tuple[int, ...] = SIZES, count: int | None = None, rounds: int = 7) -> None:
    """Ask all questions and write ``speed_augment.csv``.

    Args:
        sizes: Sides of the images in pixels.
        count: How many of the sample images; all of them where None.
        rounds: Of measuring.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cells = samples()
    table = []
    for size in sizes:
        preprocess = Preprocess(size)
        images = [preprocess(cells.image(index)) for index in range(count or len(cells))]
        for question, work in questions(images).items():
            torch.manual_seed(0)
            found = rows(interleave(work, rounds), next(iter(work)), PACKAGES)
            table += [{"question": question, "pixels": f"{size}", **row} for row in found]
    write("speed_augment", table)


if __name__ == "__main__":
    main()
