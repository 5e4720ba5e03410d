"""Cross-validate: every image is predicted once, by a network that has not seen it."""

import numpy as np

import cellnet

cells = cellnet.load_dataset("synthetic", per_class=12, image_size=32)
config = cellnet.TrainConfig(epochs=3, batch_size=16, lr=2e-3)
right = []
for fold, (train, held_out) in enumerate(cells.folds(3, seed=0), start=1):
    # The held-out fold is judged, so the epoch is chosen on images taken from the training folds.
    inner, val = train.folds(5, seed=0)[0]
    fit = cellnet.Trainer(cellnet.create_model("cnn", cells.labels, image_size=32), config).fit(inner, val)
    labels = fit.model.predict(held_out).probabilities.argmax(1)
    right.append(labels == held_out.targets)
    print(f"fold {fold}: {right[-1].mean():.1%} of {len(held_out)}")
print(f"all folds: {np.concatenate(right).mean():.1%} of {sum(map(len, right))}")
