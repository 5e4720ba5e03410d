"""Train an encoder by contrast, put a classifier on it, and ask which known cells look like a new one."""

import tempfile

import cellnet
from cellnet.experiments import classifier_config, train_contrastive
from cellnet.inference import NeighbourIndex

cells = cellnet.load_dataset("synthetic", per_class=12, image_size=32)
train, val, test = parts = cells.split((0.7, 0.1, 0.2), seed=0)

config = cellnet.TrainConfig(epochs=3, batch_size=16, lr=3e-3, augmentation="strong")
with tempfile.TemporaryDirectory() as out:
    result = train_contrastive(
        parts,
        lambda: cellnet.create_model("cnn", cells.labels, image_size=32),
        (config, classifier_config(config)),
        out,
    )
model = result.fit.model
print(result.report)

index = NeighbourIndex.build(model, train)
for neighbour in model.neighbours(test.image(0), index, k=3)[0]:
    print(f"{neighbour.similarity:.3f}  {neighbour.label:12}  {neighbour.file}")
print(f"The cell itself is a {cells.labels.names[test.targets[0]]}.")
