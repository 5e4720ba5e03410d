"""What the study printed: test accuracy of its 5,128 test images, without and with its "shuffling".

Source: "Decoding Cellular Complexity: A Deep Learning Expedition in Blood Cell Image Classification" (FICC 2025). Its
Xception row without shuffling is 97.17 % in the text; the table printed the 89.84 % of another row.
"""

from __future__ import annotations

PUBLISHED: dict[str, dict[str, float]] = {
    "cnn": {"without": 0.8660, "with": 0.9108},
    "unet": {"without": 0.9404, "with": 0.9466},
    "resnet50_sgd": {"without": 0.9076, "with": 0.8988},
    "resnet50_rmsprop": {"without": 0.8922, "with": 0.9240},
    "vgg16": {"without": 0.8036, "with": 0.7936},
    "densenet201": {"without": 0.9017, "with": 0.8709},
    "mobilenet_v2": {"without": 0.8539, "with": 0.8561},
    "inception_v3": {"without": 0.8984, "with": 0.9171},
    "xception": {"without": 0.9717, "with": 0.9789},
    "supcon": {"without": 0.9733, "with": 0.9635},
    # One hybrid a column there: nothing frozen without shuffling, in two stages with it.
    "hybrid_two_stage": {"with": 0.9851},
    "hybrid_joint": {"without": 0.9857},
}
"""Row -> shuffling -> share of right images."""
