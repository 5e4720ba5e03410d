"""The audit as a whole: what it finds on drawn cells into which faults were planted."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chi2_contingency
from scipy.stats.contingency import association

from cellnet.datasets import CellDataset, CellFolder, load_dataset
from cellnet.datasets.audit import audit, frame
from cellnet.datasets.audit.drift import measure_drift
from cellnet.datasets.audit.scan import scan
from cellnet.errors import ConfigError, DataError, LabelError
from cellnet.labels import LabelSchema

TWO = LabelSchema.from_names(["lymphocyte", "monocyte"], name="two")


def noise(count, size=48, seed=0):
    """Smooth random pictures, each another one: uint8 N×3×S×S."""
    generator = torch.Generator().manual_seed(seed)
    rough = torch.rand(count, 3, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(rough, size=(size, size), mode="bicubic", align_corners=False)
    fine = (
        torch.rand(count, 3, size // 2, size // 2, generator=generator).repeat_interleave(2, 2).repeat_interleave(2, 3)
    )
    return (255 * (0.7 * smooth + 0.3 * fine)).clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def parts():
    """Training and test part of 36 pictures; test holds a copy, a shifted copy and one of another class."""
    images = noise(36)
    images[30] = images[0]
    images[31] = images[1].roll((2, -3), (1, 2))
    images[32] = images[2]
    targets = np.arange(36) % 2
    targets[31] = targets[1]
    targets[32] = 1 - targets[2]
    whole = CellDataset(None, targets, TWO, images=images)
    return whole.subset(range(30), "train"), whole.subset(range(30, 36), "test")


@pytest.fixture(scope="module")
def found(parts):
    return audit(*parts)


def test_leaks_are_found_and_nothing_else(found):
    assert {(pair.kind, *sorted([pair.file_a, pair.file_b])) for pair in found.leaks} == {
        ("identical", "image_000000", "image_000030"),
        ("near", "image_000001", "image_000031"),
        ("identical", "image_000002", "image_000032"),
    }
    assert found.pairs == found.leaks
    assert [{pair.file_a, pair.file_b} for pair in found.label_conflicts] == [{"image_000002", "image_000032"}]
    assert all({pair.part_a, pair.part_b} == {"train", "test"} for pair in found.leaks)
    assert not found.ok


def test_the_shift_is_that_which_was_planted(found):
    (pair,) = (pair for pair in found.leaks if pair.kind == "near")
    assert np.abs(pair.shift) == pytest.approx([2, 3], abs=1)
    assert pair.correlation > 0.8


def test_without_near_pairs_identical_ones_remain(parts):
    fast = audit(*parts, near=False)
    assert [pair.kind for pair in fast.pairs] == ["identical", "identical"]
    assert "near" not in {pair.kind for pair in fast.pairs}


def test_raise_on_leak_names_pairs_and_the_remedy(found, parts):
    with pytest.raises(DataError, match=r"3 pair\(s\) .* in two parts: train image_.*with_groups.*split"):
        found.raise_on_leak()
    audit(parts[0]).raise_on_leak()


def test_groups_keep_pairs_together_and_those_that_were_known(parts):
    whole = CellDataset(
        None,
        [*parts[0].targets, *parts[1].targets],
        TWO,
        images=parts[0]._source,
        groups=np.array([None] * 3 + ["donor"] * 3 + [None] * 30, object),
    )
    groups = audit(whole).groups(whole)
    assert groups[0] == groups[30] != groups[1] == groups[31]
    assert len(set(groups[3:6])) == 1
    assert [group is None for group in groups].count(True) == 36 - 3 * 2 - 3
    assert audit(*whole.with_groups(groups).split((0.5, 0.5), seed=1)).ok


def test_groups_of_some_of_the_images(found, parts):
    groups = found.groups(parts[0])
    assert [index for index, group in enumerate(groups) if group is not None] == [0, 1, 2]
    assert len(set(groups[:3])) == 3


def test_the_text_says_what_was_found(found):
    text = str(found)
    for words in ("train", "30", "two parts", "identical", "48×48", "lymphocyte", "50.0"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 100


def test_json_is_plain_and_whole(found, tmp_path):
    found.save(tmp_path / "out")
    data = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert data == found.to_dict()
    assert [pair["leak"] for pair in data["pairs"]] == [True] * 3
    assert data["ok"] is False
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["audit.html", "audit.json"]


def test_the_page_shows_the_pairs_and_escapes_names(parts, tmp_path):
    evil = "<script>alert(1)</script>.png"
    images = torch.stack([parts[0].image(0), parts[1].image(0)])
    one = CellDataset([evil, "b"], [0, 1], TWO, images=images)
    audit(one).save(tmp_path)
    page = (tmp_path / "audit.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert not re.search("https?:", page)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "One cell, two labels" in page


@pytest.fixture
def folder(tmp_path):
    """Two class folders with files of all kinds."""
    for label, name in enumerate(TWO.names):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i, image in enumerate(noise(4, seed=label)):
            array = image.permute(1, 2, 0).numpy()
            Image.fromarray(array[: 48 - 8 * (i == 3)]).save(tmp_path / "set" / name / f"{i}.png")
    (tmp_path / "set" / "monocyte" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    (tmp_path / "set" / "monocyte" / ".DS_1.jpg").write_bytes(b"Bud1")
    (tmp_path / "set" / "lymphocyte" / "notes.txt").write_text("seen by two")
    return tmp_path / "set"


def test_unreadable_and_stray_files_and_sizes(folder):
    found = audit(CellFolder(folder))
    assert [entry.file.rpartition("/")[2] for entry in found.unreadable] == ["broken.png"]
    assert sorted(name.rpartition("/")[2] for name in found.stray) == [".DS_1.jpg", "notes.txt"]
    assert [(size.width, size.height, size.images) for size in found.sizes] == [(48, 48, 6), (48, 40, 2)]
    assert found.ok
    assert dict(found.images) == {"part 1": 9}


def test_the_frame_probe_finds_a_planted_colour_and_nothing_in_noise():
    images = noise(120)
    targets = np.arange(120) % 2
    clean = CellDataset(None, targets, TWO, images=images)
    honest = audit(clean, near=False).frame_probe
    assert not honest.signal
    planted = images.clone()
    for side in (planted[1::2, 0, :4], planted[1::2, 0, -4:]):
        side.clamp_(min=200)
    found = audit(CellDataset(None, targets, TWO, images=planted), near=False).frame_probe
    assert found.signal
    assert found.accuracy > 0.9
    assert found.majority == 0.5
    assert 0.9 < found.low < found.accuracy <= found.high == 1


def test_drift_is_found_where_it_was_planted():
    images = noise(80)
    whole = CellDataset(None, np.arange(80) % 2, TWO, images=images)
    one, same = whole.subset(range(40), "train"), whole.subset(range(40, 80), "test")
    assert not audit(one, same, near=False).drift.notable
    dark = CellDataset(None, [0] * 40, TWO, images=images[40:] // 2, part="test")
    drift = audit(one, dark, near=False).drift
    assert drift.classes.notable
    assert drift.classes.p_value == pytest.approx(chi2_contingency([[20, 20], [40, 0]]).pvalue)
    (brightness,) = (look for look in drift.looks if look.look == "brightness")
    assert brightness.notable
    assert brightness.difference < -1
    assert "test is darker than train" in " ".join(drift.sentences())


def test_one_pass_measures_what_a_plain_loop_does(parts):
    found = scan([parts[0]])
    pixels = np.stack([parts[0].image(i).numpy() for i in range(3)]).astype(float)
    red = pixels[:, 0].mean((1, 2)) - pixels.mean((1, 2, 3))
    assert found.look[:3, 2] == pytest.approx(red, abs=1.5)
    assert found.content == parts[0].content_hashes()
    assert np.array_equal(found.target, parts[0].targets)


def test_what_cannot_be_audited(parts):
    with pytest.raises(ConfigError, match="nothing to audit"):
        audit()
    with pytest.raises(DataError, match="'test' has no images"):
        audit(parts[0], parts[1].subset([]))
    with pytest.raises(LabelError, match="different labels"):
        audit(parts[0], load_dataset("synthetic", per_class=1, image_size=16))
    with pytest.raises(DataError, match="Cannot audit list"):
        audit(list(parts))


def test_parts_without_names_are_numbered(parts):
    unnamed = [CellDataset(None, p.targets, TWO, images=p.batch(range(len(p)))[0]) for p in parts]
    assert list(audit(*unnamed, near=False).images) == ["part 1", "part 2"]


def test_a_group_in_two_parts_is_a_leak(tmp_path):
    cells = CellDataset(None, np.arange(12) % 2, TWO, images=noise(12))
    cells = cells.with_groups(["ana", "bo", None] * 2 + ["ana", "cy", None] * 2)
    found = audit(cells.subset(range(6), "train"), cells.subset(range(6, 12), "test"), near=False)
    (pair,) = found.leaks
    assert (pair.kind, pair.group, pair.file_a, pair.file_b) == ("group", "ana", "image_000000", "image_000006")
    assert not found.ok
    assert not found.label_conflicts
    assert "LEAK: 1 pair" in str(found)
    assert "train image_000000 = test image_000006 (group ana)" in str(found)
    assert found.to_dict()["counts"]["group"] == {"pairs": 1, "across_parts": 1, "two_labels": 0}
    assert "in two parts: ana" in found.save(tmp_path).read_text()
    with pytest.raises(DataError, match=r"1 pair.*in two parts: train image_000000 = .*\(group ana\).*with_groups"):
        found.raise_on_leak()
    assert audit(*cells.split((0.5, 0.5)), near=False).ok
    assert audit(cells).pairs == ()


def test_a_donor_stays_on_one_side_of_the_frame_probe():
    # Each donor has a background of its own and cells of one class: nothing that is told of a new donor.
    images = noise(80)
    donors = np.arange(80) // 10
    colours = np.random.default_rng(0).integers(0, 256, (8, 3))
    images[:, :, :6], images[:, :, -6:] = (torch.from_numpy(colours[donors]).to(torch.uint8)[:, :, None, None],) * 2
    cells = CellDataset(None, donors % 2, TWO, images=images)
    blind, informed = (audit(one, near=False).frame_probe for one in (cells, cells.with_groups(donors)))
    assert blind.signal
    assert not informed.signal


def test_donors_of_several_classes_that_cannot_be_divided_are_not_probed():
    cells = CellDataset(None, [0, 1, 0, 1], TWO, images=noise(4))
    assert audit(cells.with_groups(["ana"] * 3 + ["bo"]), near=False).frame_probe is None


def test_a_rare_class_in_a_set_that_is_drawn_from(monkeypatch):
    monkeypatch.setattr(frame, "MOST_IMAGES", 30)
    targets = np.array([0] * 30 + [1] * 30 + [2] * 3)
    for seed in range(5):
        colours = np.random.default_rng(seed).normal(size=(63, 15)).astype(np.float32)
        order = np.random.default_rng(seed).permutation(63)
        assert frame.probe_frame(colours, targets[order], np.arange(63)).images >= 28


def test_the_difference_of_looks_does_not_hang_on_the_shares_of_the_classes():
    rng = np.random.default_rng(0)
    part = np.repeat([0, 1], 2000)
    target = np.concatenate([np.repeat([0, 1], [1800, 200]), np.repeat([0, 1], [200, 1800])])
    look = (rng.normal(size=(4000, 4)) + 5 * target[:, None] + 0.5 * part[:, None]).astype(np.float32)
    drift = measure_drift(["train", "test"], TWO.names, part, target, look)
    # By hand: two comparisons of 1800 with 200 images, of equal weight.
    gaps = [look[(part == 1) & (target == c)].mean(0) - look[(part == 0) & (target == c)].mean(0) for c in (0, 1)]
    assert [one.difference for one in drift.looks] == pytest.approx(np.mean(gaps, axis=0), rel=0.05)
    assert [one.difference for one in drift.looks] == pytest.approx([0.5] * 4, abs=0.15)
    assert drift.looks[0].error == pytest.approx((2 * 1800 * 200 / 2000) ** -0.5)


def test_parts_without_a_class_in_common_are_not_compared():
    look = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    part = np.repeat([0, 1], 10)
    drift = measure_drift(["train", "test"], TWO.names, part, part, look)
    assert drift.looks == ()
    assert drift.apart == ("test",)
    assert "test and the first part have too few images of a class in common" in drift.sentences()[-1]
    assert drift.classes.cramers_v == pytest.approx(1)


def test_the_size_of_a_difference_in_shares_is_scipys():
    part, target = np.repeat([0, 1], [9, 12]), np.array([0] * 6 + [1] * 3 + [0] * 4 + [1] * 8)
    drift = measure_drift(["train", "test"], TWO.names, part, target, np.zeros((21, 4), np.float32))
    assert drift.classes.cramers_v == pytest.approx(association([[6, 3], [4, 8]]))
