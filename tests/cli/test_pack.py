"""``cellnet pack``: what it writes, what it says, what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from cellnet.cli.pack import pack
from cellnet.datasets import CellFolder, load_dataset, write_list
from cellnet.datasets.packed import PackedCells
from cellnet.errors import CellnetError, ConfigError, DataError
from cellnet.images import Preprocess

app = typer.Typer()
app.command()(pack)


def run(*words: object) -> tuple[str, str]:
    """Standard output and standard error of ``cellnet pack WORDS``; raises what it raises."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout, result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn cells as files, a folder a class."""
    root = tmp_path_factory.mktemp("cells")
    cells = load_dataset("synthetic", per_class=2, image_size=24)
    for i, target in enumerate(cells.targets):
        path = root / cells.labels.names[target] / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(cells.image(i).permute(1, 2, 0).numpy()).save(path)
    return root


def test_packs_and_tells_what_it_packed(folder: Path, tmp_path: Path) -> None:
    words = ("--dataset", "folder", "--root", folder, "--image-size", 16, "--crop", 0.8, "--out", tmp_path / "p")
    out, log = run(*words, "--json")
    assert json.loads(out) == {
        "out": str(tmp_path / "p"),
        "images": 16,
        "width": 16,
        "height": 16,
        "bytes": 16 * 3 * 16 * 16,
        "fingerprint": CellFolder(folder).fingerprint(),
    }
    assert log == ""
    assert PackedCells(tmp_path / "p").preprocess == Preprocess(16, crop=0.8)
    out, log = run(*words, "--overwrite")
    assert "16 images of 16×16 pixels" in out
    assert "--dataset packed" in log
    with pytest.raises(ConfigError, match="--overwrite"):
        run(*words)


def test_images_as_they_are_and_without_some(folder: Path, tmp_path: Path) -> None:
    left_out = tmp_path / "left_out"
    left_out.mkdir()
    first = CellFolder(folder).files[0]
    (left_out / "renamed.png").write_bytes(Path(first).read_bytes())
    run("--dataset", "folder", "--root", folder, "--exclude", left_out, "--out", tmp_path / "p", "--json")
    packed = PackedCells(tmp_path / "p")
    assert len(packed) == 15
    assert packed.image(0).shape == (3, 24, 24)
    assert packed.preprocess is None


def test_only_images_of_a_list(folder: Path, tmp_path: Path) -> None:
    cells = CellFolder(folder).subset([0, 5, 9])
    write_list(tmp_path / "three.txt", cells)
    words = ("--dataset", "folder", "--root", folder, "--only", tmp_path / "three.txt")
    run(*words, "--out", tmp_path / "p", "--json")
    assert PackedCells(tmp_path / "p").fingerprint() == cells.fingerprint()
    (tmp_path / "out").mkdir()
    shutil.copy(cells.files[0], tmp_path / "out")
    with pytest.raises(DataError, match="not in the data set"):  # one of the three is left out
        run(*words, "--exclude", tmp_path / "out", "--out", tmp_path / "q")
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("--crop", "0.8"), ConfigError, "--image-size 128"),
        (("--image-size", "8"), ConfigError, "image_size=8"),
        (("--image-size", "16", "--crop", "5"), ConfigError, "crop=5"),
        (("--root", "nowhere"), DataError, "nowhere"),
        (("--dataset", "foldr"), CellnetError, "'folder'"),
    ],
)
def test_refusals(folder: Path, tmp_path: Path, words: tuple[str, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run("--dataset", "folder", "--root", folder, "--out", tmp_path / "p", *words)
    assert not list(tmp_path.iterdir())
