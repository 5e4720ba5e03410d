"""One batch and one step: accumulation, compilation, and what a model looks like afterwards."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from cellnet.backbones import Backbone
from cellnet.errors import ConfigError
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS
from cellnet.models import CellClassifier, create_model
from cellnet.models.heads import LinearHead
from cellnet.training import TrainConfig
from cellnet.training.learner import Learner, check_compiler
from cellnet.training.objectives import Classification
from cellnet.training.processes import create_accelerator


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return images, torch.arange(8)


def net() -> CellClassifier:
    torch.manual_seed(0)
    return create_model("timm:vit_tiny_patch16_224", image_size=32, dropout=0)  # no batch normalisation


def learner(model: CellClassifier, **options: object) -> Learner:
    config = TrainConfig.from_dict({"lr": 1e-2, "warmup_epochs": 0, "optimizer": "sgd", **options})
    return Learner(model, config, create_accelerator(config, "cpu"), Classification(), steps=1)


def test_two_halves_make_the_step_of_the_whole(batch: tuple[Tensor, Tensor]) -> None:
    images, targets = batch
    whole, halves = learner(net()), learner(net())
    loss = whole.learn(images, targets, 32)
    losses = [halves.learn(images[part], targets[part], 32, share=0.5) for part in (slice(4), slice(4, 8))]
    for each in (whole, halves):
        each.update()
    torch.testing.assert_close(sum(losses) / 2, loss)
    for a, b in zip(whole.model.parameters(), halves.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_the_average_of_the_weights_is_judged(batch: tuple[Tensor, Tensor]) -> None:
    one = learner(net(), ema=0.5)
    before = copy.deepcopy(one.model.state_dict())
    one.learn(*batch, 32)
    one.update()
    assert one.judged is not one.model
    assert set(one.stateful) == {"model", "ema", "optimizer", "scheduler"}
    moved = [not torch.equal(before[key], value) for key, value in one.model.state_dict().items()]
    assert any(moved)


def test_the_model_is_given_the_size_that_was_asked_for(batch: tuple[Tensor, Tensor]) -> None:
    one, seen = learner(net()), []
    one.model.backbone.register_forward_hook(lambda module, args, output: seen.append(args[0].shape[-1]))
    one.learn(*batch, 16)
    assert seen == [16]


@pytest.mark.slow
def test_a_compiled_network_learns_the_same_and_is_given_back_plain(batch: tuple[Tensor, Tensor]) -> None:
    plain, compiled = (learner(two_layers(), compile=flag) for flag in (False, True))
    for each in (plain, compiled):
        for size in (32, 32, 24):  # another size compiles anew
            each.learn(*batch, size)
            each.update()
    for a, b in zip(plain.model.parameters(), compiled.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert compiled.model._compiled_call_impl is not None
    compiled.close()
    assert compiled.model._compiled_call_impl is None
    copy.deepcopy(compiled.model)


def test_where_nothing_can_be_compiled_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(function: object) -> object:
        raise RuntimeError("InvalidCxxCompiler: no working C++ compiler\nmore")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(ConfigError, match=r"does not work here \(InvalidCxxCompiler: no working.*leave out compile"):
        check_compiler(torch.device("cpu"))


class OneConvolution(Backbone):
    """As small as networks are: a compiler takes its time over each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.num_features, self.input_size = "one", 8, 32
        self.mean = self.std = (0.5, 0.5, 0.5)
        self.convolution = nn.Conv2d(3, 8, 4, stride=4)

    def feature_maps(self, images: Tensor) -> Tensor:
        maps: Tensor = self.convolution(images).relu()
        return maps


def two_layers() -> CellClassifier:
    torch.manual_seed(0)
    return CellClassifier(OneConvolution(), PBC_LABELS, Preprocess(32), LinearHead(8, 8, dropout=0.0))
