"""A teacher's soft labels: beside Hinton's formula, and what cannot teach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import ConfigError, LabelError
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier, create_model
from cellnet.training import TrainConfig, Trainer
from cellnet.training.distillation import Teacher


@pytest.fixture
def teacher() -> CellClassifier:
    torch.manual_seed(3)
    return create_model("cnn", image_size=32)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_gradient_is_that_of_cross_entropy_and_hintons_divergence(teacher: CellClassifier, images: Tensor) -> None:
    labels, logits = torch.tensor([0, 1, 2, 3]), torch.randn(4, 8, requires_grad=True)
    targets = Teacher(teacher, weight=0.3)(images, F.one_hot(labels, 8).float())
    (ours,) = torch.autograd.grad(F.cross_entropy(logits, targets), logits)

    soft = teacher(images).softmax(1)
    divergence = F.kl_div(logits.log_softmax(1), soft, reduction="batchmean")
    (wanted,) = torch.autograd.grad(0.7 * F.cross_entropy(logits, labels) + 0.3 * divergence, logits)
    torch.testing.assert_close(ours, wanted)


def test_a_temperature_softens_and_weight_0_leaves_the_labels(teacher: CellClassifier, images: Tensor) -> None:
    labels = F.one_hot(torch.tensor([0, 1, 2, 3]), 8).float()
    assert torch.equal(Teacher(teacher, weight=0)(images, labels), labels)
    sharp, soft = (Teacher(teacher, 1, temperature)(images, labels) for temperature in (0.1, 10))
    assert (sharp.max(1).values > soft.max(1).values).all()
    torch.testing.assert_close(soft.sum(1), torch.ones(4))


def test_the_teacher_sees_its_own_image_size_and_does_not_learn(teacher: CellClassifier) -> None:
    large = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    seen = []
    teacher.backbone.register_forward_hook(lambda module, args, output: seen.append(args[0].shape[-1]))
    targets = Teacher(teacher)(large, torch.eye(8)[:2])
    assert seen == [32]
    assert not targets.requires_grad
    assert not teacher.training


def test_a_student_learns_what_its_teacher_says_not_what_the_labels_say(
    teacher: CellClassifier, parts: tuple[CellDataset, CellDataset]
) -> None:
    with torch.no_grad():
        teacher.head.classify[1].bias[3] = 20  # all cells are immature granulocytes

    def accuracy(weight: float) -> float:
        config = TrainConfig(epochs=20, batch_size=8, lr=3e-3, augmentation="none", distill_weight=weight)
        torch.manual_seed(0)
        student = create_model("cnn", image_size=32, dropout=0)
        fit = Trainer(student, config, distill=teacher, device="cpu").fit(*parts)
        return float(fit.history[-1]["val_accuracy"])

    assert accuracy(1.0) == 1 / 8
    assert accuracy(0.0) > 1 / 8


def test_a_teacher_of_other_classes_or_another_crop_is_refused(
    teacher: CellClassifier, parts: tuple[CellDataset, CellDataset]
) -> None:
    stranger = create_model("cnn", LabelSchema.from_names(["blast", "other"]), image_size=32)
    with pytest.raises(LabelError, match="The teacher knows the classes blast, other, the model to train basophil"):
        Trainer(create_model("cnn", image_size=32), distill=stranger, device="cpu").fit(*parts)
    teacher.preprocess = replace(teacher.preprocess, crop=0.5)
    with pytest.raises(ConfigError, match=r"crop=0.5, the model to train cuts with crop=1.0.*Use the same crop"):
        Trainer(create_model("cnn", image_size=32), distill=teacher, device="cpu").fit(*parts)


def test_another_teacher_is_another_run(
    teacher: CellClassifier, parts: tuple[CellDataset, CellDataset], tmp_path: Path
) -> None:
    config = TrainConfig(epochs=1, batch_size=8)
    Trainer(create_model("cnn", image_size=32), config, out=tmp_path, distill=teacher, device="cpu").fit(*parts)
    other = create_model("cnn", image_size=32)
    with pytest.raises(ConfigError, match="cannot be continued: teacher was"):
        Trainer(create_model("cnn", image_size=32), config, out=tmp_path, distill=other, device="cpu").fit(
            *parts, resume=True
        )


@pytest.fixture(scope="module")
def parts() -> tuple[CellDataset, CellDataset]:
    return load_dataset("synthetic", per_class=4, image_size=32, seed=1).folds(2)[0]
