"""A picture of what an augmentation preset does to one cell of each class."""

from __future__ import annotations

from io import BytesIO

import torch
from PIL import Image

from cellnet import samples
from cellnet.augment import create_augmentation
from cellnet.images import Preprocess

SIDE, GAP = 104, 2


def contact_sheet(preset: str, draws: int = 4) -> bytes:
    """A PNG with a column a class: the sample image as it is, and below it as the preset changes it, ``draws`` times.

    The same preset gives the same picture. ``"none"`` gives the first row alone.
    """
    cells, augment = samples(), create_augmentation(preset)
    shrink = Preprocess(SIDE)
    firsts = [cells.targets.tolist().index(target) for target in range(len(cells.labels))]
    originals = [shrink(cells.image(index)) for index in firsts]
    rows = [originals]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if preset != "none":
            rows += [[augment(image) for image in originals] for _ in range(draws)]
    step = SIDE + GAP
    sheet = Image.new("RGB", (step * len(originals) - GAP, step * len(rows) - GAP), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()), (x * step, y * step))
    file = BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()
