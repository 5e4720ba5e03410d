"""Scores on the validation part, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss

from cellnet.datasets import CellDataset
from cellnet.models import CellClassifier
from cellnet.training import TrainConfig
from cellnet.training.loading import TrainingView, scoring_loader
from cellnet.training.processes import create_accelerator
from cellnet.training.scoring import all_logits, scores


def test_scores_agree_with_scikit_learn() -> None:
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    targets = np.random.default_rng(0).integers(0, 4, 50)
    found, guesses = scores(logits, targets), logits.argmax(1).numpy()
    assert found["val_accuracy"] == pytest.approx(accuracy_score(targets, guesses))
    assert found["val_macro_f1"] == pytest.approx(f1_score(targets, guesses, average="macro"))
    assert found["val_loss"] == pytest.approx(log_loss(targets, logits.double().softmax(1).numpy()))


def test_logits_come_in_the_order_of_the_images(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    tiny_model.train()
    loader = scoring_loader(TrainingView(synthetic, tiny_model.preprocess), 10, workers=0)
    accelerator = create_accelerator(TrainConfig(), "cpu")
    logits = all_logits(tiny_model, loader, accelerator, (48, 8))
    assert tiny_model.training
    assert logits is not None
    assert logits.numpy() == pytest.approx(tiny_model.predict(synthetic).logits, abs=1e-5)
    assert all_logits(tiny_model, loader, accelerator, (48, 8), stop=lambda: True) is None
    assert tiny_model.training
