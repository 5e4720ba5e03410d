"""What must be known about a data set or a set of weights before it is used; plain data, stored as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from cellnet.errors import ConfigError
from cellnet.registry import check_name


class Card:
    """Frozen dataclass <-> JSON. Subclasses are dataclasses with JSON types and tuples of them."""

    def to_dict(self) -> dict[str, Any]:
        """The card as plain JSON types."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            UnknownNameError: A field that this card does not have.
            ConfigError: A required field is missing, or ``data`` is not a dictionary.
        """
        if not isinstance(data, dict):
            raise ConfigError(f"{cls.__name__} is read from a dictionary of its fields, not from {data!r}.")
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        for key in data:
            check_name(f"{cls.__name__} field", key, known)
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"{cls.__name__} is incomplete: {error}; it needs {sorted(known)}.") from error


@dataclass(frozen=True)
class RemoteFile(Card):
    """A file of a data set, and where to get it.

    Args:
        name: Its name on disk.
        urls: Addresses of the same bytes, tried in turn. None: it has to be fetched by hand.
        sha256: SHA-256 of the bytes in hexadecimal, where it is known.
        md5: MD5 as the publisher states it, where there is no SHA-256.
        size: Bytes, for orientation; checked only where there is no hash, and the server does not tell the length.
        instructions: How to get it by hand, e.g. where to register.

    Raises:
        ConfigError: A name with a folder in it, or an address that is not http or https.
    """

    name: str
    urls: tuple[str, ...] = ()
    sha256: str = ""
    md5: str = ""
    size: int | None = None
    instructions: str = ""

    def __post_init__(self) -> None:
        if not self.name or self.name in (".", "..") or any(c in self.name for c in "/\\:\0"):
            raise ConfigError(f"{self.name!r} is not the name of a file; give one without folders.")
        for url in self.urls:
            if not url.startswith(("https://", "http://")):
                raise ConfigError(f"{url!r} is not an http or https address; correct the card of {self.name}.")


@dataclass(frozen=True)
class DatasetCard(Card):
    """Facts about a data set.

    Args:
        name: Name in the registry.
        title: Full name.
        description: What it holds, in a sentence or two.
        source: Where it is published.
        licence: SPDX identifier or the owner's words.
        citation: How to cite it.
        doi: DOI of the data.
        stain: Stain, e.g. ``"May-Grünwald-Giemsa"``.
        scanner: Microscope or analyser.
        microns_per_pixel: Scale in µm per pixel where it is known.
        num_images: Published number of images, for orientation only: never used to reject data.
        known_defects: Defects that a user should know of.
        files: What is downloaded.
    """

    name: str
    title: str
    description: str = ""
    source: str = ""
    licence: str = ""
    citation: str = ""
    doi: str = ""
    stain: str = ""
    scanner: str = ""
    microns_per_pixel: float | None = None
    num_images: int | None = None
    known_defects: tuple[str, ...] = ()
    files: tuple[RemoteFile, ...] = ()

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; raises as `Card.from_dict`."""
        card = super().from_dict(data)
        files = (file if isinstance(file, RemoteFile) else RemoteFile.from_dict(file) for file in card.files)
        return replace(card, files=tuple(files))


@dataclass(frozen=True)
class Scoring(Card):
    """One time that weights were judged on labelled images.

    Args:
        data: The data set, in words.
        part: ``"test"``, another part, or nothing for the whole set.
        images: Number of images scored.
        metrics: Figures: name -> {"value", "low", "high"}.
        per_class: Figures of each class, by its name, each with the number ``n`` of its images.
        called: C×(C+1) counts: true class by called class, and those abstained from in the last column.
        version: Version of the weights that were judged.
        date: Day of the judgement, as 2026-01-31.
        note: How it was done, where that is not plain, e.g. with normalisation measured on these images.
    """

    data: str
    part: str = ""
    images: int = 0
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    per_class: dict[str, dict[str, Any]] = field(default_factory=dict)
    called: tuple[tuple[int, ...], ...] = ()
    version: str = "1"
    date: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "called", tuple(map(tuple, self.called)))


@dataclass(frozen=True)
class WeightsCard(Card):
    """Facts about a set of trained weights, written from the run that made them and the reports that judged them.

    Args:
        name: Name under which `load_pretrained` finds them.
        version: Version of the weights.
        licence: SPDX identifier.
        training_data: Name of the data set.
        training_data_hash: Hash of the images and labels trained on.
        split: How the images were divided, in words.
        starting_weights: Where the training started from.
        command: The command that made them.
        metrics: Figures on the test part: name -> {"value", "low", "high"}.
        num_test_images: Number of images behind ``metrics``.
        limits: What the figures do not say.
        scorings: Every time that these weights, or earlier versions of them, were judged on images that they were not
            trained on; the one behind ``metrics`` too.
        training_set: What the training data are: title, source, licence, citation, stain, scanner.
        training: How the weights came about: seed, epochs, the epoch chosen, precision, hours, machine, versions.
        speed: Images a second, size of a batch, machine.
        seen: Other data sets that the weights learned from before, or through a teacher: name -> hash as above.
    """

    name: str
    version: str = "1"
    licence: str = "Apache-2.0"
    training_data: str = ""
    training_data_hash: str = ""
    split: str = ""
    starting_weights: str = ""
    command: str = ""
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    num_test_images: int = 0
    limits: tuple[str, ...] = ()
    scorings: tuple[Scoring, ...] = ()
    training_set: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    speed: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)

    @property
    def learned_from(self) -> dict[str, str]:
        """Every data set that the weights ever learned from: name -> hash of the images and labels."""
        return {**self.seen, self.training_data: self.training_data_hash}

    @property
    def headline(self) -> Scoring | None:
        """The scoring that ``metrics`` come from; None where it was not kept."""
        return next((scoring for scoring in reversed(self.scorings) if scoring.metrics == self.metrics), None)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; raises as `Card.from_dict`."""
        card = super().from_dict(data)
        scorings = (
            scoring if isinstance(scoring, Scoring) else Scoring.from_dict(scoring) for scoring in card.scorings
        )
        return replace(card, scorings=tuple(scorings))
