"""What is fitted beside weights, fitted anew: the weights file stays, the model is whole wherever it goes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cellnet.datasets import CellDataset
from cellnet.errors import WeightsError
from cellnet.evaluation import calibrate
from cellnet.hub import copy_pretrained, load, load_pretrained, publish, refit, save, share
from cellnet.inference import fit_familiarity
from cellnet.models import CellClassifier, create_model

from .fake_hub import TOKEN, FakeHub


@pytest.fixture
def folder(tiny_model: CellClassifier, synthetic: CellDataset, tmp_path: Path) -> Path:
    """A checkpoint folder with an older familiarity among its weights, and a file of its own."""
    fit_familiarity(tiny_model, synthetic)
    tiny_model.thresholds = {"distance": 9.0}
    saved = save(tiny_model, tmp_path / "tiny", storage="int8")
    (saved / "train.toml").write_text("epochs = 1\n")
    return saved


@pytest.fixture
def fitted(folder: Path, synthetic: CellDataset) -> CellClassifier:
    model = load(folder)
    fit_familiarity(model, synthetic, seed=1, directions=3)
    calibrate(model, synthetic)
    return model


def test_the_weights_file_stays(folder: Path, fitted: CellClassifier, synthetic: CellDataset) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert refit(fitted, folder) == folder
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    for name in ("model.safetensors", "golden.safetensors", "train.toml"):
        assert after[name] == before[name]
    assert after.keys() - before.keys() == {"probes.safetensors"}
    assert json.loads(after["config.json"])["format"] == 3
    loaded = load(folder)
    assert loaded.thresholds == fitted.thresholds != {"distance": 9.0}
    assert loaded.temperature == fitted.temperature
    assert loaded.familiarity is not None
    assert len(loaded.familiarity.directions) == 3
    np.testing.assert_allclose(loaded.predict(synthetic).ood, fitted.predict(synthetic).ood, rtol=0.02)
    assert loaded.self_test().ok


def test_again_and_again(folder: Path, fitted: CellClassifier) -> None:
    refit(fitted, folder)
    model = load(folder)
    model.probes.clear()
    model.thresholds = {"probability": 0.5}
    refit(model, folder)
    loaded = load(folder)
    assert len(loaded.probes) == 0
    assert loaded.thresholds == {"probability": 0.5}


def test_it_is_whole_wherever_it_goes(
    folder: Path, fitted: CellClassifier, tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    refit(fitted, folder)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    publish(folder, "lab/tiny")
    for place in (copy_pretrained(folder, tmp_path / "mirror"), "hf://lab/tiny"):
        model = load_pretrained(place)
        assert model.thresholds == fitted.thresholds
        torch.testing.assert_close(model.state_dict(), load(folder).state_dict())
    assert not (tmp_path / "mirror" / "tiny" / "probes.safetensors").exists()


def test_a_folder_that_shares_its_weights_does_not_notice(tmp_path: Path, synthetic: CellDataset) -> None:
    model = create_model("cnn", synthetic.labels, image_size=32)
    owner, other = (save(model, tmp_path / name, storage="float32") for name in ("owner", "other"))
    share(other, owner, {"backbone.": "backbone."})
    for name in (owner, other):
        fitted = load(name)
        fit_familiarity(fitted, synthetic)
        refit(fitted, name)
    assert load(other).familiarity is not None
    assert (other / "model.safetensors").stat().st_size < (owner / "model.safetensors").stat().st_size / 10


def test_another_model_is_refused(folder: Path, fitted: CellClassifier, synthetic: CellDataset) -> None:
    before = (folder / "config.json").read_bytes()
    with pytest.raises(WeightsError, match="is not that of"):
        refit(create_model("cnn", synthetic.labels, image_size=32), folder)
    with torch.no_grad():
        next(fitted.backbone.parameters()).add_(1)
    with pytest.raises(WeightsError, match="save it elsewhere"):
        refit(fitted, folder)
    assert (folder / "config.json").read_bytes() == before


def test_damage_is_found(folder: Path, fitted: CellClassifier) -> None:
    refit(fitted, folder)
    other = shutil.copytree(folder, folder.parent / "gone")
    (other / "probes.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"probes\.safetensors"):
        load(other)
    data = bytearray((folder / "probes.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "probes.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match=r"probes\.safetensors"):
        load(folder)
