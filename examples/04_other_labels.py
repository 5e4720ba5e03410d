"""Judge a model on images whose folders are named otherwise: labels are mapped, never guessed."""

from pathlib import Path

from PIL import Image

import cellnet

# A stand-in for another laboratory's folders: three of the samples' classes under other names, one unknown.
names = {"neutrophil": "Neut", "lymphocyte": "LYM", "monocyte": "Monocytes", "platelet": "blast"}
samples = cellnet.samples()
for i, target in enumerate(samples.targets):
    if folder := names.get(samples.labels.names[target]):
        path = Path("other_lab", folder, f"{i}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(samples.image(i).permute(1, 2, 0).numpy()).save(path)

model = cellnet.load_pretrained()
other = cellnet.load_dataset("folder", "other_lab")
mapping = cellnet.harmonise(other.labels, model.labels)
print("not comparable:", mapping.not_comparable)

comparable = other.harmonise(model.labels)
print(f"{len(comparable)} of {len(other)} images can be judged")
print(cellnet.evaluate(model, comparable))
