from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from cellnet.backbones import create_backbone
from cellnet.cards import WeightsCard
from cellnet.errors import ConfigError, LabelError
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS, LabelSchema
from cellnet.models import CellClassifier, HybridInceptionXception, create_model, from_architecture


def branch(name: str = "cnn", **options: object) -> CellClassifier:
    return create_model(name, **({"head": "study", "image_size": 32} | options))  # type: ignore[arg-type]


@pytest.fixture
def branches() -> tuple[CellClassifier, CellClassifier]:
    """Two trained classifiers, in so far as their batch normalisation has seen images."""
    torch.manual_seed(0)
    pair = branch(), branch("timm:test_convnext", mean=(0.2, 0.3, 0.4))
    for model in pair:
        model.train()(torch.rand(8, 3, 32, 32))
    return pair


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_the_fused_layers_see_the_dense_layers_of_the_branches(
    branches: tuple[CellClassifier, CellClassifier], images: Tensor
) -> None:
    hybrid = HybridInceptionXception.from_branches(*branches).eval()
    a, b = (model.eval() for model in branches)
    joined = torch.cat([model.head.branch(model.features(images)) for model in (a, b)], dim=1)
    assert joined.shape == (4, 2048)
    hidden = (joined @ hybrid.head.fuse[1][0].weight.T + hybrid.head.fuse[1][0].bias).relu()
    expected = hidden @ hybrid.head.fuse[3].weight.T + hybrid.head.fuse[3].bias
    torch.testing.assert_close(hybrid(images), expected, rtol=1e-3, atol=1e-4)


def test_only_the_fused_layers_train(branches: tuple[CellClassifier, CellClassifier], images: Tensor) -> None:
    hybrid = HybridInceptionXception.from_branches(*branches).train()
    assert hybrid.backbone_frozen
    trained = {name for name, p in hybrid.named_parameters() if p.requires_grad}
    assert trained == {f"head.fuse.{i}.{p}" for i in ("1.0", "3") for p in ("weight", "bias")}
    before = copy.deepcopy(hybrid.state_dict())
    optimizer = torch.optim.SGD([p for p in hybrid.parameters() if p.requires_grad], lr=1.0)
    hybrid(images).square().sum().backward()
    optimizer.step()
    assert {k for k, v in hybrid.state_dict().items() if not torch.equal(v, before[k])} == trained


def test_dropout_of_the_joined_features_stays_active(
    branches: tuple[CellClassifier, CellClassifier], images: Tensor
) -> None:
    hybrid = HybridInceptionXception.from_branches(*branches).train()
    assert not torch.equal(hybrid(images), hybrid(images))


def test_without_freezing_everything_trains(branches: tuple[CellClassifier, CellClassifier]) -> None:
    branches[0].freeze_backbone()
    hybrid = HybridInceptionXception.from_branches(*branches, freeze=False)
    assert not hybrid.backbone_frozen
    assert all(p.requires_grad for p in hybrid.parameters())


def test_unfreezing_trains_everything(branches: tuple[CellClassifier, CellClassifier]) -> None:
    hybrid = HybridInceptionXception.from_branches(*branches).train()
    hybrid.unfreeze_backbone()
    assert all(p.requires_grad for p in hybrid.parameters())
    assert hybrid.backbone.training


def test_freezing_the_backbone_alone_leaves_the_dense_layers(
    branches: tuple[CellClassifier, CellClassifier],
) -> None:
    hybrid = HybridInceptionXception.from_branches(*branches, freeze=False)
    hybrid.freeze_backbone()
    assert all(p.requires_grad for p in hybrid.head.parameters())
    assert not any(p.requires_grad for p in hybrid.backbone.parameters())


def test_the_branches_are_copied(branches: tuple[CellClassifier, CellClassifier]) -> None:
    HybridInceptionXception.from_branches(*branches)
    assert all(p.requires_grad for model in branches for p in model.parameters())
    assert branches[1].backbone.mean == (0.2, 0.3, 0.4)


def test_it_knows_what_its_branches_learned_from(branches: tuple[CellClassifier, CellClassifier]) -> None:
    assert HybridInceptionXception.from_branches(*branches).origins == ()
    first, second, third = (WeightsCard(name, name) for name in ("first", "second", "third"))
    branches[0].origins, branches[1].origins = (first,), (None,)
    branches[1].weights_card = second
    assert HybridInceptionXception.from_branches(*branches).origins == (first, None, second)
    branches[0].weights_card = third
    assert HybridInceptionXception.from_branches(*branches).origins == (first, None, third, second)


def test_its_architecture_keeps_the_statistics_of_each_branch(
    branches: tuple[CellClassifier, CellClassifier], images: Tensor
) -> None:
    hybrid = HybridInceptionXception.from_branches(*branches, dropout=0.3).eval()
    again = from_architecture(hybrid.architecture).eval()
    assert isinstance(again, HybridInceptionXception)
    assert again.architecture == hybrid.architecture
    assert again.head.architecture == {"name": "fusion", "dropout": 0.3}
    assert again.backbone.branches[1].mean == (0.2, 0.3, 0.4)
    again.load_state_dict(hybrid.state_dict())
    with torch.no_grad():
        assert torch.equal(again(images), hybrid(images))


def test_branches_that_do_not_fit() -> None:
    a = branch()
    with pytest.raises(LabelError, match="different classes"):
        HybridInceptionXception.from_branches(a, branch(labels=LabelSchema.from_names(["x", "y"])))
    with pytest.raises(ConfigError, match="same image_size"):
        HybridInceptionXception.from_branches(a, branch(image_size=64))
    with pytest.raises(ConfigError, match='head="study"'):
        HybridInceptionXception.from_branches(a, branch(head="linear"))
    with pytest.raises(ConfigError, match="single backbones"):
        HybridInceptionXception.from_branches(a, branch("cnn+cnn"))


def test_the_head_of_the_study_is_the_default(images: Tensor) -> None:
    backbone = create_backbone("cnn+cnn")
    preprocess = Preprocess(32, mean=backbone.mean, std=backbone.std)
    hybrid = HybridInceptionXception(backbone, PBC_LABELS, preprocess)  # type: ignore[arg-type]
    assert hybrid.head.architecture == {"name": "fusion", "dropout": 0.5}
    assert hybrid(images).shape == (4, 8)


def test_a_branch_comes_out_as_it_went_in(branches: tuple[CellClassifier, CellClassifier], images: Tensor) -> None:
    hybrid = HybridInceptionXception.from_branches(*branches, dropout=0.1).eval()
    for number, given in enumerate(branches):
        alone = hybrid.branch(number).eval()
        given.eval()
        assert (alone.backbone.name, alone.preprocess) == (given.backbone.name, given.preprocess)
        features = given.features(images)
        assert torch.equal(alone.features(images), features)
        assert torch.equal(alone.head.branch(features), given.head.branch(features))
        assert alone.head.dropout == 0.1
        assert all(p.requires_grad for p in alone.parameters())
        alone.head.classify.load_state_dict(given.head.classify.state_dict())
        torch.testing.assert_close(alone(images), given(images))
    with pytest.raises(ConfigError, match="no branch 2; give one of 0, 1"):
        hybrid.branch(2)
