from __future__ import annotations

import numpy as np
import pytest
from torch.utils.data import DataLoader

from cellnet.balancing import ClassBalancedSampler, MPerClassSampler
from cellnet.errors import ConfigError

TARGETS = np.random.default_rng(0).permutation(np.repeat([0, 1, 3], [40, 17, 6]))
KINDS = pytest.mark.parametrize("kind", [ClassBalancedSampler, MPerClassSampler])


def epoch_of(order, epoch: int = 0, batch: int = 0) -> list[int]:
    order.start(epoch, batch)
    return list(order)


@KINDS
def test_it_follows_from_seed_and_epoch(kind):
    first = epoch_of(kind(TARGETS, 1, 8), 3)
    assert first == epoch_of(kind(TARGETS, 1, 8), 3)
    assert first != epoch_of(kind(TARGETS, 1, 8), 4)
    assert first != epoch_of(kind(TARGETS, 2, 8), 3)
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    epoch_of(kind(TARGETS, 1, 8))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@KINDS
@pytest.mark.parametrize("batch", [0, 1, 6, 7])
def test_it_starts_at_any_batch(kind, batch):
    order = kind(TARGETS, 0, 8)
    assert order.batches == 7
    rest = epoch_of(order, 2, batch)
    assert len(rest) == len(order) == 8 * (7 - batch)
    assert rest == epoch_of(kind(TARGETS, 0, 8), 2)[8 * batch :]


@KINDS
def test_processes_divide_one_order(kind):
    alone = kind(TARGETS, 4, 4)
    orders = [kind(TARGETS, 4, 4, process=process, processes=3) for process in range(3)]
    assert {order.batches for order in orders} == {5}
    shares = [np.reshape(epoch_of(order, 1), (5, 4)) for order in orders]
    for process, share in enumerate(shares):
        assert [order.batch(1, 2, process) for order in orders] == [share[2].tolist()] * 3
    if kind is ClassBalancedSampler:  # three times four images are twelve: one process has the same in a batch
        whole = np.reshape(epoch_of(kind(TARGETS, 4, 12), 1), (5, 12))
        assert np.array_equal(np.concatenate(shares, axis=1), whole)
    assert alone.batches == 15


@KINDS
def test_a_loader_takes_it(kind):
    order = kind(TARGETS, 0, 8)
    batches = [batch.tolist() for batch in DataLoader(TARGETS, 8, sampler=order)]
    assert batches == [TARGETS[order.batch(0, number, 0)].tolist() for number in range(7)]


def test_classes_come_equally_often_and_images_in_turn():
    images = np.array(epoch_of(ClassBalancedSampler(TARGETS, 0, 8)))
    counts = np.unique(TARGETS[images], return_counts=True)[1]
    assert counts.sum() == 56
    assert counts.max() - counts.min() <= 1
    for label, count in zip((0, 1, 3), counts, strict=True):
        each = np.bincount(images[TARGETS[images] == label], minlength=63)[label == TARGETS]
        assert each.max() - each.min() <= 1
        assert each.sum() == count


def test_all_images_are_seen_in_time():
    order = ClassBalancedSampler(TARGETS, 0, 8)
    assert set(np.concatenate([epoch_of(order, epoch) for epoch in range(12)])) == set(range(63))


@pytest.mark.parametrize(("batch_size", "m"), [(8, 4), (4, 2), (12, 4), (24, 4), (6, 6)])
def test_m_of_each_class_in_a_batch(batch_size, m):
    order = MPerClassSampler(TARGETS, 0, batch_size, m, process=1, processes=2)
    slots = batch_size // m
    for epoch in range(3):
        for batch in range(order.batches):
            for process in range(2):
                images = order.batch(epoch, batch, process)
                labels, counts = np.unique(TARGETS[images], return_counts=True)
                assert (counts % m == 0).all()
                assert len(labels) == min(slots, 3)
                assert counts.max() - counts.min() <= m
                for label, count in zip(labels, counts, strict=True):
                    distinct = set(np.array(images)[TARGETS[images] == label])
                    assert len(distinct) == min(count, (label == TARGETS).sum())


def test_few_images_make_one_batch():
    for order in (ClassBalancedSampler([0, 1, 1], 0, 8), MPerClassSampler([0, 1, 1], 0, 8, m=4)):
        assert order.batches == 1
        assert np.bincount(np.array([0, 1, 1])[list(order)]).tolist() == [4, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 2.5}, r"batch_size=2\.5"),
        ({"seed": -1}, "seed=-1"),
        ({"processes": 0}, "processes=0"),
        ({"process": 2, "processes": 2}, "process=2 cannot be used; give a number from 0 to 1"),
        ({"targets": []}, "no images to draw from"),
    ],
)
@KINDS
def test_numbers_out_of_range(kind, options, message):
    with pytest.raises(ConfigError, match=message):
        kind(**{"targets": TARGETS, "seed": 0, "batch_size": 8} | options)


@pytest.mark.parametrize(
    ("m", "message"), [(1, "m=1 .*at least 2"), (3, "multiple of m=3.*batch_size=6"), (2.0, "m=2")]
)
def test_m_that_cannot_be_used(m, message):
    with pytest.raises(ConfigError, match=message):
        MPerClassSampler(TARGETS, 0, 8, m)
