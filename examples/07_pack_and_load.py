"""Pack a data set once, split the pack on paper, and read batches from it."""

import cellnet
from cellnet.augment import create_augmentation
from cellnet.datasets import create_loader, pack, read_split, write_split

cells = cellnet.samples()  # yours: cellnet.load_dataset("pbc", root="data", download=True)
pack(cells, "packed/samples", cellnet.Preprocess(96))
packed = cellnet.load_dataset("packed", "packed/samples")

print("split", write_split("split.csv", *packed.split((0.6, 0.2, 0.2), seed=0)))
# The file holds for the originals too: images are known by the bytes of their files.
train, val, test = read_split("split.csv", cells)
print(train, val, test, sep="\n")

train, val, test = read_split("split.csv", packed)
augmented = train.with_transform(create_augmentation("strong"))
for images, targets in create_loader(augmented, batch_size=8, shuffle=True, seed=0):
    print(images.dtype, tuple(images.shape), targets.tolist())
