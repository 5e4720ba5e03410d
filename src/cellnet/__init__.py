"""cellnet: classify single blood-cell images, and know how far to trust the answer.

Importing this package imports nothing heavy: each public name is loaded when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module

from cellnet._version import __version__

TYPE_CHECKING = False  # read by type checkers as True; importing typing for it would take milliseconds
if TYPE_CHECKING:
    from cellnet.backbones import create_backbone
    from cellnet.balancing import SMOTE, EmbeddingSMOTE
    from cellnet.datasets import CellDataset, load_dataset, samples
    from cellnet.datasets.audit import audit
    from cellnet.errors import CellnetError
    from cellnet.evaluation import Estimate, Report, compare, evaluate
    from cellnet.hub import list_pretrained, load_pretrained
    from cellnet.images import Preprocess
    from cellnet.inference import Prediction, Predictions
    from cellnet.labels import LEUKOCYTES, PBC_LABELS, LabelSchema, harmonise
    from cellnet.models import CellClassifier, HybridInceptionXception, create_model
    from cellnet.training import TrainConfig, Trainer

# The same names again, for the interpreter; tests/test_init.py holds the two lists together.
_HOME = {
    "create_backbone": "backbones",
    "SMOTE": "balancing",
    "EmbeddingSMOTE": "balancing",
    "CellDataset": "datasets",
    "audit": "datasets.audit",
    "load_dataset": "datasets",
    "samples": "datasets",
    "CellnetError": "errors",
    "Estimate": "evaluation",
    "Report": "evaluation",
    "compare": "evaluation",
    "evaluate": "evaluation",
    "list_pretrained": "hub",
    "load_pretrained": "hub",
    "Preprocess": "images",
    "Prediction": "inference",
    "Predictions": "inference",
    "LEUKOCYTES": "labels",
    "PBC_LABELS": "labels",
    "LabelSchema": "labels",
    "harmonise": "labels",
    "CellClassifier": "models",
    "HybridInceptionXception": "models",
    "create_model": "models",
    "TrainConfig": "training",
    "Trainer": "training",
}

_PARTS = frozenset(
    {
        *("augment", "backbones", "balancing", "cards", "datasets", "errors", "evaluation", "experiments", "hub"),
        *("images", "inference", "labels", "losses", "models", "registry", "training"),
    }
)
"""What is reached as ``cellnet.hub`` without an import of its own."""

__all__ = [
    "LEUKOCYTES",
    "PBC_LABELS",
    "SMOTE",
    "CellClassifier",
    "CellDataset",
    "CellnetError",
    "EmbeddingSMOTE",
    "Estimate",
    "HybridInceptionXception",
    "LabelSchema",
    "Prediction",
    "Predictions",
    "Preprocess",
    "Report",
    "TrainConfig",
    "Trainer",
    "__version__",
    "audit",
    "compare",
    "create_backbone",
    "create_model",
    "evaluate",
    "harmonise",
    "list_pretrained",
    "load_dataset",
    "load_pretrained",
    "samples",
]


def __getattr__(name: str) -> object:
    if name in _PARTS:
        return import_module(f"cellnet.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'cellnet' has no attribute {name!r}; see dir(cellnet)")
    value = getattr(import_module(f"cellnet.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PARTS})
