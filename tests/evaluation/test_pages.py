"""The pages in a real browser: no trouble, no overflow, sorted by click and by key, examples opened, light and dark."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from cellnet.evaluation import Report, differential
from cellnet.files import write_text
from cellnet.inference import Predictions
from cellnet.labels import PBC_LABELS

if TYPE_CHECKING:
    from tests.evaluation.conftest import Browser

pytestmark = pytest.mark.slow
WIDTHS = (400, 800, 1400)
FIRST = "table.sortable thead th:nth-child(%d) button"
EDGES = """[...document.querySelectorAll("table.grid")].map(table =>
  [table.tHead.rows[0], [...table.tBodies[0].rows].at(-1)].map(row =>
    [...row.cells].filter(cell => cell.checkVisibility()).map(cell => cell.getBoundingClientRect().right)))"""
COLUMN = "[...document.querySelector('table.sortable').tBodies[0].rows].map(r => r.cells[%d].innerText.split('\\n')[0])"


def sample() -> Predictions:
    """120 cells, some of them mistaken; no image of the last class but one."""
    rng = np.random.default_rng(0)
    targets = np.arange(120) % 7
    targets[targets == 6] = 7
    logits = rng.normal(0, 1, (120, 8))
    logits[np.arange(120), targets] += 2.5
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    files = [f"a_long_folder_name/and_a_rather_long_name_of_an_image_{i:06d}.jpg" for i in range(120)]
    return Predictions(files, PBC_LABELS, probabilities, targets=targets)


def picture(row: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(row).integers(0, 255, (3, 60, 60), np.uint8))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from cellnet.evaluation import html

    folder = tmp_path_factory.mktemp("pages")
    preds = sample()
    report = Report.from_predictions(
        preds,
        title="Evaluation on a data set with a rather long name, photographed elsewhere",
        part="test",
        notes=["No donor ids."],
        images=picture,
        history=[{"epoch": e, "train_loss": 1 / e, "val_accuracy": 1 - 0.5 / e} for e in (1, 2, 3)],
        settings={"data set hash": "0123456789abcdef", "config": {"seed": 7}},
        subgroups={"stain": ["May-Grünwald-Giemsa", "Wright", None] * 40},
    )
    count = differential(preds, report.called)
    return {
        "report": write_text(folder / "report.html", html.render(report)),
        "differential": count.to_html(folder / "differential.html", title="Sample 7", model="a model"),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report", "differential"])
def test_a_page_fits_its_window_without_trouble(
    browser: Browser, pages: dict[str, Path], tmp_path: Path, name: str, width: int, scheme: str
) -> None:
    browser.open(pages[name], width, scheme)
    overflow, room = browser.ask("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert overflow <= room <= width
    for heads, cells in browser.ask(EDGES):  # figures stand below the heads of their columns
        assert len(heads) == len(cells)
        assert np.allclose(heads, cells, atol=1)
    image = browser.screenshot(tmp_path / f"{name}-{width}-{scheme}.png")
    assert image.shape[1] == width
    assert (image.mean() > 200) == (scheme == "light")
    assert image.std() > 10  # something is written on it
    assert browser.trouble == []


def test_a_table_is_sorted_by_click_and_by_key(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["report"], 1400)
    names = list(PBC_LABELS.names)
    assert browser.ask(COLUMN % 0) == names
    assert browser.ask("document.querySelectorAll('[aria-sort]').length") == 0
    sensitivity = FIRST % 3
    browser.click(sensitivity)
    shown = browser.ask(COLUMN % 2)
    assert shown[-1] == "–"  # what has no figure stays below
    rising = [float(value) for value in shown[:-1]]
    assert rising == sorted(rising)
    assert rising[0] < rising[-1]
    assert browser.ask("document.querySelector('[aria-sort]').innerText").startswith("sensitivity")
    browser.press("Enter")  # the head that was clicked has the focus
    assert browser.ask("document.querySelector('[aria-sort]').ariaSort") == "descending"
    assert [float(value) for value in browser.ask(COLUMN % 2)[:-1]] == rising[::-1]
    assert browser.ask(COLUMN % 2)[-1] == "–"
    browser.press("Enter")
    assert browser.ask(COLUMN % 0) == names
    browser.ask(f"document.querySelector({FIRST % 1!r}).focus()")
    browser.press("Enter")
    browser.press("Enter")
    assert browser.ask(COLUMN % 0) == sorted(names, reverse=True)
    assert browser.ask("document.querySelectorAll('[aria-sort]').length") == 1
    assert browser.trouble == []


def test_a_number_of_the_confusion_matrix_opens_its_examples(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["report"], 400)
    seen = "[...document.querySelectorAll('.examples')].filter(e => e.checkVisibility()).map(e => e.innerText)"
    assert browser.ask(seen) == []
    browser.click(".confusion td.wrong-cell button")
    (text,) = browser.ask(seen)
    assert " called " in text
    assert "a_long_folder_name" not in text
    pictures = "[...document.querySelectorAll('.examples:popover-open img')].map(i => [i.complete, i.naturalWidth])"
    found = browser.ask(pictures)
    assert 1 <= len(found) <= 3
    assert all(complete and 0 < width <= 144 for complete, width in found)
    left, right = browser.ask(
        "(r => [r.left, r.right])(document.querySelector('.examples:popover-open').getBoundingClientRect())"
    )
    assert 0 <= left < right <= 400
    browser.press("Escape")
    assert browser.ask(seen) == []
    browser.press("Enter")  # the focus is back on the number
    assert browser.ask(seen) == [text]
    browser.click(".examples:popover-open .close")
    assert browser.ask(seen) == []
    assert browser.trouble == []


def test_without_scripts_the_page_is_whole_and_its_tables_are_plain(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["report"], 1400)
    words = browser.ask("document.body.innerText")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages["report"], 1400)
        assert browser.ask("document.body.innerText") == words
        assert browser.ask("document.querySelectorAll('thead button').length") == 0
        browser.click(".confusion td.wrong-cell button")
        assert browser.ask("document.querySelectorAll('.examples:popover-open').length") == 1
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_a_page_runs_no_script_but_its_own(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    page = pages["report"].read_text(encoding="utf-8")
    smuggled = write_text(tmp_path / "smuggled.html", page.replace("<main>", "<main><script>window.bad = 1</script>"))
    browser.open(smuggled, 800)
    assert browser.ask("window.bad") is None
    assert browser.ask("document.querySelectorAll('thead button').length") > 0
    assert "Content Security Policy" in str(browser.trouble)


@pytest.mark.parametrize("name", ["report", "differential"])
def test_a_page_prints(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], 1400, "dark")
    printed = base64.b64decode(browser.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])
    assert printed.startswith(b"%PDF")
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    try:
        assert browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert browser.ask("document.querySelectorAll('.examples:popover-open').length") == 0
    finally:
        browser.call("Emulation.setEmulatedMedia", media="", features=[])
