"""README, docs and results tell one story."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

import cellnet
from cellnet.experiments import load_run_file

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_tables_of_the_readme_come_from_the_results() -> None:
    rewrite = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))["rewrite"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert rewrite(text) == text
    assert "| mobilenet_v2 |" in text


def test_results_stand_where_pages_name_them(tmp_path: Path) -> None:
    tables = runpy.run_path(str(ROOT / "docs" / "result_tables.py"))
    fill = tables["fill"]
    pages = [ROOT / "docs" / "results.md.in", *PAGES]
    for page in pages:
        assert "{{" not in fill(page.read_text(encoding="utf-8"))
    fill.__globals__["BENCHMARKS"] = tmp_path
    for folder in (tmp_path / "results", tmp_path / "speed" / "results"):
        folder.mkdir(parents=True)
        (folder / "some.csv").write_text("model,the_figure,more\na,1,x\nb,2,y\n")
    assert (
        fill("= {{ some }} =") == "= | model | the_figure | more |\n| --- | --- | --- |\n| a | 1 | x |\n| b | 2 | y | ="
    )
    shown = fill("{{ some; columns: the_figure; where: model = b, more = y }}")
    assert shown == "| the figure |\n| --- |\n| 2 |"
    assert fill("{{ speed/some; columns: more; otherwise: Nothing. }}") == "| more |\n| --- |\n| x |\n| y |"
    for words in ("speed/none", "some; where: model = c", "none; columns: model; where: model = c"):
        assert fill(f"{{{{ {words}; otherwise: Nothing yet. }}}}") == "Nothing yet."
    for words, message in (
        ("{{ none }}", "no none.csv"),
        ("{{ speed/none }}", "no none.csv in .*speed"),
        ("{{ some; columns: modal }}", "no column modal"),
        ("{{ some; where: modal = a }}", "no column modal"),
        ("{{ some; where: model = c }}", "no row where model = c"),
    ):
        with pytest.raises(ValueError, match=message):
            fill(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        generated = re.search(r"(reference/|data-sets/|assets/augment-|models\.md|results\.md|speed\.md)", target)
        assert generated or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_and_options_in_the_text_exist(page: Path) -> None:
    from typer.main import get_command

    from cellnet.cli.app import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    code = re.findall(r"```bash\n(.*?)```", text, re.DOTALL) + re.findall(r"(?<!`)`(cellnet [^`]+)`", text)
    for command, words in re.findall(r"\bcellnet ([\w-]+)([^\n]*)", "\n".join(code)):
        assert command in commands, command
        options = {o for p in commands[command].params for o in p.opts} | {"--help"}
        assert set(re.findall(r"(?<!\S)(--[\w-]+)", words)) <= options, words


def test_comparisons_in_the_text_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.main import get_command

    from cellnet import experiments
    from cellnet.cli import compare
    from cellnet.cli.app import app

    class Expanded(Exception):  # noqa: N818 (nothing went wrong)
        pass

    def compare_trials(split: object, trials: list[experiments.Trial], out: Path, **options: object) -> None:
        assert len({trial.name for trial in trials}) == len(trials) > 1
        raise Expanded

    monkeypatch.setattr(experiments, "compare_trials", compare_trials)
    monkeypatch.setattr(compare, "open_dataset", lambda *words: cellnet.load_dataset("synthetic", per_class=1))
    text = "\n".join(page.read_text(encoding="utf-8").replace("\\\n", " ") for page in PAGES)
    commands = re.findall(r"^cellnet compare (--[^\n]*)", text, re.MULTILINE)
    assert len(commands) > 3
    for words in commands:
        with pytest.raises(Expanded):
            get_command(app).main(["compare", *shlex.split(words)], standalone_mode=False)


def test_versions_agree() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {cellnet.__version__}" in citation


def test_shipped_weights_say_how_to_make_them_again() -> None:
    from typer.main import get_command

    from cellnet.cli.app import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    known = {name.replace("_", "-") for name in (str(p.name) for p in commands["train"].params)}
    folders = [path for path in (ROOT / "src" / "cellnet" / "weights").iterdir() if path.is_dir()]
    assert folders
    for folder in folders:
        protocol, options = load_run_file(folder / "train.toml")
        assert set(options) <= known
        assert (folder / "history.csv").is_file()
        model = cellnet.load_pretrained(folder)
        assert options["model"] in (folder.name, model.backbone.name)
        size = protocol.for_model(options["model"])[1].get("image_size")
        if "branch" in options:  # a hybrid takes the size of its networks
            assert size is None
            size = cellnet.load_pretrained(options["branch"][0]).preprocess.image_size
        assert size == model.preprocess.image_size
