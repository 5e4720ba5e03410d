"""Random changes that leave the class of a cell as it is, for training.

| preset   | mirrored and turned            | size     | moved | stain   | colour  | blur, JPEG           |
|----------|--------------------------------|----------|-------|---------|---------|----------------------|
| `none`   |                                |          |       |         |         |                      |
| `light`  | by right angles, not resampled |          |       |         |         |                      |
| `strong` | by any angle                   | 0.8-1.25 |       |         | 0.8-1.2 | blur: 2 of 10 images |
| `domain` | by any angle                   | 0.6-2    | ± 8 % | 0.4-1.5 | 0.6-2   | 3 of 10 images each  |

`domain` also covers the surroundings of half of its images (`cut_out`). `mixed` is `light` for one half of the images
and `domain` for the other: for images from both laboratories.

`strong` is for more images from the same laboratory, `domain` for images from another one: another amount of stain,
another camera, cells cut out closer. Colour is brightness, contrast and saturation, and a hue that moves by 10
degrees at most (`domain`: 15); hue moves little, since orange against violet granules is what tells an eosinophil
from a basophil. A cell on a smear has no up direction, so one rotation is as likely as another; what a rotation
leaves empty is filled by reflection.

The functions take explicit numbers and draw nothing; the ``Random…`` classes only draw numbers for them.
"""

from cellnet.augment.camera import RandomBlur, RandomJpeg, blur, jpeg
from cellnet.augment.colour import RandomColour, adjust_colour
from cellnet.augment.geometry import RandomCutOut, RandomDihedral, RandomRotationScale, cut_out, dihedral, rotate_scale
from cellnet.augment.lab import RandomLab, perturb_lab
from cellnet.augment.mixing import BatchMixing, cutmix, mixup
from cellnet.augment.presets import PRESETS, Augmentation, Sometimes, create_augmentation
from cellnet.augment.stain import GIEMSA, RandomStain, estimate_stains, perturb_stain

__all__ = [
    "GIEMSA",
    "PRESETS",
    "Augmentation",
    "BatchMixing",
    "RandomBlur",
    "RandomColour",
    "RandomCutOut",
    "RandomDihedral",
    "RandomJpeg",
    "RandomLab",
    "RandomRotationScale",
    "RandomStain",
    "Sometimes",
    "adjust_colour",
    "blur",
    "create_augmentation",
    "cut_out",
    "cutmix",
    "dihedral",
    "estimate_stains",
    "jpeg",
    "mixup",
    "perturb_lab",
    "perturb_stain",
    "rotate_scale",
]
