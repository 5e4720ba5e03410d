"""Look for leaks before believing a figure: the same image, or the same cell, in two parts."""

import torch

import cellnet
from cellnet.datasets import CellDataset

cells = cellnet.load_dataset("synthetic", per_class=12, image_size=64)
train, test = cells.split((0.7, 0.3), seed=0)

# Somebody puts shifted copies of three test images into the training part.
images = [train.image(i) for i in range(len(train))] + [test.image(i).roll((2, -3), (1, 2)) for i in range(3)]
spoilt = CellDataset(
    [*train.files, "copy_0", "copy_1", "copy_2"],
    [*train.targets, *test.targets[:3]],
    cells.labels,
    images=torch.stack(images),
    part="train",
)
audit = cellnet.audit(spoilt, test)
print(audit)
for pair in audit.leaks:
    print(pair)
audit.save("audit")  # audit.html shows the pairs side by side

# Images of one cell become one group, which no split divides.
print(cells.with_groups(cellnet.audit(cells).groups(cells)).split((0.7, 0.3), seed=0))
