"""Classify images with the shipped model: three lines, no network."""

import cellnet

model = cellnet.load_pretrained()
predictions = model.predict(cellnet.samples().files)  # also a folder, PIL images, arrays, tensors
predictions.to_csv("predictions.csv")

for p in list(predictions)[:8]:
    second = f"then {p.second}" if p.second else ""
    print(f"{p.label:<14} {p.probability:.3f}  {second:<20} {'abstains' if p.abstain else ''}")
