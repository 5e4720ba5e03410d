"""Named augmentations: which changes a training makes, and how far they go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cellnet.augment.camera import RandomBlur, RandomJpeg
from cellnet.augment.colour import RandomColour
from cellnet.augment.draws import check_numbers, happens
from cellnet.augment.geometry import RandomCutOut, RandomDihedral, RandomRotationScale
from cellnet.augment.pixels import check_image
from cellnet.augment.stain import RandomStain
from cellnet.errors import ConfigError
from cellnet.registry import check_name

Change = Callable[[Tensor], Tensor]
"""uint8 3×H×W to uint8 of the same shape, drawing from torch's global generator."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes, one after the other: uint8 3×H×W to uint8 of the same shape.

    All draws come from torch's global generator, so that ``torch.manual_seed`` repeats them to the last pixel,
    and data-loader workers, which torch seeds one by one, draw different changes. A changed image lies
    channels-last in memory, as decoded ones do.

    Args:
        changes: In order; of this package or your own.

    Example:
        >>> import torch
        >>> augment = Augmentation((RandomDihedral(), Sometimes(RandomBlur(), probability=0.1)))
        >>> augment(torch.zeros(3, 48, 64, dtype=torch.uint8)).shape
        torch.Size([3, 48, 64])
    """

    changes: tuple[Change, ...] = ()

    def __call__(self, image: Tensor) -> Tensor:
        """Change one image at random.

        Raises:
            ImageError: Not uint8 3×H×W on the CPU.
        """
        check_image(image)
        for change in self.changes:
            image = change(image)
        return image

    def of_batch(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Change a whole batch where it lies, e.g. on a GPU; each image has draws of its own.

        Other draws than one by one, of the same laws.

        Args:
            images: uint8 N×3×H×W on any device; N may be 0.
            generator: All draws come from it; on the CPU.

        Returns:
            uint8 of the same shape.

        Raises:
            ConfigError: A change that is made one by one; see `one_by_one`.

        Example:
            >>> import torch
            >>> images = torch.zeros(2, 3, 48, 48, dtype=torch.uint8)
            >>> create_augmentation("strong").of_batch(images, torch.Generator().manual_seed(0)).shape
            torch.Size([2, 3, 48, 48])
        """
        if names := self.one_by_one:
            raise ConfigError(f"{', '.join(names)}: made one image at a time, not in batches; leave that out.")
        for change in self.changes if len(images) else ():
            images = change.of_batch(images, generator)  # type: ignore[attr-defined]
        return images

    @property
    def one_by_one(self) -> list[str]:
        """The changes that have no ``of_batch``, by name."""
        return one_by_one(*self.changes)


@dataclass(frozen=True)
class Sometimes:
    """A change that only some images undergo.

    Args:
        change: The change.
        probability: Share of the images that undergo it, 0-1.
        otherwise: What the other images undergo; nothing, where it is None.

    Raises:
        ConfigError: ``probability`` is not in 0-1.
    """

    change: Change
    probability: float
    otherwise: Change | None = None

    def __post_init__(self) -> None:
        check_numbers("probability", [self.probability], 0, 1)

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 3×H×W to the same shape."""
        if happens(self.probability):
            return self.change(image)
        return image if self.otherwise is None else self.otherwise(image)

    def of_batch(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 N×3×H×W on any device to the same shape; each image has draws of its own."""
        happens = torch.rand(len(images), generator=generator) < self.probability
        images = images.clone()
        for chosen, change in ((happens, self.change), (~happens, self.otherwise)):
            rows = chosen.nonzero().flatten().to(images.device)  # counted on the CPU, so the device need not wait
            if change is not None and len(rows):
                images[rows] = change.of_batch(images[rows], generator)  # type: ignore[attr-defined]
        return images

    @property
    def one_by_one(self) -> list[str]:
        """The changes that have no ``of_batch``, by name."""
        return one_by_one(self.change, *([] if self.otherwise is None else [self.otherwise]))


def one_by_one(*changes: Change) -> list[str]:
    """Names of the changes that can only be made one image at a time."""
    names: list[str] = []
    for change in changes:
        if isinstance(change, Augmentation | Sometimes):
            names += change.one_by_one
        elif not hasattr(change, "of_batch"):
            names.append(getattr(change, "__name__", type(change).__name__))
    return names


def _light() -> Augmentation:
    return Augmentation((RandomDihedral(),))


def _strong() -> Augmentation:
    return Augmentation((RandomRotationScale(), RandomColour(), Sometimes(RandomBlur(), 0.2)))


def _domain() -> Augmentation:
    return Augmentation(
        (
            Sometimes(RandomCutOut(), 0.5),
            RandomRotationScale(scale=(0.6, 2.0), shift=0.08),
            RandomStain(strength=(0.5, 1.2), factor=(0.8, 1.25), offset=0.03),
            RandomColour(brightness=(0.7, 1.1), contrast=(0.6, 1.2), saturation=(0.7, 2.0), hue=15.0, balance=0.15),
            Sometimes(RandomBlur(sigma=(0.5, 2.0)), 0.3),
            Sometimes(RandomJpeg(quality=(30, 90)), 0.3),
        )
    )


def _mixed() -> Augmentation:
    return Augmentation((Sometimes(_domain(), 0.5, otherwise=_light()),))


PRESETS: dict[str, Callable[[], Augmentation]] = {
    "none": Augmentation,
    "light": _light,
    "strong": _strong,
    "mixed": _mixed,
    "domain": _domain,
}
"""Name of each preset, weakest first, and what makes it."""


def create_augmentation(name: str) -> Augmentation:
    """The augmentation preset called ``name``: ``"none"``, ``"light"``, ``"strong"``, ``"mixed"`` or ``"domain"``.

    Returns:
        A picklable callable, uint8 3×H×W to uint8 of the same shape.

    Raises:
        UnknownNameError: No such preset.

    Example:
        >>> import torch
        >>> augment = create_augmentation("strong")
        >>> augment(torch.zeros(3, 64, 64, dtype=torch.uint8)).shape
        torch.Size([3, 64, 64])
    """
    return PRESETS[check_name("augmentation", name, PRESETS)]()
