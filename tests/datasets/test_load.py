from __future__ import annotations

import pytest
from PIL import Image

from cellnet.datasets import DATASETS, CellDataset, CellFolder, load_dataset
from cellnet.errors import ConfigError, UnknownNameError
from cellnet.labels import PBC_LABELS


def test_every_registered_set_has_a_card_of_its_name():
    for name in DATASETS.list():
        kind = DATASETS.get(name)
        assert issubclass(kind, CellDataset)
        assert kind.card.name == name


def test_load_by_name_with_options_and_exclude(tmp_path):
    for i in range(2):
        (tmp_path / "lym").mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / "lym" / f"{i}.png")
    dataset = load_dataset("folder", tmp_path, exclude=["lym/0.png"], labels=PBC_LABELS)
    assert isinstance(dataset, CellFolder)
    assert dataset.class_counts()["lymphocyte"] == 1


def test_synthetic_needs_no_root():
    dataset = load_dataset("synthetic", per_class=1, image_size=16, exclude=["ig_00000"])
    assert len(dataset) == 7


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (("pbcc",), {}, UnknownNameError, "Did you mean 'pbc'"),
        (("pbc",), {}, ConfigError, "root=FOLDER.*doi.org"),
        (("folder",), {}, ConfigError, "root=FOLDER"),
        (("synthetic", "data"), {}, ConfigError, "leave out root"),
        (("synthetic",), {"per_clas": 3}, UnknownNameError, "Did you mean 'per_class'"),
        (("pbc", "data"), {"labels": PBC_LABELS}, UnknownNameError, "option of the data set 'pbc'"),
    ],
)
def test_bad_requests(arguments, options, error, words):
    with pytest.raises(error, match=words):
        load_dataset(*arguments, **options)
