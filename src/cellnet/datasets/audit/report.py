"""What an audit found, as objects, as text, as JSON and as a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cellnet._version import __version__
from cellnet.datasets import splits
from cellnet.datasets.audit import html, text
from cellnet.datasets.audit.drift import ClassDrift, Drift, LookDrift
from cellnet.datasets.audit.files import ImageSize
from cellnet.datasets.audit.frame import FrameProbe
from cellnet.errors import DataError
from cellnet.files import write_text

if TYPE_CHECKING:
    from cellnet.datasets.base import CellDataset


@dataclass(frozen=True)
class Pair:
    """Two images of the same spot of a smear, or the first two of a group that stands in two parts.

    Args:
        file_a: One image.
        file_b: The other.
        part_a: Part of the one.
        part_b: Part of the other.
        label_a: Class of the one.
        label_b: Class of the other.
        kind: ``"identical"``, ``"near"``, ``"overlap"`` or ``"group"``, see `cellnet.datasets.audit.text.KINDS`.
        correlation: Normalised cross-correlation where they overlap, at most 1; 0 for a group.
        shift: Pixels of b, down and right, from the middle of b to that of a.
        indices: Their indices among all images of the audit, the parts one after the other.
        group: The group that both are of, where that is why they are a pair.
    """

    file_a: str
    file_b: str
    part_a: str
    part_b: str
    label_a: str
    label_b: str
    kind: str
    correlation: float
    shift: tuple[int, int]
    indices: tuple[int, int]
    group: str = ""

    @property
    def leak(self) -> bool:
        """Whether the two stand in different parts."""
        return self.part_a != self.part_b

    @property
    def conflict(self) -> bool:
        """Whether one cell bears two labels; in an overlap or a group, each label is that of another cell."""
        return self.label_a != self.label_b and self.kind not in ("overlap", "group")


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be read.

    Args:
        file: The image.
        part: Its part.
        reason: What is wrong and what to do.
    """

    file: str
    part: str
    reason: str


@dataclass(frozen=True, eq=False)
class Audit:
    """What `cellnet.audit` found; ``print(audit)`` shows it, `save` writes it with pictures.

    Args:
        title: What was audited.
        images: Number of images of each part, in the order given.
        pairs: Images of the same spot of a smear, identical ones first, and of groups in two parts, last.
        unreadable: Images that cannot be read; no other finding includes them.
        stray: Files in the folders of the images that are none.
        sizes: Sizes of the images, most frequent first.
        shares: Number of images of each class in each part: part -> class -> images.
        frame_probe: Class signal in the frame; None where there are too few images.
        drift: Differences between the parts; None if there is one part only.
        near: Whether pairs that are not identical were looked for.
        together: Content hash of each image that is in a pair -> number that all images it is chained to, by pairs and
            groups, share.
        picture: Gives the image of an index as uint8 3×H×W, for the page.
    """

    title: str
    images: Mapping[str, int]
    pairs: tuple[Pair, ...]
    unreadable: tuple[Unreadable, ...]
    stray: tuple[str, ...]
    sizes: tuple[ImageSize, ...]
    shares: Mapping[str, Mapping[str, int]]
    frame_probe: FrameProbe | None
    drift: Drift | None
    near: bool
    together: Mapping[str, int]
    picture: Callable[[int], Tensor]

    @property
    def leaks(self) -> tuple[Pair, ...]:
        """Pairs across parts: a model judged on one part has seen the cell, or the donor, in another."""
        return tuple(pair for pair in self.pairs if pair.leak)

    @property
    def label_conflicts(self) -> tuple[Pair, ...]:
        """Pairs of one cell with two labels."""
        return tuple(pair for pair in self.pairs if pair.conflict)

    @property
    def ok(self) -> bool:
        """Whether no spot of a smear, and no group, stands in two parts."""
        return not self.leaks

    def raise_on_leak(self) -> None:
        """Do nothing if the parts are apart.

        Raises:
            DataError: They are not; the message names the first pairs and what to do.
        """
        leaks = self.leaks
        if leaks:
            first = "; ".join(map(text.describe, leaks[:3]))
            raise DataError(
                f"{len(leaks)} pair(s) of images that belong together stand in two parts: {first}"
                f"{' …' if len(leaks) > 3 else ''}. Audit the undivided data set and split it by what belongs "
                "together: dataset.with_groups(cellnet.audit(dataset).groups(dataset)).split()."
            )

    def groups(self, dataset: CellDataset) -> NDArray[np.object_]:
        """One value an image for `CellDataset.with_groups`, which keeps images of one spot together in every split.

        Args:
            dataset: The audited data set, or any choice of its images. Groups that it has stay whole: a pair
                that ties two of them makes them one.

        Returns:
            N integers, equal for images that belong together; None for an image that belongs to no other.

        Raises:
            ImageError: A file cannot be read; the message names it.
        """
        found = [self.together.get(content) for content in dataset.content_hashes()]
        known: list[Any] = [None] * len(dataset) if dataset.groups is None else dataset.groups.tolist()
        units = splits.connect(found, known).tolist()
        alone = [unit is None and group is None for unit, group in zip(found, known, strict=True)]
        groups = np.empty(len(dataset), object)
        groups[:] = [None if single else unit for single, unit in zip(alone, units, strict=True)]
        return groups

    def __str__(self) -> str:
        return text.summary(self)

    def to_dict(self) -> dict[str, Any]:
        """All findings as plain JSON types."""
        found = {
            "title": self.title,
            "images": dict(self.images),
            "ok": self.ok,
            "near": self.near,
            "counts": {kind: text.counts(self, kind) for kind in text.KINDS},
            "pairs": [asdict(pair) | {"leak": pair.leak, "conflict": pair.conflict} for pair in self.pairs],
            "unreadable": [asdict(entry) for entry in self.unreadable],
            "stray": list(self.stray),
            "sizes": [asdict(size) for size in self.sizes],
            "shares": {part: dict(counts) for part, counts in self.shares.items()},
            "frame_probe": None if self.frame_probe is None else _flagged(self.frame_probe, "signal"),
            "drift": None
            if self.drift is None
            else {
                "classes": None if self.drift.classes is None else _flagged(self.drift.classes, "notable"),
                "looks": [_flagged(look, "notable") for look in self.drift.looks],
                "apart": list(self.drift.apart),
            },
            "version": __version__,
        }
        return json.loads(json.dumps(found))  # type: ignore[no-any-return]

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write audit.html, with the pairs as pictures, and audit.json.

        Args:
            folder: Made if it is not there; files of an earlier audit in it are replaced.

        Returns:
            The path of audit.html.

        Raises:
            ConfigError: The folder cannot be written.
        """
        out = Path(folder)
        write_text(out / "audit.json", json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")
        return write_text(out / "audit.html", html.render(self))


def _flagged(finding: FrameProbe | ClassDrift | LookDrift, flag: str) -> dict[str, Any]:
    """A finding and its verdict."""
    return asdict(finding) | {flag: getattr(finding, flag)}
