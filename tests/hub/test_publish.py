from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCardData, RepoCard

from cellnet.cards import WeightsCard
from cellnet.datasets import CellDataset
from cellnet.errors import CellnetError, ConfigError, DataError, LabelError, WeightsError
from cellnet.evaluation import Report, evaluate
from cellnet.hub import load, load_pretrained, publish, save
from cellnet.hub.card import render_card
from cellnet.labels import LabelSchema
from cellnet.models import CellClassifier, create_model

from .fake_hub import TOKEN, FakeHub, alter, status

CARD = WeightsCard("old name", version="3", training_data="synthetic", limits=("Drawn cells only.",))


@pytest.fixture
def logged_in(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub


@pytest.fixture(scope="module")
def judged(synthetic: CellDataset) -> tuple[CellClassifier, Report]:
    """A model and its report on images of a test part."""
    model = create_model("cnn", image_size=32).eval()
    model.weights_card = CARD
    return model, evaluate(model, synthetic.split((0.5, 0.25, 0.25), seed=0)[2])


def test_push_and_load(logged_in: FakeHub, judged: tuple[CellClassifier, Report]) -> None:
    model, report = judged
    url = model.push_to_hub("lab/hybrid-pbc", report=report, private=True, storage="float32")
    (commit,) = [sha for sha in logged_in.repos["lab/hybrid-pbc"].commits if sha in url]
    assert url == f"{logged_in.address}/lab/hybrid-pbc/commit/{commit}"
    assert logged_in.repos["lab/hybrid-pbc"].access == "private"
    assert set(logged_in.repos["lab/hybrid-pbc"].commits[commit]) == {
        ".gitattributes",
        "config.json",
        "golden.safetensors",
        "model.safetensors",
        "README.md",
    }
    assert len([path for path in logged_in.paths("POST") if "/commit/" in path]) == 1

    loaded = load_pretrained("hf://lab/hybrid-pbc")
    assert loaded.source == f"hf://lab/hybrid-pbc@{commit}"
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
    card = loaded.weights_card
    assert card is not None
    assert (card.name, card.version, card.training_data) == ("hybrid-pbc", "3", "synthetic")
    assert card.metrics["accuracy"]["value"] == report.accuracy.value
    assert card.num_test_images == report.n
    assert card.limits[0] == f"The figures were measured on {report.n} images of {report.dataset}, part 'test'."
    assert "Drawn cells only." in card.limits
    assert model.weights_card == CARD
    assert model.source == ""


def test_the_card_tells_the_hub_and_the_reader(logged_in: FakeHub, judged: tuple[CellClassifier, Report]) -> None:
    model, report = judged
    model.push_to_hub("lab/hybrid-pbc", report=report)
    repo = logged_in.repos["lab/hybrid-pbc"]
    text = repo.commits[repo.refs["main"]]["README.md"].decode()
    facts = RepoCard(text).data
    assert facts.license == "apache-2.0"
    assert facts.library_name == "cellnet"
    assert facts.pipeline_tag == "image-classification"
    assert "haematology" in facts.tags
    assert facts.metrics == ["accuracy", "f1", "precision", "recall"]
    assert 'cellnet.load_pretrained("hf://lab/hybrid-pbc")' in text
    assert "The argument is the path of this folder" not in text
    low, high = (f"{figure:.4f}" for figure in (report.accuracy.low, report.accuracy.high))
    assert f"| accuracy | {report.accuracy.value:.4f} | {low} – {high} |" in text
    assert ModelCardData(**facts.to_dict()).to_yaml().strip() == logged_in.front_matter.strip()


def test_a_licence_that_the_hub_does_not_know(tiny_model: CellClassifier) -> None:
    card = WeightsCard("x", licence="Only for friends: ask")
    facts = RepoCard(render_card(card, tiny_model, source="./x", storage="int8")).data
    assert (facts.license, facts.license_name) == ("other", "see-below")
    assert "metrics" not in facts.to_dict()


def test_a_second_version_keeps_the_first(logged_in: FakeHub, tiny_folder: Path, tmp_path: Path) -> None:
    _, first = publish(tiny_folder, "lab/tiny")
    _, second = publish(save(create_model("cnn", image_size=32), tmp_path / "x", storage="int8"), "lab/tiny")
    assert first.revision != second.revision
    for published in (first, second):
        load_pretrained(str(published))
    assert load_pretrained("hf://lab/tiny").source == str(second)


def test_other_files_of_the_folder_stay_at_home(logged_in: FakeHub, tiny_folder: Path, tmp_path: Path) -> None:
    folder = save(load(tiny_folder), tmp_path / "x")
    (folder / "optimizer.pt").write_bytes(pickle.dumps(0))
    publish(folder, "lab/tiny")
    repo = logged_in.repos["lab/tiny"]
    assert "optimizer.pt" not in repo.commits[repo.refs["main"]]


# What is refused.


def refuses(words: str, folder: Path, repo: str = "lab/tiny", kind: type[CellnetError] = WeightsError) -> None:
    with pytest.raises(kind, match=words) as caught:
        publish(folder, repo)
    assert "\n" not in str(caught.value)


def test_without_a_token(hub: FakeHub, tiny_folder: Path) -> None:
    refuses("HF_TOKEN", tiny_folder)
    assert hub.repos == {}


def test_without_the_right(logged_in: FakeHub, tiny_folder: Path) -> None:
    logged_in.fault("POST /api/repos/create", status(403))
    refuses("forbids this with lab/tiny.*a token that has the right", tiny_folder)


@pytest.mark.parametrize("pattern", ["POST /api/repos/create", "PUT .*", "POST .*/commit/main"])
def test_a_hub_with_trouble_of_its_own(logged_in: FakeHub, tiny_folder: Path, pattern: str) -> None:
    logged_in.fault(pattern, status(500))
    refuses("trouble of its own .status 500.; try again later", tiny_folder)
    logged_in.faults.clear()
    load_pretrained(str(publish(tiny_folder, "lab/tiny")[1]))


def test_a_card_that_the_hub_does_not_take(logged_in: FakeHub, tiny_folder: Path) -> None:
    answer = b'{"errors": [{"message": "\\"license\\" must be one of many"}], "warnings": []}'
    logged_in.fault("POST /api/validate-yaml", lambda handler: handler.answer(answer, 400))
    refuses('refuses what is asked of lab/tiny .*"license" must be one of many', tiny_folder)


def test_offline(logged_in: FakeHub, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLNET_OFFLINE", "1")
    refuses("CELLNET_OFFLINE is set", tiny_folder, kind=ConfigError)
    monkeypatch.delenv("CELLNET_OFFLINE")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refuses("HF_HUB_OFFLINE is set", tiny_folder)
    assert logged_in.requests == []


@pytest.mark.parametrize("repo", ["tiny", "lab/", "/tiny", "a/b/c", ""])
def test_a_repository_of_nobody(logged_in: FakeHub, tiny_folder: Path, repo: str) -> None:
    refuses("does not say whose repository", tiny_folder, repo, ConfigError)


def test_a_damaged_folder(logged_in: FakeHub, tiny_folder: Path, tmp_path: Path) -> None:
    refuses("not a checkpoint folder", tmp_path)
    folder = save(load(tiny_folder), tmp_path / "x")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1])
    refuses("another SHA-256", folder)
    assert logged_in.requests == []


def test_an_altered_download_of_what_was_published(logged_in: FakeHub, tiny_folder: Path) -> None:
    _, published = publish(tiny_folder, "lab/tiny")
    logged_in.fault("GET /storage/.*", alter)
    with pytest.raises(WeightsError, match="another SHA-256"):
        load_pretrained(str(published))


def test_a_report_that_does_not_fit(judged: tuple[CellClassifier, Report], synthetic: CellDataset) -> None:
    model, report = judged
    on_training_images = evaluate(model, synthetic.split((0.5, 0.25, 0.25), seed=0)[0])
    with pytest.raises(DataError, match="training part"):
        model.push_to_hub("lab/x", report=on_training_images)
    other = create_model("cnn", LabelSchema.from_names(["a", "b"]), image_size=32)
    with pytest.raises(LabelError, match="other classes"):
        other.push_to_hub("lab/x", report=report)
