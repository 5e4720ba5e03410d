"""The evaluator that MedMNIST publishes, and ours, on one file of BloodMNIST's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from cellnet.datasets.bloodmnist import SIZES, BloodMNIST
from cellnet.evaluation import Report, metrics
from cellnet.evaluation.metrics import confusion_matrix
from cellnet.evaluation.ranking import roc_areas
from cellnet.inference import Predictions

SIDE, COUNTS = 28, {"train": 24, "val": 16, "test": 600}
CLASSES = 8


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with bloodmnist.npz."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in COUNTS.items():
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
        arrays[f"{part}_labels"] = rng.permutation(np.arange(count) % CLASSES)[:, None].astype(np.uint8)
    np.savez(tmp_path / SIZES[SIDE], **arrays)
    return tmp_path


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("skill", [0.0, 1.5, 20.0], ids=["guessing", "middling", "perfect"])
def test_accuracy_and_area_are_medmnists(root: Path, skill: float, ties: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root))  # its import makes a folder there
    medmnist = pytest.importorskip("medmnist")
    cells = BloodMNIST(root).official_split()[2]
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(len(cells), CLASSES))
    logits[np.arange(len(cells)), cells.targets] += skill
    probabilities = softmax(logits, axis=1)
    if ties:
        probabilities = rng.multinomial(20, probabilities) / 20
    probabilities = probabilities.astype(np.float32)
    theirs = medmnist.Evaluator("bloodmnist", "test", root=str(root)).evaluate(probabilities)

    confusion = confusion_matrix(cells.targets, probabilities.argmax(axis=1), CLASSES)
    assert metrics.accuracy(confusion).item() == pytest.approx(theirs.ACC, rel=0, abs=1e-12)
    assert roc_areas(probabilities, cells.targets).mean() == pytest.approx(theirs.AUC, rel=0, abs=1e-12)
    report = Report.from_predictions(
        Predictions(cells.files, cells.labels, probabilities, targets=cells.targets.tolist())
    )
    assert report.accuracy.value == pytest.approx(theirs.ACC, rel=0, abs=1e-12)
    assert report.metrics["macro_roc_auc"].value == pytest.approx(theirs.AUC, rel=0, abs=1e-12)
