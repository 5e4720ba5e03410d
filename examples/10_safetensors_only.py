"""Use a checkpoint folder with nothing but safetensors and timm: cellnet is not imported for the model."""

import json
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torchvision.transforms import InterpolationMode  # torchvision comes with timm
from torchvision.transforms.v2.functional import center_crop, resize

folder = Path(find_spec("cellnet").submodule_search_locations[0], "weights", "mobilenet_v2")  # or any other folder

config = json.loads((folder / "config.json").read_text())
architecture, preprocess = config["architecture"], config["architecture"]["preprocess"]
labels = [cell["name"] for cell in architecture["labels"]["classes"]]

# Weights are stored small: "name" in half precision, or in bytes with its scales in "name::scale". "probes.…" is what
# cellnet knows beside the classes.
stored = load_file(folder / "model.safetensors")
state = {}
for name, value in stored.items():
    if not name.startswith("probes.") and not name.endswith("::scale"):
        weight = value.float() if value.is_floating_point() else value
        if name + "::scale" in stored:
            weight = value.float() * stored[name + "::scale"].view(-1, *[1] * (value.ndim - 1))
        state[name.replace("backbone.net.", "").replace("head.classify.1.", "classifier.")] = weight

net = timm.create_model("mobilenetv2_100", num_classes=len(labels)).eval()
net.load_state_dict(state)  # strict: every name fits


def logits_of(images: torch.Tensor) -> torch.Tensor:
    """uint8 N x 3 x H x W -> logits N x C."""
    side = round(preprocess["crop"] * min(images.shape[-2:]))
    mode = InterpolationMode(preprocess["interpolation"])
    images = resize(center_crop(images, [side, side]), [preprocess["image_size"]] * 2, mode, antialias=True)
    mean, std = (torch.tensor(preprocess[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        return net((images / 255 - mean) / std)


# The golden images and logits beside the weights say whether it is the same model.
golden = load_file(folder / "golden.safetensors")
difference = (logits_of(golden["images"]) - golden["logits"]).abs().max()
print(f"{len(labels)} classes; largest difference from the golden logits: {difference:.1e}")
if difference > 1e-3:
    raise SystemExit("not the same model")
