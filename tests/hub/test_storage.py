from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cellnet.errors import UnknownNameError, WeightsError
from cellnet.hub.storage import SCALE, STORAGES, pack, unpack
from cellnet.tensors import read_tensors, write_tensors


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(8, 4)
    )
    net(torch.rand(4, 3, 5, 5))  # running statistics that are not the initial ones
    return net


@pytest.mark.parametrize("storage", STORAGES)
def test_round_trip(net: nn.Module, storage: str, tmp_path: Path) -> None:
    state = net.state_dict()
    digest = write_tensors(tmp_path / "a.safetensors", pack(state, storage))
    back = unpack(read_tensors(tmp_path / "a.safetensors", digest))
    assert back.keys() == state.keys()
    for name, value in back.items():
        assert value.shape == state[name].shape
        if storage == "float32" or value.ndim < 2:
            assert torch.equal(value, state[name])
            assert value.dtype == state[name].dtype
        else:
            assert value.dtype == torch.float32
            # Half a step: of half precision (2^-11 of the value), or of 127 levels of the channel's maximum.
            channel = state[name].flatten(1).abs().amax(1).view(-1, *[1] * (value.ndim - 1))
            step = state[name].abs() * 2**-11 + 2**-25 if storage == "float16" else channel / 254 * 1.0001
            assert ((value - state[name]).abs() <= step).all()
    net.load_state_dict(back)


def test_sizes_on_disk(tmp_path: Path) -> None:
    state = {"w": torch.rand(100, 1000)}
    sizes = {}
    for storage in STORAGES:
        write_tensors(tmp_path / storage, pack(state, storage))
        sizes[storage] = (tmp_path / storage).stat().st_size
    assert sizes["float32"] == pytest.approx(400_000, rel=0.01)
    assert sizes["float16"] == pytest.approx(200_000, rel=0.01)
    assert sizes["int8"] == pytest.approx(100_000, rel=0.01)


def test_zero_channels_and_exact_levels_survive_int8() -> None:
    weight = torch.tensor([[0.0, 0.0], [1.27, -0.01], [-127.0, 127.0]])
    assert torch.allclose(unpack(pack({"w": weight}, "int8"))["w"], weight, atol=1e-7)


def test_values_beyond_half_precision_stay_whole() -> None:
    weight = torch.tensor([[1e5, 1.0]])
    packed = pack({"w": weight}, "float16")
    assert packed["w"].dtype == torch.float32
    assert torch.equal(unpack(packed)["w"], weight)


def test_tied_and_strided_weights_can_be_stored(tmp_path: Path) -> None:
    weight = torch.rand(4, 4)
    state = {
        "a": weight,
        "b": weight,
        "c": weight.T,
        "d": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    write_tensors(tmp_path / "x", pack(state, "float32"))
    back = unpack(read_tensors(tmp_path / "x"))
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_the_model_is_not_changed(net: nn.Module) -> None:
    packed = pack(net.state_dict(), "float32")
    packed["0.weight"].zero_()
    assert net.state_dict()["0.weight"].abs().sum() > 0


def test_unknown_storage(net: nn.Module) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'float16'"):
        pack(net.state_dict(), "floot16")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(WeightsError, match=r"'w'.*not finite"):
        pack({"w": torch.tensor([value])}, "float32")
    with pytest.raises(WeightsError, match=r"'w'.*not finite"):
        unpack({"w": torch.tensor([value])})


@pytest.mark.parametrize(
    "packed",
    [
        {"w" + SCALE: torch.ones(2)},
        {"w": torch.ones(2, 2, dtype=torch.int8), "w" + SCALE: torch.ones(3)},
        {"w": torch.ones(2, 2), "w" + SCALE: torch.ones(2)},
    ],
)
def test_scales_that_do_not_fit(packed: dict[str, torch.Tensor]) -> None:
    with pytest.raises(WeightsError, match="again"):
        unpack(packed)
