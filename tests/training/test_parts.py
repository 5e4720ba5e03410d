"""Parts that would make a result worthless are refused."""

from __future__ import annotations

import numpy as np
import pytest

from cellnet.datasets import CellDataset, load_dataset
from cellnet.errors import DataError, LabelError
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier, create_model
from cellnet.training.parts import check_parts


def test_parts_in_the_wrong_place(tiny_model: CellClassifier) -> None:
    train, val, test = load_dataset("synthetic", per_class=6, image_size=32).split((0.4, 0.3, 0.3))
    check_parts(tiny_model, train, val)
    with pytest.raises(DataError, match="'test' part was given where the 'train' part belongs"):
        check_parts(tiny_model, test, val)
    with pytest.raises(DataError, match="'test' part was given where the 'val' part belongs"):
        check_parts(tiny_model, train, test)
    with pytest.raises(DataError, match="val part is empty"):
        check_parts(tiny_model, train, val.subset([]))


def test_one_image_in_both_parts(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    with pytest.raises(DataError, match="3 images stand in both"):
        check_parts(tiny_model, synthetic, synthetic.subset([0, 20, 47]))


def test_other_labels(synthetic: CellDataset) -> None:
    model = create_model("cnn", LabelSchema.from_names(["a", "b"]), image_size=32)
    with pytest.raises(LabelError, match="make the model with labels"):
        check_parts(model, *synthetic.folds(2)[0])


def test_a_class_without_a_training_image_is_named(tiny_model: CellClassifier, synthetic: CellDataset) -> None:
    train, val = synthetic.folds(2)[0]
    some = train.subset(~np.isin(train.targets, [1, 6]))
    with pytest.warns(UserWarning, match="no image of eosinophil, neutrophil: .* these classes"):
        check_parts(tiny_model, some, val)
    with pytest.raises(DataError, match="images of 'basophil' only; a classifier needs at least two classes"):
        check_parts(tiny_model, train.subset(train.targets == 0), val)
