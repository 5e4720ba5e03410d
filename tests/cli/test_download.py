"""`cellnet download`: words to data sets, each in its folder, one failure apart from the rest."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from cellnet.cards import DatasetCard, RemoteFile
from cellnet.cli.download import download
from cellnet.datasets import DATASETS
from cellnet.datasets.public import Contents, PublicDataset, missing_classes, read_classes
from cellnet.errors import CellnetError, ConfigError, UnknownNameError
from cellnet.hub import list_pretrained
from cellnet.labels import LabelSchema

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(download)


class Tiny(PublicDataset):
    """Two classes, in a folder each."""

    card = DatasetCard("tiny", "Tiny cells", files=(RemoteFile("tiny.zip", instructions="Ask for it."),))
    schema = LabelSchema.from_names(["lymphocyte", "monocyte"])

    @classmethod
    def missing(cls, folder: Path) -> list[str]:
        return missing_classes(folder, cls.schema)

    @classmethod
    def read(cls, folder: Path) -> Contents:
        return Contents(*read_classes(folder, cls.schema))


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELLNET_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The data set `tiny` on a server of this machine; the paths that it was asked for."""
    asked: list[str] = []
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, colour in (("lymphocyte", "red"), ("monocyte", "blue")):
            image = io.BytesIO()
            Image.new("RGB", (16, 16), colour).save(image, "PNG")
            archive.writestr(f"tiny-1.0/{name}/1.png", image.getvalue())
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "tiny.zip").write_bytes(data.getvalue())

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *words: Any) -> None:  # noqa: A002 -- the name of the base class
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "site"))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/tiny.zip"
    file = RemoteFile("tiny.zip", (url,), sha256=hashlib.sha256(data.getvalue()).hexdigest())
    register(monkeypatch, "tiny", files=(file,))
    yield asked
    server.shutdown()
    server.server_close()


def register(monkeypatch: pytest.MonkeyPatch, name: str, **card: Any) -> None:
    """A data set of that name, for one test; with one class, of that name too, if it is not `tiny`."""
    fields: dict[str, Any] = {"name": name, "title": name, "files": Tiny.card.files} | card
    schema = Tiny.schema if name == "tiny" else LabelSchema.from_names([name])
    kind = type(name, (Tiny,), {"card": DatasetCard(**fields), "schema": schema})
    monkeypatch.setitem(DATASETS._entries, name, kind)


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def error(*words: object) -> CellnetError:
    """What the command raises; `cellnet.cli.app.main` prints it."""
    result = run(*words)
    assert isinstance(result.exception, CellnetError), result.output
    return result.exception


def test_a_set_is_fetched_unpacked_and_can_be_read(tiny: list[str], tmp_path: Path) -> None:
    result = run("tiny", "--root", tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["tiny", str(tmp_path / "data" / "tiny" / "tiny-1.0")]
    assert "tiny.zip" in result.stderr
    images = DATASETS.get("tiny")(tmp_path / "data")  # type: ignore[call-arg, arg-type]
    assert images.class_counts() == {"lymphocyte": 1, "monocyte": 1}
    assert run("tiny", "--root", tmp_path / "data").exit_code == 0
    assert tiny == ["/tiny.zip"]


def test_the_folder_is_data_if_none_is_given(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("tiny").exit_code == 0
    assert (tmp_path / "data" / "tiny" / "tiny-1.0" / "monocyte" / "1.png").exists()


def test_json_is_all_there_is_on_standard_output(tiny: list[str], tmp_path: Path) -> None:
    result = run("tiny", "--root", tmp_path, "--json")
    assert json.loads(result.stdout) == {"folders": {"tiny": str(tmp_path / "tiny" / "tiny-1.0")}, "errors": {}}
    assert result.stderr == ""


def test_one_that_fails_does_not_stop_the_others(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, "private")
    register(monkeypatch, "secret")
    result = run("private", "tiny", "secret", "--root", tmp_path)
    assert result.exit_code == 1
    assert result.stdout.split() == ["tiny", str(tmp_path / "tiny" / "tiny-1.0")]
    for name in ("private", "secret"):
        folder = tmp_path / name
        words = f"Error: {name}: tiny.zip has to be fetched by hand. Put the file tiny.zip into {folder}. Ask for it."
        assert words in result.stderr
    result = run("private", "tiny", "--root", tmp_path, "--json")
    assert result.exit_code == 1
    assert list(json.loads(result.stdout)["errors"]) == ["private"]


def test_wrong_words_stop_before_anything_is_fetched(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, "bare", files=())
    wrong = error("tiny", "tinny", "--root", tmp_path / "data")
    assert isinstance(wrong, UnknownNameError)
    assert "Did you mean 'tiny'" in str(wrong)
    for name in ("folder", "synthetic", "bare"):
        wrong = error("tiny", name, "--root", tmp_path / "data")
        assert isinstance(wrong, ConfigError)
        assert f"{name!r} is not one that can be downloaded" in str(wrong)
        assert f"`cellnet info {name}`" in str(wrong)
    assert tiny == []
    assert not (tmp_path / "data").exists()


def test_offline(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLNET_OFFLINE", "1")
    result = run("tiny", "--root", tmp_path)
    assert result.exit_code == 1
    assert "CELLNET_OFFLINE is set" in result.stderr
    assert tiny == []


def test_the_help_shows_an_example() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "cellnet download pbc" in result.stdout


# Weights.


def test_weights_for_a_place_without_the_net(tmp_path: Path) -> None:
    result = run("--weights", "mobilenet_v2", "--to", tmp_path / "site")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["mobilenet_v2", str(tmp_path / "site" / "mobilenet_v2")]
    assert (tmp_path / "site" / "mobilenet_v2" / "model.safetensors").is_file()


def test_all_weights(tmp_path: Path) -> None:
    result = run("--weights", "all", "--to", tmp_path, "--json")
    assert json.loads(result.stdout) == {
        "folders": {name: str(tmp_path / name) for name in list_pretrained()},
        "errors": {},
    }


def test_all_weights_and_one_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellnet.hub.list_pretrained", lambda: ["a", "b"])
    monkeypatch.setattr("cellnet.hub.copy_pretrained", lambda name, to: to / name[-1])
    result = run("--weights", "c", "--weights", "all", "--weights", "a", "--weights", "hf://me/x", "--json")
    assert list(json.loads(result.stdout)["folders"]) == ["c", "a", "b", "hf://me/x"]


def test_data_and_weights_and_one_that_fails(tiny: list[str], tmp_path: Path) -> None:
    words = ("--weights", "mobilenet", "--weights", "mobilenet_v2", "--root", tmp_path, "--to", tmp_path)
    result = run("tiny", *words, "--json")
    assert result.exit_code == 1
    assert list(json.loads(result.stdout)["folders"]) == ["tiny", "mobilenet_v2"]
    assert "Did you mean 'mobilenet_v2'" in json.loads(result.stdout)["errors"]["mobilenet"]


def test_nothing_to_download() -> None:
    assert "--weights all" in str(error())
