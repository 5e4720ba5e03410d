"""Turn a checkpoint folder into one that timm loads by itself, from disk or as hf-hub:… once you upload it."""

import json
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

import cellnet

# Once, with cellnet: the same weights under timm's names, and a configuration that timm reads.
model = cellnet.load_pretrained("mobilenet_v2")
names = {"backbone.net.": "", "head.classify.1.": "classifier."}
state = {
    new + key.removeprefix(old): value
    for key, value in model.state_dict().items()
    for old, new in names.items()
    if key.startswith(old)
}
size = model.preprocess.image_size
folder = Path("timm_mobilenet_v2")
folder.mkdir(exist_ok=True)
save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
config = {
    "architecture": "mobilenetv2_100",
    "num_classes": len(model.labels),
    "label_names": list(model.labels.names),
    "pretrained_cfg": {
        "input_size": [3, size, size],
        "mean": model.preprocess.mean,
        "std": model.preprocess.std,
        "interpolation": model.preprocess.interpolation,
        "crop_pct": model.preprocess.crop,
        "classifier": "classifier",
    },
}
(folder / "config.json").write_text(json.dumps(config))

# From then on, without cellnet. Uploaded to the Hub, the folder is timm.create_model("hf-hub:me/name", …).
net = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
cfg = net.pretrained_cfg
mean, std = (torch.tensor(cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
image = model.preprocess(cellnet.samples().image(0))[None]  # uint8 3 x size x size: cut and resized
with torch.no_grad():
    logits = net((image / 255 - mean) / std)
    wanted = model(image)
print(f"{cfg['label_names'][logits.argmax()]}; largest difference of a logit: {(logits - wanted).abs().max():.1e}")
if not torch.allclose(logits, wanted, atol=1e-4):
    raise SystemExit("timm and cellnet disagree")
