"""Compose backbones, start from trained branches, and freeze them, as the study's hybrid does."""

import torch

import cellnet

images = torch.stack([cellnet.samples().image(0)])  # uint8, 0 to 255: normalisation happens inside

pair = cellnet.create_model("cnn+timm:resnet18", image_size=96)
print("two backbones, one vector:", tuple(pair.features(images).shape))

# The study's second stage: two classifiers, each trained alone before, joined and frozen.
inception = cellnet.create_model("inception_v3", image_size=96, head="study")
xception = cellnet.create_model("xception", image_size=96, head="study")
hybrid = cellnet.HybridInceptionXception.from_branches(inception, xception, freeze=True)
hybrid.train()  # what is frozen stays frozen
trained = sum(p.numel() for p in hybrid.parameters() if p.requires_grad)
total = sum(p.numel() for p in hybrid.parameters())
print(f"hybrid: {trained / 1e6:.1f} of {total / 1e6:.1f} million parameters are trained")
