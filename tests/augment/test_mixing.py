"""`cellnet.augment.mixing`: torchvision's MixUp and CutMix are the references."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torchvision.transforms import v2

from cellnet.augment import BatchMixing, cutmix, mixup
from cellnet.errors import ConfigError, ImageError, LabelError

LABELS = torch.tensor([0, 2, 1, 2, 0, 1])
TARGETS = F.one_hot(LABELS, 3).float()
ROLLED = torch.arange(6).roll(1)  # the partners that torchvision takes


@pytest.fixture
def floats() -> torch.Tensor:
    return torch.rand(6, 3, 12, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def bytes_() -> torch.Tensor:
    return torch.randint(0, 256, (6, 3, 12, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


class TestMixup:
    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
    def test_agrees_with_torchvision(self, floats: torch.Tensor, share: float) -> None:
        theirs = v2.MixUp(num_classes=3)
        parameters = {"labels": LABELS, "batch_size": 6, "lam": share}
        images, targets = mixup(floats, TARGETS, ROLLED, share)
        torch.testing.assert_close(images, theirs.transform(floats, parameters))
        torch.testing.assert_close(targets, theirs.transform(LABELS, parameters))

    def test_uint8_is_the_rounded_float(self, bytes_: torch.Tensor) -> None:
        images, _ = mixup(bytes_, TARGETS, ROLLED, 0.37)
        exact = 0.37 * bytes_.double() + 0.63 * bytes_.roll(1, 0).double()
        assert images.dtype == torch.uint8
        assert float((images - exact).abs().max()) <= 0.501

    @pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float16])
    def test_the_whole_share_changes_nothing(self, bytes_: torch.Tensor, kind: torch.dtype) -> None:
        given = bytes_.to(kind)
        images, targets = mixup(given, TARGETS, ROLLED, 1.0)
        assert images.dtype == kind
        assert torch.equal(images, given)
        assert torch.equal(targets, TARGETS)

    @pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
    def test_bad_shares(self, floats: torch.Tensor, share: float) -> None:
        with pytest.raises(ConfigError, match=r"share=.* cannot be used; give 0 to 1"):
            mixup(floats, TARGETS, ROLLED, share)


class TestCutmix:
    @pytest.mark.parametrize("box", [(3, 2, 11, 9), (0, 0, 16, 12), (5, 5, 5, 8)])
    def test_agrees_with_torchvision(self, bytes_: torch.Tensor, box: tuple[int, int, int, int]) -> None:
        theirs = v2.CutMix(num_classes=3)
        area = (box[2] - box[0]) * (box[3] - box[1])
        parameters = {"labels": LABELS, "batch_size": 6, "box": box, "lam_adjusted": 1 - area / (12 * 16)}
        before = bytes_.clone()
        images, targets = cutmix(bytes_, TARGETS, ROLLED, box)
        assert torch.equal(images, theirs.transform(bytes_, parameters))
        torch.testing.assert_close(targets, theirs.transform(LABELS, parameters))
        assert torch.equal(bytes_, before)

    @pytest.mark.parametrize("box", [(0, 0, 17, 3), (-1, 0, 3, 3), (4, 0, 3, 3), (0, 9, 3, 8), (0, 0, 3, 13)])
    def test_bad_boxes(self, bytes_: torch.Tensor, box: tuple[int, int, int, int]) -> None:
        with pytest.raises(ConfigError, match="does not lie in images of 16×12 px"):
            cutmix(bytes_, TARGETS, ROLLED, box)


class TestBadBatches:
    @pytest.mark.parametrize(
        "images", [torch.zeros(3, 12, 16), torch.zeros(6, 3, 12, 16, dtype=torch.int64)], ids=["one image", "integers"]
    )
    def test_images(self, images: torch.Tensor) -> None:
        with pytest.raises(ImageError, match="batch N×C×H×W of uint8 or float"):
            mixup(images, TARGETS, ROLLED, 0.5)
        with pytest.raises(ImageError, match="batch N×C×H×W of uint8 or float"):
            cutmix(images, TARGETS, ROLLED, (0, 0, 1, 1))

    @pytest.mark.parametrize("targets", [LABELS, TARGETS[:5], TARGETS.long()], ids=["numbers", "too few", "integers"])
    def test_targets(self, floats: torch.Tensor, targets: torch.Tensor) -> None:
        with pytest.raises(LabelError, match="Targets of 6 images must be float 6×K"):
            mixup(floats, targets, ROLLED, 0.5)

    def test_partners(self, floats: torch.Tensor) -> None:
        with pytest.raises(LabelError, match="6 images need as many partners"):
            mixup(floats, TARGETS, ROLLED[:3], 0.5)


class TestBatchMixing:
    @given(st.integers(0, 10_000), st.floats(0, 3), st.floats(0, 3))
    def test_targets_are_shares_of_real_pairs(self, seed: int, mix: float, cut: float) -> None:
        images = torch.arange(6, dtype=torch.float32).view(6, 1, 1, 1).expand(6, 1, 8, 8)
        soft = torch.eye(6)
        mixed, targets = BatchMixing(mix, cut)(images, soft, 6, generator=torch.Generator().manual_seed(seed))
        assert torch.allclose(targets.sum(dim=1), torch.ones(6))
        assert int((targets > 0).sum(dim=1).max()) <= 2
        # Each image holds its own number; the mean is therefore the number that the target stands for.
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), targets @ torch.arange(6.0), atol=1e-4, rtol=0)

    def test_a_generator_repeats_it_and_the_global_one_is_left_alone(self, bytes_: torch.Tensor) -> None:
        mixing = BatchMixing()
        state = torch.get_rng_state()
        first = [mixing(bytes_, LABELS, 3, generator=torch.Generator().manual_seed(s)) for s in range(8)]
        again = [mixing(bytes_, LABELS, 3, generator=torch.Generator().manual_seed(s)) for s in range(8)]
        assert torch.equal(torch.get_rng_state(), state)
        for (images, targets), (same_images, same_targets) in zip(first, again, strict=True):
            assert torch.equal(images, same_images)
            assert torch.equal(targets, same_targets)
        assert len({targets.numpy().tobytes() for _, targets in first}) == 8

    def test_without_a_generator_the_global_one_draws(self, bytes_: torch.Tensor) -> None:
        torch.manual_seed(4)
        first = BatchMixing()(bytes_, LABELS, 3)
        torch.manual_seed(4)
        assert torch.equal(BatchMixing()(bytes_, LABELS, 3)[0], first[0])

    def test_either_in_half_of_the_batches(self) -> None:
        generator = torch.Generator().manual_seed(0)
        # Black and white images: only mixup makes grey.
        images = torch.tensor([0.0, 1.0]).repeat(8).view(16, 1, 1, 1).expand(16, 1, 16, 16)
        labels = torch.arange(16) % 2
        grey = 0
        for _ in range(400):
            mixed, _ = BatchMixing(mixup=5.0, cutmix=1.0)(images, labels, 2, generator=generator)
            grey += bool(((mixed > 0) & (mixed < 1)).any())
        assert abs(grey - 200) < 4 * math.sqrt(100)

    @pytest.mark.parametrize(("mix", "cut", "grey"), [(5.0, 0.0, True), (0.0, 1.0, False)])
    def test_one_of_them_alone(self, mix: float, cut: float, grey: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        images = torch.tensor([0.0, 1.0]).repeat(8).view(16, 1, 1, 1).expand(16, 1, 16, 16)
        for _ in range(20):
            mixed, _ = BatchMixing(mix, cut)(images, torch.arange(16) % 2, 2, generator=generator)
            assert bool(((mixed > 0) & (mixed < 1)).any()) == grey

    def test_neither_leaves_the_images_and_makes_labels_one_hot(self, bytes_: torch.Tensor) -> None:
        images, targets = BatchMixing(0, 0)(bytes_, LABELS, 3)
        assert images is bytes_
        assert torch.equal(targets, TARGETS)

    def test_shares_follow_the_beta_distribution(self) -> None:
        generator = torch.Generator().manual_seed(0)
        images, soft = torch.zeros(2, 1, 1, 1), torch.eye(2)
        drawn = []
        for _ in range(3000):
            _, targets = BatchMixing(mixup=0.5, cutmix=0)(images, soft, 2, generator=generator)
            if targets[0, 1] > 0:  # otherwise each image is its own partner
                drawn.append(float(targets[0, 0]))
        values = torch.tensor(drawn, dtype=torch.double)
        # Beta(1/2, 1/2) has mean 1/2 and variance 1/8; its share below 1/4 is 1/3 (arcsine law).
        assert float(values.mean()) == pytest.approx(0.5, abs=0.04)
        assert float(values.var()) == pytest.approx(1 / 8, abs=0.01)
        assert float((values < 0.25).double().mean()) == pytest.approx(1 / 3, abs=0.05)

    def test_the_loss_takes_its_targets(self, bytes_: torch.Tensor) -> None:
        _, targets = BatchMixing()(bytes_, LABELS, 3, generator=torch.Generator().manual_seed(0))
        logits = torch.randn(6, 3)
        expected = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
        torch.testing.assert_close(F.cross_entropy(logits, targets), expected)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (LABELS + 1, "Labels must be N whole numbers from 0 to 2"),
            (LABELS - 1, "Labels must be N whole numbers from 0 to 2"),
            (LABELS[:, None], "Labels must be N whole numbers from 0 to 2"),
            (torch.rand(6, 4), r"Soft labels of 3 classes are N×3, not \(6, 4\)"),
            (LABELS[:4], "Targets of 6 images must be float 6×K"),
        ],
    )
    def test_bad_labels(self, bytes_: torch.Tensor, labels: torch.Tensor, message: str) -> None:
        with pytest.raises(LabelError, match=message):
            BatchMixing()(bytes_, labels, 3, generator=torch.Generator().manual_seed(0))

    @pytest.mark.parametrize("options", [{"mixup": -0.1}, {"cutmix": math.nan}])
    def test_bad_shapes(self, options: dict[str, float]) -> None:
        with pytest.raises(ConfigError, match=f"{next(iter(options))}=.* cannot be used; give 0 or more"):
            BatchMixing(**options)
