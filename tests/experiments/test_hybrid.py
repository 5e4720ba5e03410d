"""Two stages: branches alone, then fused; the joint hybrid; and what cannot be fused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cellnet.cards import WeightsCard
from cellnet.datasets import CellDataset
from cellnet.errors import ConfigError, DataError
from cellnet.experiments import RunResult, create_network, train_fused, train_two_stages
from cellnet.experiments.hybrid import branch_names
from cellnet.hub import load_pretrained
from cellnet.labels import PBC_LABELS
from cellnet.models import CellClassifier, HybridInceptionXception, create_model
from cellnet.training import TrainConfig

BRANCH = TrainConfig(epochs=1, batch_size=8, lr=1e-3)
FUSED = TrainConfig(epochs=2, batch_size=8, lr=1e-2, seed=1, freeze_epochs=1)


def branch() -> CellClassifier:
    return create_model("cnn", PBC_LABELS, head="study", image_size=32)


@pytest.fixture(scope="module")
def parts(cells: CellDataset) -> tuple[CellDataset, ...]:
    return cells.split((0.5, 0.17, 0.33), seed=0)


@pytest.fixture(scope="module")
def stages(parts: tuple[CellDataset, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[RunResult], Path]:
    out = tmp_path_factory.mktemp("runs") / "hybrid"
    return train_two_stages(parts, [branch, branch], [BRANCH, BRANCH, FUSED], out, split="seed 0", device="cpu"), out


def test_each_stage_is_a_run_of_its_own(stages: tuple[list[RunResult], Path]) -> None:
    results, out = stages
    assert [result.checkpoint for result in results] == [
        out / name / "model" for name in ("branch-1", "branch-2", "hybrid")
    ]
    assert all((result.checkpoint / "model.safetensors").is_file() for result in results)
    assert [len(result.fit.history) for result in results] == [1, 1, 2]


def test_trained_networks_are_fused_at_another_size_and_crop(
    parts: tuple[CellDataset, ...], stages: tuple[list[RunResult], Path], tmp_path: Path
) -> None:
    branches = [load_pretrained(result.checkpoint) for result in stages[0][:2]]
    result = train_fused(
        parts, branches, FUSED, tmp_path / "run", freeze=False, image_size=48, crop=0.8, dropout=0.1, device="cpu"
    )
    model = load_pretrained(result.checkpoint)
    assert (model.preprocess.image_size, model.preprocess.crop, model.head.dropout) == (48, 0.8, 0.1)
    assert model.backbone.name == "cnn+cnn"


def test_networks_that_may_have_seen_test_images_are_refused(
    cells: CellDataset, stages: tuple[list[RunResult], Path], tmp_path: Path
) -> None:
    branches = [load_pretrained(result.checkpoint) for result in stages[0][:2]]
    with pytest.raises(DataError, match="cnn, which this training starts from, was trained on other images"):
        train_fused(cells.split((0.5, 0.17, 0.33), seed=1), branches, FUSED, tmp_path / "run")
    with pytest.raises(ConfigError, match="fuses two networks, not 1"):
        train_fused(cells.split((0.5, 0.17, 0.33), seed=0), branches[:1], FUSED, tmp_path / "run")


def test_both_ways_to_fuse_remember_what_the_branches_learned_from(
    parts: tuple[CellDataset, ...], tmp_path: Path
) -> None:
    def started() -> CellClassifier:
        model = branch()
        model.weights_card = WeightsCard("old", training_data="another set", training_data_hash="0" * 16)
        return model.transfer()

    results = train_two_stages(parts, [started, branch], [BRANCH, BRANCH, BRANCH], tmp_path / "two", device="cpu")
    branches = [load_pretrained(result.checkpoint) for result in results[:2]]
    fused = train_fused(parts, branches, BRANCH, tmp_path / "fused", device="cpu")
    for result in (results[2], fused):
        card = load_pretrained(result.checkpoint).weights_card
        assert card is not None
        assert card.seen == {"another set": "0" * 16}


def test_the_fused_layers_alone_were_trained(stages: tuple[list[RunResult], Path]) -> None:
    _, out = stages
    fused = load_file(out / "hybrid" / "best.safetensors")
    for number in (1, 2):
        alone = load_file(out / f"branch-{number}" / "best.safetensors")
        network = {key.removeprefix("backbone."): value for key, value in alone.items() if key.startswith("backbone.")}
        assert network
        for key, value in network.items():
            assert torch.equal(fused[f"backbone._branches.{number - 1}.{key}"], value), key
        assert torch.equal(fused[f"head.branches.{number - 1}.0.weight"], alone["head.branch.0.weight"])
    torch.manual_seed(FUSED.seed)
    untrained = HybridInceptionXception.from_branches(branch(), branch()).state_dict()
    assert not torch.equal(fused["head.fuse.3.weight"], untrained["head.fuse.3.weight"])


def test_the_two_branches_may_start_alike_and_the_hybrid_loads(stages: tuple[list[RunResult], Path]) -> None:
    import cellnet

    results, out = stages
    loaded = cellnet.load_pretrained(out / "hybrid" / "model")
    assert isinstance(loaded, HybridInceptionXception)
    assert loaded.weights_card is not None
    assert loaded.weights_card.name == "cnn+cnn"
    assert loaded.weights_card.starting_weights == "branch-1 and branch-2 of this run"
    assert results[-1].report.n == 16


def test_an_interrupted_stage_goes_on_to_the_same_end(
    parts: tuple[CellDataset, ...], stages: tuple[list[RunResult], Path], tmp_path: Path, witness: Any
) -> None:
    arguments: Any = (parts, [branch, branch], [BRANCH, BRANCH, FUSED], tmp_path)
    with pytest.raises(KeyboardInterrupt):  # in the second epoch of the third training
        train_two_stages(*arguments, device="cpu", callbacks=[witness(stop=(3, 1))])
    history = (tmp_path / "branch-1" / "history.csv").read_bytes()
    results = train_two_stages(*arguments, device="cpu", resume=True)
    assert (tmp_path / "branch-1" / "history.csv").read_bytes() == history
    uncut, out = stages
    ours, theirs = (load_file(folder / "hybrid" / "best.safetensors") for folder in (tmp_path, out))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert results[-1].report.confusion.tolist() == uncut[-1].report.confusion.tolist()


def test_without_freezing_the_branches_train_too(parts: tuple[CellDataset, ...], tmp_path: Path) -> None:
    config = TrainConfig(epochs=1, batch_size=8, lr=1e-2)
    train_two_stages(parts, [branch, branch], [BRANCH, BRANCH, config], tmp_path, freeze=False, device="cpu")
    fused = load_file(tmp_path / "hybrid" / "best.safetensors")
    alone = load_file(tmp_path / "branch-1" / "best.safetensors")
    assert not torch.equal(fused["backbone._branches.0.blocks.0.0.weight"], alone["backbone.blocks.0.0.weight"])


def test_what_cannot_be_fused_is_refused_before_anything_is_trained(
    parts: tuple[CellDataset, ...], tmp_path: Path
) -> None:
    def refuse(makers: list[Callable[[], CellClassifier]], message: str, configs: int = 3) -> None:
        with pytest.raises(ConfigError, match=message):
            train_two_stages(parts, makers, [BRANCH] * configs, tmp_path / "out")

    refuse([branch, lambda: create_model("cnn", image_size=32)], 'head="study"')
    refuse([branch, lambda: create_model("cnn", head="study", image_size=48)], "same image_size")
    refuse([branch], "not 1 and 3")
    refuse([branch, branch], "not 2 and 1", configs=1)
    assert not (tmp_path / "out").exists()


def test_names_of_the_branches() -> None:
    assert branch_names("hybrid") == ("inception_v3", "xception")
    assert branch_names("cnn + timm:resnet18") == ("cnn", "timm:resnet18")
    with pytest.raises(ConfigError, match="'mobilenet_v2' is not a pair"):
        branch_names("mobilenet_v2")


def test_statistics_of_the_joint_hybrid_are_those_of_its_branches() -> None:
    hybrid = create_network("hybrid", PBC_LABELS, image_size=96, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    assert isinstance(hybrid, HybridInceptionXception)
    assert not hybrid.backbone_frozen
    assert all(p.requires_grad for p in hybrid.parameters())
    for part in hybrid.backbone.branches:
        assert (part.mean, part.std) == ((0.0,) * 3, (1 / 255,) * 3)
    with pytest.raises(ConfigError, match="head of its own"):
        create_network("hybrid", PBC_LABELS, mean=(0.0,) * 3, head="study")
