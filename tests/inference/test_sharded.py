"""Several processes predict one list of files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError
from cellnet.inference import Predictions
from cellnet.inference.sharded import Summary, join_parts, predict_files
from cellnet.models import CellClassifier


@pytest.fixture
def files(synthetic: CellDataset, tmp_path: Path) -> list[Path]:
    """Seven images, one of which cannot be read, with names that CSV must quote."""
    folder = tmp_path / "cells"
    folder.mkdir()
    paths = [folder / f'{i} "a", b.png' for i in range(7)]
    for i, path in enumerate(paths):
        Image.fromarray(synthetic.image(i).permute(1, 2, 0).numpy()).save(path)
    paths[3].write_bytes(b"no image")
    return paths


def test_one_process_writes_what_predict_says(tiny_model: CellClassifier, files: list[Path], tmp_path: Path) -> None:
    summary = predict_files(tiny_model, files, tmp_path / "a.csv")
    expected = tiny_model.predict(files)
    expected.to_csv(tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert summary == Summary.of(expected)
    assert summary is not None
    assert (summary.images, list(summary.errors)) == (7, [str(files[3])])
    assert sum(summary.labels.values()) == 6


@pytest.mark.parametrize("processes", [1, 2, 3, 9])
def test_parts_join_to_the_file_of_one_process(
    tiny_model: CellClassifier, files: list[Path], tmp_path: Path, processes: int
) -> None:
    whole = tiny_model.predict(files)
    whole.to_csv(tmp_path / "whole.csv")
    parts, summary = [tmp_path / f"part-{p}.csv" for p in range(processes)], Summary()
    for process, part in enumerate(parts):
        share = files[process::processes]
        predictions = tiny_model.predict(share) if share else Predictions([], tiny_model.labels, [])
        predictions.to_csv(part)
        summary += Summary.of(predictions)
    join_parts(parts, tmp_path / "joined.csv")
    joined, expected = (Predictions.read_csv(tmp_path / f"{name}.csv") for name in ("joined", "whole"))
    assert joined.files == expected.files
    assert joined.probabilities == pytest.approx(expected.probabilities, abs=1e-5, nan_ok=True)
    assert summary == Summary.of(whole)
    assert not any(part.exists() for part in parts)


def test_a_missing_part_is_one_clear_error(tiny_model: CellClassifier, files: list[Path], tmp_path: Path) -> None:
    tiny_model.predict(files).to_csv(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"predictions of a process are missing, .*b\.csv.* predict again"):
        join_parts([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "out.csv")
    assert (tmp_path / "a.csv").exists()
    assert not (tmp_path / "out.csv").exists()


def test_parts_stay_where_they_cannot_be_joined(tiny_model: CellClassifier, files: list[Path], tmp_path: Path) -> None:
    tiny_model.predict(files).to_csv(tmp_path / "a.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Cannot write"):
        join_parts([tmp_path / "a.csv"], tmp_path / "file" / "out.csv")
    assert (tmp_path / "a.csv").exists()


def test_summaries_add() -> None:
    total = Summary(2, Counter(a=1), 1, {"x": "bad"}, 1) + Summary(2, Counter(a=1), 0, {"x": "bad"}, 1)
    assert total == Summary(4, Counter(a=2), 1, {"x": "bad"}, 2)


@pytest.mark.slow
def test_two_processes_on_the_command_line(tiny_model: CellClassifier, files: list[Path], tmp_path: Path) -> None:
    model = tiny_model.save(tmp_path / "model", storage="float32")
    out = tmp_path / "p.csv"
    (tmp_path / "p.part-2-of-2.csv").write_text("of an earlier attempt")
    result = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *("-m", "cellnet", "predict", files[0].parent, "--model", model, "--out", out, "--json"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["images"], list(summary["errors"])) == (7, [str(files[3])])
    written, expected = Predictions.read_csv(out), tiny_model.predict(files)
    assert written.files == [str(path) for path in files]
    assert written.labels == expected.labels
    assert written.probabilities == pytest.approx(expected.probabilities, abs=1e-5, nan_ok=True)
    assert not list(tmp_path.glob("p.part*"))
