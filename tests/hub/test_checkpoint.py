from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cellnet.cards import WeightsCard
from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError, UnknownNameError, WeightsError
from cellnet.hub import load, read_pretrained, save, self_test, summarise
from cellnet.hub.checkpoint import verify
from cellnet.hub.config import FORMAT
from cellnet.hub.storage import STORAGES, pack, unpack
from cellnet.inference import PredictionSets, RiskControl, guarantees
from cellnet.models import (
    Calibrator,
    CellClassifier,
    IsotonicCalibration,
    TemperatureScaling,
    VectorScaling,
    create_model,
)
from cellnet.tensors import read_tensors, write_tensors

CARD = WeightsCard(
    name="tiny.synthetic_v1",
    training_data="synthetic",
    training_data_hash="0123abcd",
    split="70/10/20, seed 0",
    command="cellnet train --model cnn",
    metrics={"accuracy": {"value": 0.9876, "low": 0.98, "high": 0.99}},
    num_test_images=1234,
    limits=("Drawn cells only.",),
)


RISK = {"risk": 0.05, "delta": 0.05, "images": 200, "accepted": 150, "errors": 2, "threshold": 0.75}


@pytest.fixture
def checkpoint(tiny_model: CellClassifier, tmp_path: Path) -> Path:
    tiny_model.temperature = 1.7
    tiny_model.thresholds = {"probability": 0.6, "energy": -2.5}
    return save(tiny_model, tmp_path / "weights" / "tiny", card=CARD)


def test_a_card_that_lacks_something_is_one_clear_error(checkpoint: Path) -> None:
    edit(checkpoint, lambda c: c["architecture"].pop("preprocess"))
    with pytest.raises(WeightsError, match=r"card of .* is incomplete \('preprocess'\); fetch the weights anew"):
        summarise(read_pretrained(checkpoint))


def test_a_run_folder_is_pointed_into(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "run" / "classifier" / "model")
    with pytest.raises(WeightsError, match=r"run is not a checkpoint folder.* Did you mean .*run/classifier/model\?"):
        load(tmp_path / "run")


@pytest.mark.parametrize("storage", STORAGES)
def test_round_trip(tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path, storage: str) -> None:
    tiny_model.temperature = 1.7
    tiny_model.thresholds = {"probability": 0.6, "energy": -2.5}
    tiny_model.nucleus_share = 0.125
    before = {name: value.clone() for name, value in tiny_model.train().state_dict().items()}
    folder = save(tiny_model, tmp_path / "tiny", card=CARD, storage=storage)
    assert tiny_model.training
    assert all(torch.equal(value, before[name]) for name, value in tiny_model.state_dict().items())

    loaded = load(folder)
    assert not loaded.training
    assert loaded.labels == tiny_model.labels
    assert loaded.preprocess == tiny_model.preprocess
    assert loaded.nucleus_share == 0.125
    assert (loaded.temperature, loaded.thresholds) == (1.7, {"probability": 0.6, "energy": -2.5})
    assert loaded.weights_card == CARD
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())

    # The reference: the same storage without any file.
    tiny_model.load_state_dict(unpack(pack(tiny_model.state_dict(), storage)))
    images = torch.stack([synthetic.image(i) for i in range(8)])
    with torch.no_grad():
        assert torch.equal(loaded(images), tiny_model.eval()(images))
    assert self_test(loaded).ok


@pytest.mark.parametrize(
    "calibrator",
    [
        VectorScaling([1 / 3] * 8, [0.1 * i for i in range(8)]),
        IsotonicCalibration([[0, 0.1 + 0.2, 1]] * 8, [[0, 0.4, 0.9]] * 8),
    ],
)
def test_calibration_and_guarantees_come_back(
    tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path, calibrator: Calibrator
) -> None:
    tiny_model.calibrator = calibrator
    tiny_model.risk_control = RiskControl(**RISK)
    tiny_model.sets = PredictionSets(0.9, True, [0.1 * i for i in range(8)])
    folder = tiny_model.save(tmp_path / "tiny", storage="float32")
    loaded = load(folder)
    assert loaded.calibrator == calibrator
    assert loaded.temperature == json.loads((folder / "config.json").read_text())["temperature"] == 1.0
    assert (loaded.risk_control, loaded.sets) == (tiny_model.risk_control, tiny_model.sets)
    told = summarise(read_pretrained(folder))
    assert all(promise in told for promise in guarantees(loaded))
    before, after = tiny_model.predict(synthetic), loaded.predict(synthetic)
    assert after.probabilities.tolist() == before.probabilities.tolist()
    assert after.sets == before.sets
    assert "At most 5 % of the images accepted" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_folder_from_before_there_were_calibrators(checkpoint: Path) -> None:
    edit(checkpoint, lambda c: [c.pop(key) for key in ("calibrator", "risk_control", "sets")])
    loaded = load(checkpoint)
    assert loaded.calibrator == TemperatureScaling(1.7)
    assert (loaded.risk_control, loaded.sets) == (None, None)


def test_what_a_folder_holds(checkpoint: Path) -> None:
    assert sorted(path.name for path in checkpoint.iterdir()) == [
        "README.md",
        "config.json",
        "golden.safetensors",
        "model.safetensors",
    ]
    assert [path.name for path in checkpoint.parent.iterdir()] == ["tiny"]
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["format"] == 1
    assert config["weights"]["storage"] == "float16"
    assert [c["name"] for c in config["architecture"]["labels"]["classes"]][:2] == ["basophil", "eosinophil"]


def test_the_readme(checkpoint: Path) -> None:
    text = (checkpoint / "README.md").read_text(encoding="utf-8")
    for words in (
        "For research use only",
        "| accuracy | 0.9876 | 0.9800 – 0.9900 |",
        "1,234 test images",
        "Drawn cells only.",
        "Apache-2.0",
        "0123abcd",
        'load_pretrained("./tiny")',
        "| basophil | granulocyte |",
    ):
        assert words in text


def test_the_card_of_a_loaded_model_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    again = save(load(checkpoint), tmp_path / "again")
    assert load(again).weights_card == CARD


def test_without_a_card_the_readme_says_that_nothing_was_measured(tiny_model: CellClassifier, tmp_path: Path) -> None:
    folder = save(tiny_model, tmp_path / "bare")
    card = load(folder).weights_card
    assert card is not None
    assert card.name == "bare"
    assert "treat these weights as untested" in (folder / "README.md").read_text(encoding="utf-8")


def test_undefined_figures_are_left_out_of_the_card(tiny_model: CellClassifier, tmp_path: Path) -> None:
    nan = float("nan")
    card = WeightsCard(name="x", metrics={"f1": {"value": nan, "low": nan, "high": nan}, **CARD.metrics})
    loaded = load(save(tiny_model, tmp_path / "x", card=card)).weights_card
    assert loaded is not None
    assert list(loaded.metrics) == ["accuracy"]


def test_loading_leaves_the_random_numbers_alone(checkpoint: Path) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    load(checkpoint)
    assert torch.equal(torch.rand(2), wanted)


def test_a_composed_model(tmp_path: Path) -> None:
    model = create_model("cnn+cnn", image_size=32).eval()
    loaded = load(save(model, tmp_path / "two", storage="float32"))
    images = torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(images), loaded(images))


# Where the folder may be.


def test_an_existing_checkpoint_is_replaced_only_when_asked(tiny_model: CellClassifier, checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="overwrite=True"):
        save(tiny_model, checkpoint)
    (checkpoint / "history.csv").touch()  # of those that ship
    with torch.no_grad():
        next(tiny_model.head.parameters()).fill_(0.5)
    save(tiny_model, checkpoint, overwrite=True)
    assert not (checkpoint / "history.csv").exists()
    assert next(load(checkpoint).head.parameters()).eq(0.5).all()
    assert [path.name for path in checkpoint.parent.iterdir()] == ["tiny"]


def test_a_folder_of_other_things_is_never_replaced(tiny_model: CellClassifier, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not a checkpoint"):
        save(tiny_model, tmp_path, overwrite=True)
    with pytest.raises(ConfigError, match="not a checkpoint"):
        save(tiny_model, tmp_path / "thesis.tex", overwrite=True)
    assert (tmp_path / "thesis.tex").exists()
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="not a checkpoint"):
        save(tiny_model, tmp_path, overwrite=True)


def test_a_checkpoint_among_other_things_is_never_replaced(tiny_model: CellClassifier, checkpoint: Path) -> None:
    (checkpoint / "thesis").mkdir()
    with pytest.raises(ConfigError, match="holds thesis, which is not a checkpoint's"):
        save(tiny_model, checkpoint, overwrite=True)
    assert (checkpoint / "thesis").exists()


def test_an_empty_folder_and_the_working_folder(
    tiny_model: CellClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    save(tiny_model, tmp_path / "empty")
    monkeypatch.chdir(tmp_path)
    assert load(save(tiny_model, "relative")).labels == tiny_model.labels


@pytest.mark.parametrize(
    ("happens", "raised"),
    [(OSError(28, "No space left on device"), ConfigError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_nothing_half_written_is_left(
    tiny_model: CellClassifier,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    happens: BaseException,
    raised: type[BaseException],
) -> None:
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}

    def stop(*_: object, **__: object) -> None:
        raise happens

    monkeypatch.setattr("cellnet.hub.checkpoint.render_card", stop)
    with pytest.raises(raised):
        save(tiny_model, checkpoint, overwrite=True)
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before
    assert [path.name for path in checkpoint.parent.iterdir()] == ["tiny"]


def test_a_stop_between_the_two_renames_brings_the_old_checkpoint_back(
    tiny_model: CellClassifier, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(tiny_model, checkpoint, overwrite=True)
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before
    assert [path.name for path in checkpoint.parent.iterdir()] == ["tiny"]


def test_a_link_to_a_folder_stays_a_link(tiny_model: CellClassifier, checkpoint: Path) -> None:
    link = checkpoint.parent.parent / "link"
    link.symlink_to(checkpoint)
    save(tiny_model, link, overwrite=True)
    assert link.is_symlink()
    assert load(link).labels == tiny_model.labels


def test_a_diverged_model_is_not_saved(tiny_model: CellClassifier, tmp_path: Path) -> None:
    with torch.no_grad():
        next(tiny_model.parameters()).fill_(float("nan"))
    with pytest.raises(WeightsError, match="not finite"):
        save(tiny_model, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_bad_options(tiny_model: CellClassifier, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="float16"):
        save(tiny_model, tmp_path / "x", storage="fp16")
    with pytest.raises(DataError, match="uint8"):
        save(tiny_model, tmp_path / "x", golden_images=torch.zeros(3, 32, 32))
    assert not list(tmp_path.iterdir())


# What may be wrong with a folder.


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


PROBE = {"words": {"cell_size": ["big", "small"]}}


def test_control_characters_are_left_out(checkpoint: Path) -> None:
    edit(checkpoint, lambda c: c["card"].update(limits=["\x1b[31mred\x9b\tand\nmore"]))
    assert read_pretrained(checkpoint).card.limits == ("[31mred\tand\nmore",)


def test_what_stands_in_a_cell_of_the_readme_stays_there(tiny_model: CellClassifier, tmp_path: Path) -> None:
    card = replace(CARD, split="a | b\n<script>")
    text = (save(tiny_model, tmp_path / "x", card=card) / "README.md").read_text()
    assert r"| Partitions | a \| b &lt;script> |" in text


def test_a_card_may_know_little_of_the_training(tiny_model: CellClassifier, tmp_path: Path) -> None:
    card = WeightsCard("x", training={"seed": 0}, speed={"machine": "mine"})
    text = (save(tiny_model, tmp_path / "x", card=card) / "README.md").read_text()
    assert "- Seed: 0\n- Epochs: not stated\n- Compute spent: not stated" in text


def test_unknown_keys_are_left_alone(checkpoint: Path) -> None:
    edit(checkpoint, lambda c: c.update(later=1))
    edit(checkpoint, lambda c: c["card"].update(later=1))
    assert load(checkpoint).weights_card == CARD


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format=FORMAT + 1, cellnet="9.1"), "written by cellnet 9.1.*pip install --upgrade"),
        (lambda c: c.pop("format"), "no 'format'"),
        (lambda c: c.update(format="1"), "no 'format'"),
        (lambda c: c.pop("architecture"), "'architecture' is None"),
        (lambda c: c.update(architecture=[]), r"'architecture' is \[\]"),
        (lambda c: c["architecture"].update(backbone="cmm"), "describes no model.*Unknown backbone 'cmm'"),
        (lambda c: c["architecture"].clear(), "describes no model"),
        (lambda c: c["architecture"]["labels"]["classes"].pop(), "with 7 classes"),
        (lambda c: c["architecture"].update(backbone="mobilenet_v2"), "does not belong|describes no model"),
        (lambda c: c.update(temperature=0), "temperature is 0"),
        (lambda c: c.update(temperature="hot"), "temperature is 'hot'"),
        (lambda c: c.update(calibrator="hot"), "'calibrator' is 'hot'"),
        (lambda c: c.update(calibrator={}), "Unknown calibration ''"),
        (lambda c: c.update(calibrator={"method": "platt"}), "Unknown calibration 'platt'"),
        (lambda c: c.update(calibrator={"method": "vector", "scale": [1.0]}), "incomplete"),
        (
            lambda c: c.update(calibrator={"method": "vector", "scale": [1.0] * 8, "bias": [1e9] * 8}),
            "bias holds 1000000000",
        ),
        (lambda c: c.update(calibrator={"method": "vector", "scale": [1.0], "bias": [0.0]}), "for 1 classes"),
        (lambda c: c.update(risk_control={"risk": 2}), "risk_control|incomplete"),
        (lambda c: c.update(risk_control=RISK | {"risk": 2}), "risk is 2"),
        (lambda c: c.update(risk_control=RISK | {"errors": -1}), "fit the risk anew"),
        (lambda c: c.update(risk_control=RISK | {"threshold": 1.5}), "threshold holds 1.5"),
        (lambda c: c.update(sets={"coverage": 0.9, "by_class": True, "limits": [0.1] * 7}), "'sets' is for 7 classes"),
        (lambda c: c.update(sets={"coverage": 0.9, "by_class": True, "limits": ["low"] * 8}), "limits holds 'low'"),
        (lambda c: c.update(sets={"coverage": 0.9, "by_class": 1, "limits": [0.1] * 8}), "by_class is 1"),
        (lambda c: c.update(sets={"coverage": 0.9, "by_class": True, "limits": [0.1] * 8, "x": 1}), "field 'x'"),
        (lambda c: c.update(thresholds={"entropy": 1.0}), "Unknown threshold 'entropy'"),
        (lambda c: c.update(thresholds={"energy": None}), "threshold energy is None"),
        (lambda c: c.update(weights=None), "'weights' is None"),
        (lambda c: c["weights"].pop("sha256"), "'sha256' is None"),
        (lambda c: c["weights"].update(storage="int4"), "Unknown storage 'int4'"),
        (lambda c: c["golden"].update(tolerance=-1), "tolerance is -1"),
        (lambda c: c["golden"].update(libraries=5), "'libraries' is 5"),
        (lambda c: c["golden"].update(tolerance=10**400), "wrong value"),
        (lambda c: c.update(temperature=10**400), "wrong value"),
        (lambda c: c["card"].update(scorings=5), "wrong value"),
        (lambda c: c["card"].update(metrics={"accuracy": {"value": "high", "low": 0, "high": 1}}), "value of accuracy"),
        (lambda c: c["card"].update(metrics={"accuracy": 1}), "wrong value"),
        (lambda c: c["weights"].update(shared=[{"folder": "a\0b", "sha256": "", "names": {}}]), "does not exist"),
        (lambda c: c["architecture"].update(probes={"attributes": PROBE | {"num_features": -1}}), "is -1, which no"),
        (lambda c: c["architecture"].update(probes={"attributes": PROBE | {"num_features": 10**12}}), "no stored"),
        (lambda c: c["architecture"].update(probes={"attributes": PROBE | {"num_features": 1e12}}), "no model"),
        (lambda c: c["architecture"].update(probes=7), "no model"),
        (lambda c: c["architecture"]["labels"]["classes"][0].update(name="=1+1"), "begins like a formula"),
        (lambda c: c["golden"].update(sha256="0"), "golden.safetensors is not the file"),
        (lambda c: c.update(card="fine"), "'card' is 'fine'"),
    ],
)
def test_a_wrong_config(checkpoint: Path, change: Callable[[dict[str, Any]], object], words: str) -> None:
    edit(checkpoint, change)
    with pytest.raises(WeightsError, match=words):
        load(checkpoint)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "no JSON object"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": "' + b"x" * 1_000_001 + b'"}', "far too many"),
    ],
)
def test_a_config_that_is_none(checkpoint: Path, content: bytes, words: str) -> None:
    (checkpoint / "config.json").write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        load(checkpoint)


def test_missing_things(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no folder"):
        load(tmp_path / "gone")
    with pytest.raises(WeightsError, match="not a checkpoint folder"):
        load(tmp_path)
    (checkpoint / "golden.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"golden\.safetensors"):
        load(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        load(checkpoint)


def test_a_pickle_in_place_of_the_weights_is_not_opened(checkpoint: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
            return Path.touch, (tmp_path / "exploded",)

    (checkpoint / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError, match="never opens"):
        load(checkpoint)
    torch.save({"w": Bomb()}, checkpoint / "model.safetensors")
    with pytest.raises(WeightsError, match="never opens"):
        load(checkpoint)
    assert not (tmp_path / "exploded").exists()


def test_the_weights_of_another_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    other = save(create_model("cnn", image_size=32), tmp_path / "other")
    shutil.copy(other / "model.safetensors", checkpoint)
    with pytest.raises(WeightsError, match="SHA-256"):
        load(checkpoint)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>Not found</html>", "a web page"),
        (b"", "empty"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "golden.safetensors"])
def test_other_things_in_place_of_tensors(checkpoint: Path, name: str, content: bytes, words: str) -> None:
    (checkpoint / name).write_bytes(content)
    for read in (load, verify):
        with pytest.raises(WeightsError, match=words):
            read(checkpoint)


def replace_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Other weights, and their hash in config.json: what a hostile folder would have."""
    path = folder / "model.safetensors"
    weights = read_tensors(path)
    change(weights)
    digest = write_tensors(path, weights)
    edit(folder, lambda c: c["weights"].update(sha256=digest))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(checkpoint: Path, value: float) -> None:
    replace_weights(checkpoint, lambda w: w["head.classify.1.bias"].fill_(value))
    with pytest.raises(WeightsError, match=r"'head\.classify\.1\.bias' holds values that are not finite"):
        load(checkpoint)


def test_scales_that_are_not_finite(tiny_model: CellClassifier, tmp_path: Path) -> None:
    folder = save(tiny_model, tmp_path / "x", storage="int8")
    replace_weights(folder, lambda w: w["head.classify.1.weight::scale"].fill_(float("nan")))
    with pytest.raises(WeightsError, match=r"'head\.classify\.1\.weight' holds values that are not finite"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("head.classify.1.bias"), "lacks the weight 'head.classify.1.bias'"),
        (lambda w: w.update(more=torch.ones(1)), "has the unknown weight 'more'"),
        (lambda w: w.update({"head.classify.1.bias": torch.ones(3)}), r"shape \(3,\).*with 8 classes, needs \(8,\)"),
    ],
)
def test_weights_that_do_not_fit(
    checkpoint: Path, change: Callable[[dict[str, torch.Tensor]], object], words: str
) -> None:
    replace_weights(checkpoint, change)
    with pytest.raises(WeightsError, match=words):
        load(checkpoint)


@pytest.mark.parametrize("backbone", ["timm:hf-hub:me/evil", "timm:local-dir:/tmp", "../../evil", "os.system"])
def test_a_config_cannot_fetch_or_run_anything(checkpoint: Path, backbone: str) -> None:
    edit(checkpoint, lambda c: c["architecture"].update(backbone=backbone))
    with pytest.raises(WeightsError, match="describes no model"):
        load(checkpoint)
