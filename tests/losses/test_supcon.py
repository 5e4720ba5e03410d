"""The supervised contrastive loss beside a loop over pairs in float64."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.losses import SupConLoss, supcon


def naive(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Khosla's second equation, pair by pair, over the anchors that have a positive."""
    rows = [
        (sample, torch.nn.functional.normalize(view, dim=0))
        for sample in range(len(labels))
        for view in features[sample]
    ]
    total, anchors = torch.zeros((), dtype=torch.float64), 0
    for i, (a, z) in enumerate(rows):
        others = [(labels[b], z @ w / temperature) for j, (b, w) in enumerate(rows) if j != i]
        positives = [s for label, s in others if label == labels[a]]
        if not positives:
            continue
        anchors += 1
        denominator = torch.logsumexp(torch.stack([s for _, s in others]), 0)
        total = total - sum(s - denominator for s in positives) / len(positives)
    return total / anchors


def value_and_gradient(loss: object, features: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    leaf = features.clone().requires_grad_()
    value = loss(leaf, labels)  # type: ignore[operator]
    value.backward()
    assert leaf.grad is not None
    return float(value.detach()), leaf.grad.double()


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm().clamp(min=1e-12))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 9),
    st.integers(2, 3),
    st.integers(1, 16),
    st.integers(2, 5),
    st.sampled_from([0.05, 0.1, 0.5, 2.0]),
    st.integers(0, 10**6),
)
def test_value_and_gradient_are_those_of_the_loop(
    samples: int, views: int, dim: int, classes: int, temperature: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = 10 * torch.randn(samples, views, dim, generator=generator, dtype=torch.float64)
    labels = torch.cat([torch.tensor([0, 1]), torch.randint(classes, (samples - 2,), generator=generator)])
    wanted, wanted_grad = value_and_gradient(lambda f, y: naive(f, y, temperature), features, labels)
    value, grad = value_and_gradient(SupConLoss(temperature), features.float(), labels)
    assert value == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    assert relative(grad, wanted_grad) < 1e-4 or float(wanted_grad.norm()) < 1e-3
    value, grad = value_and_gradient(SupConLoss(temperature), features, labels)
    assert value == pytest.approx(wanted, rel=1e-12, abs=1e-12)
    assert relative(grad, wanted_grad) < 1e-9 or float(wanted_grad.norm()) < 1e-9


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = torch.randn(20, 2, 8, dtype=torch.float64), torch.arange(20) % 3
    whole = value_and_gradient(SupConLoss(), features, labels)
    monkeypatch.setattr(supcon, "BLOCK_ELEMENTS", 7 * 40)
    blocks = value_and_gradient(SupConLoss(), features, labels)
    assert blocks[0] == pytest.approx(whole[0], rel=1e-12)
    torch.testing.assert_close(blocks[1], whole[1], rtol=1e-10, atol=1e-14)


def test_anchors_without_a_positive_are_left_out_and_said() -> None:
    features, labels = torch.randn(5, 1, 8, dtype=torch.float64), torch.tensor([0, 0, 1, 2, 2])
    with pytest.warns(UserWarning, match="1 of 5 anchors have no positive and are left out"):
        value, grad = value_and_gradient(SupConLoss(), features, labels)
    wanted, wanted_grad = value_and_gradient(lambda f, y: naive(f, y, 0.1), features, labels)
    assert value == pytest.approx(wanted)
    assert relative(grad, wanted_grad) < 1e-9


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    features, labels = 100 * torch.randn(16, 2, 32), torch.arange(16) % 4
    wanted, wanted_grad = value_and_gradient(SupConLoss(0.05), features.to(dtype).float(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, grad = value_and_gradient(SupConLoss(0.05), features.to(dtype), labels)
    assert value == pytest.approx(wanted, rel=1e-6)
    assert relative(grad, wanted_grad) < 0.01  # as exact as the type of the gradient
    assert math.isfinite(value)


def test_extreme_features_stay_finite() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    for features in (torch.zeros(4, 2, 8), torch.full((4, 2, 8), 1e30), torch.ones(4, 2, 8) * torch.tensor(1e-30)):
        value, grad = value_and_gradient(SupConLoss(0.01), features, labels)
        assert math.isfinite(value)
        assert bool(grad.isfinite().all())


def test_a_queue_is_contrasted_with_as_further_rows_without_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(3, 2, 4, generator=generator, dtype=torch.float64) for _ in range(4)]
    labels = [torch.tensor([0, 1, 2]), torch.tensor([1, 1, 0]), torch.tensor([2, 0, 2]), torch.tensor([0, 2, 1])]
    loss = SupConLoss(memory=8, dim=4).double()
    for features, y in zip(batches[:3], labels[:3], strict=True):
        loss(features, y)
    assert int(loss.queued) == 18
    remembered = torch.cat([torch.nn.functional.normalize(b.reshape(6, 4), dim=1) for b in batches[1:3]])[-8:]
    assert torch.equal(loss.queue[loss.queue[:, 0].argsort()], remembered[remembered[:, 0].argsort()])

    def wanted(features: Tensor, y: Tensor) -> Tensor:
        z = torch.nn.functional.normalize(features.reshape(6, 4), dim=1)
        everything, which = torch.cat([z, loss.queue]), torch.cat([y.repeat_interleave(2), loss.queue_labels])
        total = torch.zeros((), dtype=torch.float64)
        for i in range(6):
            keep = torch.arange(len(everything)) != i
            near = z[i] @ everything.T / 0.1
            total = total + torch.logsumexp(near[keep], 0) - near[keep & (which == which[i])].mean()
        return total / 6

    expected = value_and_gradient(wanted, batches[3], labels[3])
    loss.eval()  # compares, but does not remember
    value, grad = value_and_gradient(loss, batches[3], labels[3])
    assert value == pytest.approx(expected[0])
    assert relative(grad, expected[1]) < 1e-9
    assert int(loss.queued) == 18
    again = SupConLoss(memory=8, dim=4).double()
    again.load_state_dict(loss.state_dict())
    assert torch.equal(again.queue, loss.queue)


@pytest.mark.parametrize(
    ("features", "labels", "error", "match"),
    [
        (torch.zeros(4, 8), torch.arange(4), DataError, r"float B×V×D.*features\[:, None\]"),
        (torch.zeros(4, 2, 8, dtype=torch.int64), torch.arange(4), DataError, "float B×V×D"),
        (torch.zeros(1, 1, 8), torch.arange(1), DataError, "nothing to be contrasted with; give larger batches"),
        (torch.zeros(4, 2, 8), torch.arange(5), LabelError, "4 whole numbers, one a sample"),
        (torch.zeros(4, 2, 8), torch.zeros(4), LabelError, "4 whole numbers, one a sample"),
        (torch.ones(4, 2, 8), torch.ones(4, dtype=torch.int64), LabelError, "of one class.*MPerClassSampler"),
        (torch.ones(4, 1, 8), torch.arange(4), LabelError, "No class has two views.*MPerClassSampler"),
    ],
)
def test_what_cannot_be_contrasted_is_refused(
    features: Tensor, labels: Tensor, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        SupConLoss()(features, labels)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"temperature=0 must be above 0"):
        SupConLoss(0)
    with pytest.raises(ConfigError, match=r"memory=16 needs dim="):
        SupConLoss(memory=16)
    with pytest.raises(ConfigError, match=r"gather=True and memory=16 exclude each other"):
        SupConLoss(gather=True, memory=16, dim=8)


def test_its_options_are_printed() -> None:
    assert repr(SupConLoss(0.2, memory=4, dim=2)) == "SupConLoss(temperature=0.2, gather=False, memory=4)"


SCRIPT = """
import sys, torch, torch.distributed as dist
from cellnet.losses import SupConLoss
from cellnet.errors import DataError
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
images, labels = torch.randn(8, 2, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 1, 2, 0])
net = torch.nn.Linear(6, 4).double()
SupConLoss()(net(images), labels).backward()
whole = [p.grad.clone() for p in net.parameters()]
value = SupConLoss()(net(images), labels)
ddp = torch.nn.parallel.DistributedDataParallel(net)
net.zero_grad()
mine = slice(4 * rank, 4 * rank + 4)
loss = SupConLoss(gather=True)(ddp(images[mine]), labels[mine])
loss.backward()
assert abs(float(loss - value)) < 1e-12, (loss, value)
for p, w in zip(net.parameters(), whole):
    torch.testing.assert_close(p.grad, w, rtol=1e-9, atol=1e-12)
try:
    SupConLoss(gather=True)(images[: 2 + rank], labels[: 2 + rank])
except DataError as error:
    assert "each must have as many" in str(error)
else:
    raise SystemExit("not refused")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_have_the_value_and_gradient_of_one(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(launch, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert result.returncode == 0, result.stderr
