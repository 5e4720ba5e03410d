from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cellnet.errors import ConfigError, UnknownNameError
from cellnet.experiments import Protocol, create_network, list_protocols, load_protocol
from cellnet.labels import PBC_LABELS
from cellnet.models import list_models


def test_the_studys_published_settings() -> None:
    study = load_protocol("study")
    assert study.split[2] == 0.3
    assert study.split[1] == pytest.approx(0.2 * 0.7)  # the last 20 % of the training share
    assert sum(study.split) == pytest.approx(1)
    for name, lr in (("xception", 1e-3), ("hybrid", 1e-4)):
        config, options = study.for_model(name)
        assert (config.optimizer, config.lr, config.epochs, config.batch_size) == ("adam", lr, 10, 32)
        assert (config.augmentation, config.schedule, config.weight_decay) == ("none", "constant", 0)
        assert (options["image_size"], options["pretrained"]) == (224, True)
    assert study.for_model("xception")[1]["head"] == "study"
    assert "head" not in study.for_model("hybrid")[1]
    assert study.for_model("cnn")[1]["pretrained"] is False


def test_the_networks_of_the_study_see_raw_pixels() -> None:
    _, options = load_protocol("study").for_model("cnn")
    model = create_network("cnn", PBC_LABELS, **options)
    pixels = torch.arange(0, 255, dtype=torch.uint8).view(1, 1, 15, 17).expand(1, 3, 15, 17)
    torch.testing.assert_close(model.normalise(pixels), pixels.float(), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", list_protocols())
def test_shipped_protocols_make_models(name: str) -> None:
    protocol = load_protocol(name)
    assert set(protocol.models) <= set(list_models())
    config, options = protocol.for_model("cnn")
    assert create_network("cnn", PBC_LABELS, **options).preprocess.image_size == options["image_size"]
    assert config.epochs > 1


def test_ours_lets_networks_see_what_they_were_trained_on() -> None:
    _, options = load_protocol("honest").for_model("mobilenet_v2")
    assert not {"mean", "std", "pretrained"} & options.keys()


def test_a_protocol_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[train]\nepochs = 3\n[models.cnn.train]\nlr = 0.5\n[models.cnn.model]\nmean = [0, 0.5, 1]\n")
    protocol = load_protocol(path)
    assert protocol.split == (0.7, 0.1, 0.2)
    config, options = protocol.for_model("cnn")
    assert (config.epochs, config.lr, options) == (3, 0.5, {"mean": (0, 0.5, 1)})
    assert protocol.for_model("xception")[1] == {}
    assert protocol.for_model("xception")[0].lr == 1e-3


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("spilt = [1]", UnknownNameError, "Did you mean 'split'"),
        ("[train]\nepoch = 3", UnknownNameError, "Did you mean 'epochs'"),
        ("[models.cnn.train]\nlr = -1", ConfigError, "lr=-1 is out of range"),
        ("[models.cnn.trian]\nlr = 1", UnknownNameError, "Did you mean 'train'"),
        ("[models.mobilnet_v2.train]\nlr = 1", UnknownNameError, "Did you mean 'mobilenet_v2'"),
        ("[model]\nimagesize = 3", UnknownNameError, "Did you mean 'image_size'"),
        ("train = 3", ConfigError, r"train=3 of the protocol is no table"),
        ("models = 3", ConfigError, r"models=3 of the protocol is no table"),
        ("[models]\ncnn = 3", ConfigError, r"cnn=3 of the protocol is no table"),
        ('split = "half"', ConfigError, "is not a list of shares"),
        ("split = 1", ConfigError, "is not a list of shares"),
        ("[train", ConfigError, "is not TOML"),
    ],
)
def test_files_that_are_no_protocol(text: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(error, match=message):
        load_protocol(tmp_path / "mine.toml")


def test_names_that_are_no_protocol(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'study'"):
        load_protocol("stud")
    with pytest.raises(ConfigError, match="Cannot read "):
        load_protocol(tmp_path / "gone.toml")


def test_options_of_one_model_do_not_leak_into_another() -> None:
    protocol = Protocol(model={"image_size": 64}, models={"cnn": {"model": {"image_size": 32}}})
    protocol.for_model("cnn")[1]["pretrained"] = True
    assert protocol.for_model("xception")[1] == {"image_size": 64}
    assert protocol.for_model("cnn")[1] == {"image_size": 32}
