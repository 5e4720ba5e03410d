from __future__ import annotations

from collections import Counter
from pathlib import Path

import cellnet
from cellnet.datasets import samples
from cellnet.labels import PBC_LABELS


def test_five_real_cells_of_each_class():
    cells = samples()
    assert cells.class_counts() == dict.fromkeys(PBC_LABELS.names, 5)
    assert {tuple(cells.image(i).shape) for i in range(40)} == {(3, 363, 360)}
    assert len(set(cells.content_hashes())) == 40


def test_subtypes_are_represented():
    assert set(samples().subtypes) == {
        "BA",
        "EO",
        "ERB",
        "LY",
        "MO",
        "PLATELET",
        "SNE",
        "BNE",
        "PMY",
        "MY",
        "MMY",
    }


def test_the_attribution_names_each_file_once():
    cells = samples()
    text = (Path(cells.files[0]).parents[1] / "ATTRIBUTION.md").read_text(encoding="utf-8")
    counts = Counter(word for word in text.split("`") if word.endswith(".jpg"))
    assert counts == Counter(Path(file).name for file in cells.files)
    assert "10.17632/snkd93bnjr.1" in text
    assert "CC BY 4.0" in text


def test_the_package_is_small_enough():
    assert sum(Path(file).stat().st_size for file in samples().files) < 1_000_000


def test_excluded_by_whoever_trains_on_the_whole_set():
    cells = cellnet.samples()
    assert len(cells.exclude(samples().files)) == 0
    assert cells.card.title != cellnet.datasets.PBC.card.title
