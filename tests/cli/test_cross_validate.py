"""``cellnet cross-validate``, run in this process on drawn cells."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cellnet.cli.cross_validate import cross_validate
from cellnet.errors import CellnetError
from cellnet.evaluation import Estimate

app = typer.Typer()
app.command()(cross_validate)
WORDS = ["--dataset", "synthetic", "--model", "cnn", "--image-size", "32", "--epochs", "1", "--device", "cpu"]


def run(*words: object) -> tuple[str, str]:
    """Standard output and standard error; an error of cellnet is raised."""
    result = CliRunner().invoke(app, [*WORDS, *map(str, words)])
    if isinstance(result.exception, CellnetError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "cv"


@pytest.fixture(scope="module")
def printed(out: Path) -> tuple[str, str]:
    return run("--folds", 2, "--set", "ema=0.9", "--out", out)


def test_it_prints_a_table_and_writes_the_folds(out: Path, printed: tuple[str, str]) -> None:
    text, log = printed
    assert text.startswith("2-fold cross-validation on Synthetic cells\n")
    assert "pooled" in text
    assert "fold-02: " in log
    with (out / "folds.csv").open(newline="") as file:
        assert [row["n_test"] for row in csv.DictReader(file)] == ["200", "200"]
    assert len((out / "out_of_fold.csv").read_text().splitlines()) == 401
    assert "<html" in (out / "report" / "report.html").read_text()
    assert "ema = 0.9" in (out / "fold-01" / "config.toml").read_text()


def test_resume_and_json(out: Path, printed: tuple[str, str]) -> None:
    text, log = run("--folds", 2, "--set", "ema=0.9", "--out", out, "--resume", "--json")
    result = json.loads(text)
    assert result["out"] == str(out)
    assert [row["fold"] for row in result["folds"]] == [1, 2]
    mean = result["means"]["accuracy"]
    # Both folds may be equally right: then there is no interval.
    estimate = Estimate(*(math.nan if mean[key] is None else mean[key] for key in ("value", "low", "high")))
    assert f"{estimate:.1%}" in printed[0]
    assert "fold-01: done before" in log
    assert "epoch" not in log


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "51"], r"'basophil' has 50 independent image\(s\), too few for 51 parts"),
        (["--folds", "1"], "at least 2 folds"),
        (["--repeats", "0"], "repeats=0"),
        (["--model", "resnet5"], "Did you mean 'resnet50'"),
        (["--optimizer", "adm"], "Did you mean 'adam'"),
        (["--set", "emma=1"], "Did you mean 'ema'"),
        (["--protocol", "honset"], "Did you mean 'honest'"),
    ],
)
def test_bad_words_get_one_sentence_and_leave_no_folder(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(CellnetError, match=message):
        run(*words, "--out", tmp_path / "cv")
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else(out: Path, printed: tuple[str, str]) -> None:
    with pytest.raises(CellnetError, match="already holds a study"):
        run("--folds", 2, "--set", "ema=0.9", "--out", out)
    with pytest.raises(CellnetError, match=r"ema was 0\.9, is None"):
        run("--folds", 2, "--out", out, "--resume")
