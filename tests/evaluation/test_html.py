from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
import torch

from cellnet.errors import ImageError, UnknownNameError
from cellnet.evaluation import Report, html
from cellnet.inference import Predictions
from cellnet.labels import PBC_LABELS, LabelSchema

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "circle", "path"}


class Page(HTMLParser):
    """Collects tags with their attributes and text, and fails on a tag that is closed out of turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("style", "script"):
            self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def sample(n: int = 80, schema: LabelSchema = PBC_LABELS, name: str = "cell") -> Predictions:
    rng = np.random.default_rng(0)
    targets = np.arange(n) % len(schema)
    logits = rng.normal(0, 1, (n, len(schema)))
    logits[np.arange(n), targets] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    probabilities[5] = np.nan
    errors = [None] * n
    errors[5] = f"{name} cannot be read"
    return Predictions([f"{name}{i}.jpg" for i in range(n)], schema, probabilities, errors, targets=targets)


def picture(row: int) -> torch.Tensor:
    return torch.full((3, 400, 300), row % 256, dtype=torch.uint8)


def test_the_page_is_well_formed_and_has_its_sections() -> None:
    history = [
        {"epoch": 1, "train_loss": 1.0, "val_accuracy": 0.5},
        {"epoch": 2, "train_loss": 0.5, "val_accuracy": 0.8},
    ]
    report = Report.from_predictions(
        sample(),
        title="Trial",
        dataset="PBC",
        part="test",
        notes=["No donor ids."],
        history=history,
        images=picture,
        settings={"config": {"seed": 7}},
    )
    page = Page(html.render(report))
    for words in ("Trial", "PBC · test part · 79 images, 1 more unreadable", "for research use only", "No donor ids.",
                  "config.seed", "cell5.jpg", "cell cannot be read"):  # fmt: skip
        assert words in page.words
    assert f"{report.accuracy.value:.2%}".rstrip("%") in page.words
    headings = ["Class by class", "What was taken for what", "Training", "Can the probabilities be believed?",
                "What does abstaining buy?",
                "The mistakes it was most certain of", "Data and limits", "To reproduce this"]  # fmt: skip
    positions = [page.words.index(heading) for heading in headings]
    assert positions == sorted(positions)
    assert len(page.all("h1")) == 1


def test_pictures_are_small_and_inside_the_page_with_words_for_those_who_cannot_see() -> None:
    report = Report.from_predictions(sample(), images=picture)
    images = Page(html.render(report)).all("img")
    behind = sum(min(html.EXAMPLES, count) for count in report.confusion.ravel().tolist())
    assert len(images) == min(24, len(report.worst(24))) + len(report.typical()) + 12 + behind
    for image in images:
        assert image["alt"]
        kind, data = str(image["src"]).split(",")
        assert kind == "data:image/jpeg;base64"
        assert len(base64.b64decode(data)) < 20_000


def test_abstention_and_sets_are_shown_where_there_are_some() -> None:
    preds = sample()
    page = Page(html.render(Report.from_predictions(preds)))
    assert "Area under the curve (AURC)" in page.words
    assert "Not abstained" not in page.words
    assert "prediction set" not in page.words
    assert any(str(div.get("aria-label")).startswith("Of the images accepted, wrong are") for div in page.all("div"))
    preds.abstain = ~(preds.probabilities.max(1) > 0.5)
    preds.in_set = preds.probabilities > 0.2
    report = Report.from_predictions(preds)
    page = Page(html.render(report))
    for words in ("The cross is", "Not abstained", "Classes in a set", str(report.metrics["set_coverage"])):
        assert words in page.words


def test_curves_have_words_and_the_chosen_epoch() -> None:
    history = [{"epoch": e, "train_loss": 1 / e, "val_accuracy": 1 - 0.5 / e} for e in (1, 2, 4)]
    page = Page(html.render(Report.from_predictions(sample(), history=history, best_epoch=2)))
    words = "Curves from epoch 1 to 4; epoch 2 was chosen. Training loss: from 1 to 0.25, chosen 0.5."
    assert any(str(div.get("aria-label")).startswith(words) for div in page.all("div"))
    assert "marked: epoch 2, the chosen one" in page.words


def test_nothing_points_outside_and_nothing_runs_but_the_sorting() -> None:
    history = [{"epoch": 1, "train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5, "val_macro_f1": 0.5}]
    text = html.render(Report.from_predictions(sample(), history=history, images=picture))
    page = Page(text)
    assert not re.search("https?:", text)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert not page.all("link") + page.all("iframe")
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (str(meta["content"]) for meta in page.all("meta") if "http-equiv" in meta)
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "xlink:href"):
            assert str(attributes.get(name, "#")).startswith(("#", "data:"))
    names = [str(a["id"]) for _, a in page.tags if "id" in a]
    assert len(set(names)) == len(names)
    assert all(f"#{name}" in text or f'"{name}"' in text.replace(f' id="{name}"', "") for name in names)


def test_hostile_names_are_text() -> None:
    schema = LabelSchema.from_names([EVIL, "b$\\frac{1}$", "<b>c"])
    report = Report.from_predictions(
        sample(60, schema, EVIL),
        title=EVIL,
        dataset=EVIL,
        notes=[EVIL],
        settings={EVIL: {"inner": EVIL}},
        images=picture,
    )
    text = html.render(report)
    assert text.count("<script") == 1
    assert "<b>c" not in text
    assert Page(text).words.count("alert('x')") > 10


def test_an_image_that_has_gone_leaves_a_word() -> None:
    def gone(row: int) -> torch.Tensor:
        raise ImageError("deleted")

    for images in (gone, lambda row: None):
        page = Page(html.render(Report.from_predictions(sample(), images=images)))
        assert not page.all("img")
        assert "no picture" in page.words


def test_without_mistakes_and_with_an_absent_class() -> None:
    preds = Predictions(["a", "b"], LabelSchema.from_names("xyz"), [[1, 0, 0], [0, 1, 0]], targets=[0, 1])
    page = Page(html.render(Report.from_predictions(preds)))
    assert "No mistake among these images." in page.words
    assert "2 of 2 images were named correctly" in page.words
    assert "nan" not in page.words


def test_many_classes() -> None:
    schema = LabelSchema.from_names([f"class {i}" for i in range(14)])
    text = html.render(Report.from_predictions(sample(84, schema)))
    assert 'class="confusion many"' in text


def test_the_examples_of_very_many_classes_are_bounded() -> None:
    schema = LabelSchema.from_names([f"class {i}" for i in range(30)])
    report = Report.from_predictions(sample(3000, schema), images=picture)
    assert np.count_nonzero(report.confusion) > html.MOST_EXAMPLES
    text = html.render(report)
    assert len(Page(text).all("img")) <= html.MOST_EXAMPLES + 24 + 30 + 12
    assert len(text) < 4_000_000


def test_each_number_of_the_confusion_matrix_has_its_examples() -> None:
    report = Report.from_predictions(sample(), images=picture)
    page = Page(html.render(report))
    opened = [button["popovertarget"] for button in page.all("button") if "popovertargetaction" not in button]
    assert len(opened) == np.count_nonzero(report.confusion)
    examples = {div["id"] for div in page.all("div") if div.get("class") == "examples"}
    assert set(opened) == examples
    assert all(button["aria-label"] for button in page.all("button"))
    true, label, count = report.most_confused(1)[0]
    rows = report.examples(true, label)
    assert len(rows) == min(3, count)
    certain = report.predictions.probabilities[rows].max(1)
    assert (np.diff(certain) <= 0).all()
    assert {(report.schema.names[report.targets[i]], report.predictions[i].label) for i in rows} == {(true, label)}
    assert report.examples(true, label, 1) == [
        next(i for i in report.worst(80) if i in report.examples(true, label, 99))
    ]
    with pytest.raises(UnknownNameError):
        report.examples(true, "thrombocytte")


def test_subgroups_are_shown_with_few_images_said_to_be_few() -> None:
    values = {"stain": ["MGG"] * 76 + [EVIL] * 4, "site": [None] * 80}
    page = Page(html.render(Report.from_predictions(sample(), subgroups=values)))
    for words in ("Subgroups", "stain", "MGG", "few images", "alert('x')", "site", "not known"):
        assert words in page.words
    assert "Subgroups" not in Page(html.render(Report.from_predictions(sample()))).words
    preds = sample()
    preds.groups = [str(i // 20) for i in range(80)]
    page = Page(html.render(Report.from_predictions(preds, subgroups={"site": ["a"] * 60 + ["b"] * 20})))
    assert "one group: the interval holds for it alone" in page.words
    assert "copies of one spot) together" in page.words


def test_what_was_judged_on_what_stands_open_and_the_configuration_folded() -> None:
    settings = {"weights": "hybrid, version 2", "split hash": "0123abcd", "config": {"lr": 0.1}}
    words = Page(html.render(Report.from_predictions(sample(), settings=settings))).words
    reproduce = words[words.index("To reproduce this") :]
    assert reproduce.index("0123abcd") < reproduce.index("Settings") < reproduce.index("config.lr")


def test_tables_say_what_their_rows_and_columns_are() -> None:
    page = Page(html.render(Report.from_predictions(sample())))
    headers = page.all("th")
    assert sum(h.get("scope") == "row" for h in headers) == 3 * 8
    assert page.all("html")[0]["lang"] == "en"
    assert all(svg.get("aria-hidden") or svg.get("aria-label") or "viewbox" in svg for svg in page.all("svg"))


def test_the_same_report_gives_the_same_page_and_leaves_matplotlib_alone() -> None:
    names = ("svg.fonttype", "svg.hashsalt", "font.size")
    settings = [matplotlib.rcParams[name] for name in names]
    report = Report.from_predictions(sample(), history=[{"epoch": 1, "val_loss": 1.0}], images=picture)
    assert html.render(report) == html.render(report)
    assert [matplotlib.rcParams[name] for name in names] == settings


def test_a_file_name_that_is_no_text_does_not_stop_the_page() -> None:
    preds = Predictions([b"\xff.jpg".decode("utf-8", "surrogateescape")], PBC_LABELS, [[1, *[0] * 7]], targets=[0])
    assert "?.jpg" in html.render(Report.from_predictions(preds))
