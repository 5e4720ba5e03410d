from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError
from cellnet.labels import LabelSchema


def test_summary_counts_every_class(synthetic):
    table = synthetic.subset(synthetic.targets != 2, part="train").summary()
    assert table.startswith("Synthetic cells, train: 42 images, 8 classes")
    lines = {line.split()[1]: line.split()[2:4] for line in table.splitlines()[2:]}
    assert lines["basophil"] == ["6", "14.3"]
    assert lines["erythroblast"] == ["0", "0.0"]


def test_summary_of_groups_and_of_nothing():
    images = np.zeros((3, 3, 16, 16), np.uint8)
    dataset = CellDataset(None, [0, 0, 0], LabelSchema.from_names(["x"]), images=images, groups=["a", "a", None])
    assert dataset.summary().endswith("1 groups hold 2 of the images")
    assert "0.0 %" in dataset.subset([]).summary()


def test_plot_shows_each_present_class(synthetic, tmp_path):
    figure = synthetic.subset(synthetic.targets < 3).plot(tmp_path / "new" / "sheet.png", per_class=4)
    rows = [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()]
    assert rows == ["basophil", "eosinophil", "erythroblast"]
    assert sum(len(axis.images) for axis in figure.axes) == 12
    with Image.open(tmp_path / "new" / "sheet.png") as image:
        assert image.width > 100
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["sheet.png"]


def test_plot_with_fewer_images_than_columns(synthetic):
    figure = synthetic.subset([0, 1]).plot(per_class=5)
    assert sum(len(axis.images) for axis in figure.axes) == 2


def test_plot_leaves_pyplot_alone(synthetic):
    import matplotlib.pyplot as plt

    synthetic.plot(per_class=1)
    assert plt.get_fignums() == []


def test_plot_refuses_what_it_cannot_do(synthetic, tmp_path):
    with pytest.raises(DataError, match="Nothing to show"):
        synthetic.subset([]).plot()
    with pytest.raises(DataError, match="per_class=0"):
        synthetic.plot(per_class=0)
    with pytest.raises(ConfigError, match=r"\.png"):
        synthetic.plot(tmp_path / "sheet.doc", per_class=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Cannot write"):
        synthetic.plot(tmp_path / "file" / "sheet.png", per_class=1)
