"""The reader on the how-to page runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import cellnet
from cellnet.datasets import DATASETS
from cellnet.errors import DataError

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "own-data.md"


def test_the_reader_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))  # forget the set after the test
    reader, use = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[-2:]
    names: dict[str, Any] = {"cellnet": cellnet}
    exec(reader, names)

    folder = tmp_path / "data" / "my-lab-1.0"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=r"missing: cells, labels\.csv\. Run `cellnet download my_lab`"):
        exec(use, names)

    (folder / "cells").mkdir()
    lines = ["image,class,donor"]
    for number in range(36):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / "cells" / f"{number}.png")
        lines.append(f"{number}.png,{('lympho', 'stab', 'blast')[number % 3]},donor {number // 6}")
    (folder / "labels.csv").write_text("\n".join(lines))
    exec(use, names)
    donors = [set(names[part].groups) for part in ("train", "val", "test")]
    assert sum(map(len, donors)) == len(set.union(*donors)) == 6
    assert names["comparable"].class_counts()["neutrophil"] == 12
    assert len(names["unknown"]) == 12


def test_folders_with_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("lymphozyt", "stab"):
        (tmp_path / "cells" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "cells" / name / "a.png")
    (meanings,) = [
        code
        for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        if "ours" in code
    ]
    names: dict[str, Any] = {"cellnet": cellnet, "model": SimpleNamespace(labels=cellnet.PBC_LABELS)}
    exec(meanings, names)
    counts = names["cells"].class_counts()
    assert {name: n for name, n in counts.items() if n} == {"lymphocyte": 1, "neutrophil": 1}
