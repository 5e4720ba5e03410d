from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from cellnet.datasets import SyntheticCells
from cellnet.errors import ConfigError
from cellnet.labels import PBC_LABELS


def stack(dataset):
    return torch.stack([dataset.image(i) for i in range(len(dataset))])


def test_shape_labels_and_card(synthetic):
    assert synthetic.labels is PBC_LABELS
    assert set(synthetic.class_counts().values()) == {6}
    assert stack(synthetic).shape == (48, 3, 32, 32)
    assert synthetic.files[7] == "eosinophil_00001"
    assert synthetic.card.name == "synthetic"
    assert len(set(synthetic.content_hashes())) == 48


def test_a_cell_depends_on_seed_class_and_number_alone():
    few, many, other = SyntheticCells(1, 32), SyntheticCells(3, 32), SyntheticCells(1, 32, seed=1)
    assert few.content_hashes() == many.content_hashes()[::3]
    assert not set(few.content_hashes()) & set(other.content_hashes())


def test_the_same_cell_at_two_sizes():
    small = stack(SyntheticCells(2, 32)).float()
    large = stack(SyntheticCells(2, 64)).float()
    shrunk = torch.nn.functional.avg_pool2d(large, 2)
    similarity = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(small, shrunk, strict=True)]
    assert min(similarity) > 0.8


def test_sizes_differ_as_in_blood():
    """Dark (nucleated) pixels: a platelet has the fewest, the immature granulocyte among the most."""
    dataset = SyntheticCells(12, 48, seed=3)
    dark = (stack(dataset)[:, 1] < 110).float().mean(dim=(1, 2)).numpy()
    area = {name: dark[dataset.targets == label].mean() for label, name in enumerate(PBC_LABELS.names)}
    assert min(area, key=area.get) == "platelet"
    assert area["ig"] > area["lymphocyte"] > area["erythroblast"]


def test_pixels_carry_the_class_but_do_not_give_it_away():
    train, test = SyntheticCells(20, 32), SyntheticCells(12, 32, seed=1)
    flat = [torch.nn.functional.avg_pool2d(stack(d).float() / 255, 2).flatten(1).numpy() for d in (train, test)]
    accuracy = LogisticRegression(C=0.1, max_iter=1000).fit(flat[0], train.targets).score(flat[1], test.targets)
    assert 0.5 < accuracy < 1


def test_transform():
    assert SyntheticCells(1, 16, transform=lambda image: image.shape)[0][0] == (3, 16, 16)


@pytest.mark.parametrize(
    "options", [{"per_class": 0}, {"image_size": 8}, {"seed": -1}, {"per_class": "5"}, {"seed": 0.5}]
)
def test_bad_options(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        SyntheticCells(**options)
