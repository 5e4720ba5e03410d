"""``config.json`` of a checkpoint folder: everything about a model but its weights, checked as it is read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeVar

from cellnet._version import __version__
from cellnet.cards import WeightsCard
from cellnet.errors import CellnetError, ConfigError, WeightsError
from cellnet.files import write_text
from cellnet.hub.storage import STORAGES
from cellnet.inference import PredictionSets, RiskControl
from cellnet.labels import LabelSchema
from cellnet.models import Calibrator, TemperatureScaling
from cellnet.registry import check_name

FORMAT = 3
"""Raised when an older cellnet could no longer read the folder; new keys alone do not raise it. A folder is written in
the oldest format that can say what it holds: 2 are shared tensors, 3 are probes in a file of their own."""

NAME = "config.json"

RUN_PLACES = ("model", "classifier/model", "hybrid/model")
"""Where a run folder of ``cellnet train`` holds its model."""

THRESHOLDS = ("probability", "distance", "energy")

_MAX_BYTES = 1_000_000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

T = TypeVar("T")


@dataclass(frozen=True)
class Shared:
    """Tensors that lie in a checkpoint folder beside this one.

    Args:
        folder: Name of that folder.
        sha256: Hash of its weights file.
        names: What names of tensors begin with here -> what they begin with there.

    Raises:
        ConfigError: ``folder`` is no name, or a name is no text.
    """

    folder: str
    sha256: str
    names: dict[str, str]

    def __post_init__(self) -> None:
        if self.folder in ("", ".", "..") or Path(self.folder).name != self.folder or "\\" in self.folder:
            raise ConfigError(f"{self.folder!r} is not the name of a folder beside this one.")
        if not all(isinstance(word, str) for word in (self.sha256, *self.names, *self.names.values())):
            raise ConfigError(f"The names of shared tensors are texts, not {self.names!r}.")


@dataclass(frozen=True)
class CheckpointConfig:
    """The content of ``config.json``.

    Args:
        architecture: What `cellnet.models.from_architecture` builds the model from: layers, labels and
            preprocessing.
        storage: How the weights are stored.
        sha256: Hash of the weights file.
        calibrator: What turns logits into probabilities.
        thresholds: Where the model abstains, see `cellnet.inference.fit_thresholds`.
        card: Facts about the weights.
        risk_control: What the threshold of the probability guarantees, if anything.
        sets: How prediction sets are made, if at all.
        nucleus_share: How large cells look in the training images, above 0; None where it is not known.
        shared: Tensors that are not in the weights file, but beside the folder, see `cellnet.hub.sharing`.
        probes: Hash of the file of probes that take the place of those in the weights file, see `cellnet.hub.refit`;
            empty where there is none.
        golden: Hash, tolerance and library versions of the golden logits; empty where there are none.
        cellnet: Version of cellnet that wrote the folder.
    """

    architecture: dict[str, Any]
    storage: str
    sha256: str
    calibrator: Calibrator
    thresholds: dict[str, float]
    card: WeightsCard
    risk_control: RiskControl | None = None
    sets: PredictionSets | None = None
    nucleus_share: float | None = None
    shared: tuple[Shared, ...] = ()
    probes: str = ""
    golden: dict[str, Any] = field(default_factory=dict)
    cellnet: str = __version__

    @property
    def temperature(self) -> float:
        """Logits are divided by it; 1 where another calibration takes its place."""
        return self.calibrator.temperature

    @property
    def labels(self) -> LabelSchema:
        """The classes.

        Raises:
            WeightsError: The architecture has none.
        """
        try:
            return LabelSchema.from_dict(self.architecture.get("labels", {}))
        except CellnetError as error:
            raise WeightsError(f"{NAME} of {self.card.name!r} has no classes: {error}") from error

    def write(self, folder: Path) -> None:
        """Write ``config.json`` into ``folder``."""
        data: dict[str, Any] = {
            "format": FORMAT if self.probes else 2 if self.shared else 1,
            "cellnet": self.cellnet,
            "architecture": self.architecture,
            "temperature": self.temperature,
            "calibrator": None if isinstance(self.calibrator, TemperatureScaling) else self.calibrator.to_dict(),
            "thresholds": self.thresholds,
            "risk_control": self.risk_control and self.risk_control.to_dict(),
            "sets": self.sets and self.sets.to_dict(),
            "nucleus_share": self.nucleus_share,
            "card": self.card.to_dict(),
            "weights": {"storage": self.storage, "sha256": self.sha256},
            "golden": self.golden,
        }
        if self.shared:
            data["weights"]["shared"] = [asdict(shared) for shared in self.shared]
        if self.probes:
            data["weights"]["probes"] = self.probes
        write_text(folder / NAME, json.dumps(data, indent=2, allow_nan=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read and check ``config.json``; keys that this version does not know are left alone.

        Raises:
            WeightsError: It is missing, not JSON, of a newer format, or holds an impossible value.
        """
        path = folder / NAME
        data = _read_json(path)
        cls._check_format(path, data)
        try:
            weights = _get(path, data, "weights", dict)
            golden = _get(path, data, "golden", dict, {})
            share = data.get("nucleus_share")
            if golden:
                _get(path, golden, "sha256", str)
                _positive(path, "golden tolerance", golden.get("tolerance"))
                _get(path, golden, "libraries", dict, {})
            return cls(
                architecture=_read_architecture(path, data),
                storage=check_name("storage", _get(path, weights, "storage", str), STORAGES),
                sha256=_get(path, weights, "sha256", str),
                calibrator=_optional(path, data, "calibrator", Calibrator.from_dict)
                or TemperatureScaling(_positive(path, "temperature", data.get("temperature", 1.0))),
                thresholds={
                    check_name("threshold", name, THRESHOLDS): _number(path, f"threshold {name}", value)
                    for name, value in _get(path, data, "thresholds", dict, {}).items()
                },
                card=_read_card(path, _get(path, data, "card", dict)),
                risk_control=_optional(path, data, "risk_control", RiskControl.from_dict),
                sets=_optional(path, data, "sets", PredictionSets.from_dict),
                nucleus_share=None if share is None else _positive(path, "nucleus_share", share),
                shared=tuple(_read_shared(path, entry) for entry in _get(path, weights, "shared", list, [])),
                probes=_get(path, weights, "probes", str, ""),
                golden=golden,
                cellnet=str(data.get("cellnet", "unknown")),
            )
        except CellnetError as error:
            raise error if isinstance(error, WeightsError) else WeightsError(f"{path}: {error}") from error
        except (TypeError, ValueError, OverflowError, KeyError, AttributeError) as error:
            raise WeightsError(f"{path} holds a wrong value ({error!r}); get the checkpoint folder again.") from error

    @staticmethod
    def _check_format(path: Path, data: dict[str, Any]) -> None:
        number = data.get("format")
        if type(number) is not int or number < 1:
            raise WeightsError(f"{path} has no 'format' number, so cellnet did not write it; give a checkpoint folder.")
        if number > FORMAT:
            raise WeightsError(
                f"{path} has format {number}, written by cellnet {data.get('cellnet', '?')}; this is cellnet "
                f"{__version__}, which reads formats up to {FORMAT}; type pip install --upgrade cellnet."
            )


def is_own(folder: Path) -> bool:
    """Whether the folder holds a ``config.json`` that cellnet wrote, of whatever format."""
    try:
        data = _read_json(folder / NAME)
    except WeightsError:
        return False
    return type(data.get("format")) is int and {"cellnet", "architecture", "weights"} <= data.keys()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise WeightsError(f"{path} has {size:,} bytes, far too many; give a cellnet checkpoint folder.")
        data = _printable(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        inside = next((place for place in RUN_PLACES if (path.parent / place / NAME).is_file()), None)
        hint = f" Did you mean {path.parent / inside}?" if inside else ""
        raise WeightsError(
            f"{path.parent} is not a checkpoint folder: {NAME} cannot be read ({error.strerror}).{hint}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not JSON ({error}); get the checkpoint folder again.") from error
    if not isinstance(data, dict):
        raise WeightsError(f"{path} holds no JSON object; get the checkpoint folder again.")
    return data


def _printable(value: Any) -> Any:
    """The same without control characters, which could rewrite what a terminal shows; line breaks and tabs stay."""
    if isinstance(value, str):
        return _CONTROL.sub("", value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return value


def _read_architecture(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    architecture = _get(path, data, "architecture", dict)
    for cell in architecture.get("labels", {}).get("classes", []):
        if cell["name"].startswith(("=", "+", "-", "@")):
            raise WeightsError(
                f"{path}: the class {cell['name']!r} begins like a formula, which a spreadsheet would compute where it "
                "stands in a predictions file; rename the class."
            )
    return architecture


def _read_shared(path: Path, entry: object) -> Shared:
    if not isinstance(entry, dict):
        raise WeightsError(f"{path} has shared tensors without a folder; get the checkpoint folder again.")
    return Shared(_get(path, entry, "folder", str), _get(path, entry, "sha256", str), _get(path, entry, "names", dict))


def _read_card(path: Path, data: dict[str, Any]) -> WeightsCard:
    # A newer cellnet may say more about weights; that is no reason to refuse them.
    known = {f.name for f in fields(WeightsCard)}
    card = WeightsCard.from_dict({"name": path.parent.name} | {k: v for k, v in data.items() if k in known})
    for name, figure in card.metrics.items():
        for key in ("value", "low", "high"):
            _number(path, f"{key} of {name}", figure[key])
    return card


def _optional(path: Path, data: dict[str, Any], key: str, read: Callable[[dict[str, Any]], T]) -> T | None:
    return None if data.get(key) is None else read(_get(path, data, key, dict))


def _get(path: Path, data: dict[str, Any], key: str, kind: type[T], default: T | None = None) -> T:
    value = data.get(key, default)
    if not isinstance(value, kind):
        raise WeightsError(f"{path}: {key!r} is {value!r}, not a {kind.__name__}; get the checkpoint folder again.")
    return value


def _number(path: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WeightsError(f"{path}: the {name} is {value!r}, not a number; get the checkpoint folder again.")
    return float(value)


def _positive(path: Path, name: str, value: Any) -> float:
    if _number(path, name, value) <= 0:
        raise WeightsError(f"{path}: the {name} is {value!r}, but must be above 0; get the folder again.")
    return float(value)
