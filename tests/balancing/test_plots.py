from __future__ import annotations

import numpy as np
import pytest

from cellnet.balancing import SMOTE, parents, plot_parents
from cellnet.errors import DataError


def test_a_child_stands_between_its_parents(cells):
    balanced = SMOTE(k_neighbors=3, random_state=0).resample(cells)
    figure = plot_parents(balanced, count=4)
    assert len(figure.axes) == 12
    first = parents(balanced)[len(cells)]
    shown = [axis.images[0].get_array() for axis in figure.axes[:3]]
    rows = (balanced.files.index(first.base), len(cells), balanced.files.index(first.other))
    for picture, row in zip(shown, rows, strict=True):
        assert np.array_equal(picture, balanced.image(row).permute(1, 2, 0))
    titles = [axis.get_title() for axis in figure.axes[:3]]
    assert titles == [f"{1 - first.share:.0%}", "monocyte", f"{first.share:.0%}"]


def test_fewer_than_asked_for_are_all_shown(cells):
    balanced = SMOTE(sampling_strategy={"basophil": 6}, k_neighbors=3, random_state=0).resample(cells)
    assert len(plot_parents(balanced, count=9).axes) == 6


def test_what_has_no_child_or_no_parents_cannot_be_shown(cells):
    balanced = SMOTE(k_neighbors=3, random_state=0).resample(cells)
    for dataset, count in ((cells, 5), (balanced.subset(range(23, 36)), 5), (balanced, 0)):
        with pytest.raises(DataError, match=r"Nothing to show: .*resample"):
            plot_parents(dataset, count)
