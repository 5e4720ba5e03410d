"""Train a small network from nothing on drawn cells; swap the first line for your own images."""

import cellnet

cells = cellnet.load_dataset("synthetic", per_class=30, image_size=32)
train, val, test = cells.split((0.6, 0.2, 0.2), seed=0)  # stratified, identical images never apart

net = cellnet.create_model("cnn", labels=cells.labels, image_size=32)
config = cellnet.TrainConfig(epochs=4, batch_size=16, lr=2e-3, ema=0.95)
fit = cellnet.Trainer(net, config, out="runs/drawn").fit(train, val, resume=True)  # run it again: it goes on
print(f"best epoch: {fit.best_epoch} of {len(fit.history)}")

report = cellnet.evaluate(fit.model, test, calibrate_on=val, history=fit.history, best_epoch=fit.best_epoch)
print(report)
report.save("runs/drawn/report")

fit.model.save("runs/drawn/model", overwrite=True)
again = cellnet.load_pretrained("runs/drawn/model")
print("the same logits after loading:", again.self_test().ok)
