"""The search for one cell in two images: planted copies are found, look-alikes are not."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cellnet.datasets import CellDataset, SyntheticCells
from cellnet.datasets.audit import audit
from cellnet.datasets.audit.duplicates import Match, identical_pairs, near_pairs
from cellnet.datasets.audit.landmarks import SIDE, find_candidates, find_landmarks
from cellnet.datasets.sources import ImageSource
from cellnet.errors import ImageError
from cellnet.labels import PBC_LABELS

SIZE = 96


class Pictures(ImageSource):
    """Images of different sizes in memory; those that are ``gone`` can be read once only, by `audit`'s pass."""

    def __init__(self, arrays, gone=()):
        self.arrays, self.gone, self.read = list(arrays), set(gone), set()

    def __len__(self):
        return len(self.arrays)

    def image(self, row):
        if row in self.gone & self.read:
            raise ImageError(f"{self.name(row)} has gone")
        self.read.add(row)
        return torch.from_numpy(np.array(self.arrays[row])).permute(2, 0, 1)

    def hash(self, row):
        return f"{row}"


def dataset(arrays, **options):
    return CellDataset(None, np.zeros(len(arrays), int), PBC_LABELS, images=Pictures(arrays, **options))


def jpeg(image, quality):
    stream = BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def shifted(image, rng):
    down, right = rng.integers(1, 7, 2) * rng.choice([-1, 1], 2)
    moved = np.roll(image, (down, right), (0, 1))
    return np.roll(cv2.copyMakeBorder(moved[6:-6, 6:-6], 6, 6, 6, 6, cv2.BORDER_REFLECT), 0)


def cropped(image, rng):
    height, width = rng.integers(int(0.82 * SIZE), int(0.95 * SIZE), 2)
    top, left = rng.integers(SIZE - height + 1), rng.integers(SIZE - width + 1)
    return image[top : top + height, left : left + width]


def enlarged_crop(image, rng):
    side = int(rng.uniform(0.75, 0.95) * SIZE)
    start = (SIZE - side) // 2
    return np.asarray(Image.fromarray(image[start : start + side, start : start + side]).resize((SIZE, SIZE)))


def compressed(image, rng):
    return jpeg(image, int(rng.integers(40, 96)))


def brightened(image, rng):
    return np.clip(image * rng.uniform(0.85, 1.15), 0, 255).astype(np.uint8)


def resized(image, rng):
    side = int(SIZE * rng.uniform(0.7, 1.6))
    return np.asarray(Image.fromarray(image).resize((side, side)))


def all_in_turn(image, rng):
    return jpeg(brightened(cropped(shifted(image, rng), rng), rng), 70)


KINDS = (shifted, cropped, enlarged_crop, compressed, brightened, resized, all_in_turn)


@pytest.fixture(scope="module")
def cells():
    """160 drawn cells of 96 px, H×W×3."""
    drawn = SyntheticCells(per_class=20, image_size=SIZE, seed=1)
    return [drawn.image(i).permute(1, 2, 0).contiguous().numpy() for i in range(len(drawn))]


def test_planted_copies_are_found_and_look_alikes_are_not(cells):
    rng = np.random.default_rng(0)
    sources = rng.permutation(len(cells))[: 20 * len(KINDS)].reshape(len(KINDS), 20)
    copies = [kind(cells[i], rng) for kind, chosen in zip(KINDS, sources, strict=True) for i in chosen]
    found = audit(dataset([*cells, *copies]))
    pairs = {tuple(sorted(pair.indices)) for pair in found.pairs}
    planted = {(int(i), len(cells) + n): n // 20 for n, i in enumerate(sources.ravel())}
    hits = np.bincount([planted[pair] for pair in pairs & planted.keys()], minlength=len(KINDS))
    assert hits.min() >= 19, dict(zip([kind.__name__ for kind in KINDS], hits.tolist(), strict=True))
    assert len(pairs - planted.keys()) <= 1
    assert {pair.kind for pair in found.pairs} == {"near"}


def test_drawn_cells_of_one_class_are_no_copies_of_each_other():
    alike = SyntheticCells(per_class=60, image_size=48, seed=5)
    for label in (3, 4):  # round cells, all in the middle
        members = alike.subset(alike.targets == label)
        assert audit(members).pairs == ()


@pytest.mark.parametrize(
    ("down", "right", "kind"), [(0, 3, "near"), (-9, 4, "near"), (22, 0, "overlap"), (-20, 24, "overlap")]
)
def test_two_windows_of_one_field(down, right, kind):
    fields = SyntheticCells(per_class=3, image_size=160, seed=2)
    arrays = [fields.image(i).permute(1, 2, 0).numpy() for i in range(len(fields))]
    windows = [field[32 : 32 + SIZE, 32 : 32 + SIZE] for field in arrays]
    moved = [field[32 + down : 32 + down + SIZE, 32 + right : 32 + right + SIZE] for field in arrays]
    found = audit(dataset([*windows, *moved])).pairs
    assert {pair.kind for pair in found} == {kind}
    right_ones = [pair for pair in found if pair.indices[1] - pair.indices[0] == len(windows)]
    assert len(right_ones) == len(found) >= 0.8 * len(windows)
    for pair in right_ones:  # the middle of the first, seen from that of the second
        assert pair.shift == pytest.approx((-down, -right), abs=1.5)
        assert pair.correlation > 0.8


def test_two_labels_of_neighbours_in_one_field_do_not_contradict_each_other():
    field = SyntheticCells(per_class=1, image_size=160, seed=2).image(0).permute(1, 2, 0).numpy()
    windows = [field[32:128, 10:106], field[32:128, 40:136], field[33:129, 41:137]]
    found = audit(CellDataset(None, [0, 1, 0], PBC_LABELS, images=Pictures(windows)))
    assert {(pair.indices, pair.kind, pair.conflict) for pair in found.pairs} >= {((1, 2), "near", True)}
    assert not any(pair.conflict for pair in found.pairs if pair.kind == "overlap")


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=12))
@settings(max_examples=60, deadline=None)
def test_identical_pairs_tie_each_content_together_and_nothing_else(contents):
    pairs = identical_pairs(contents)
    assert all(contents[one] == contents[other] is not None and one < other for one, other in pairs)
    for content in {"a", "b", "c"}:
        members = [index for index, value in enumerate(contents) if value == content]
        assert [other for one, other in pairs if contents[one] == content] == members[1:]


@given(st.integers(0, 5), st.integers(-4, 4), st.integers(-4, 4))
@settings(max_examples=15, deadline=None)
def test_landmarks_move_with_the_picture(number, down, right):
    drawn = SyntheticCells(per_class=1, image_size=SIDE + 16, seed=3).image(number)[1].numpy()
    one = drawn[8 : 8 + SIDE, 8 : 8 + SIDE]
    other = drawn[8 + down : 8 + down + SIDE, 8 + right : 8 + right + SIDE]
    marks = find_landmarks(np.stack([one, other]))
    first, second = marks[marks.owner == 0], marks[marks.owner == 1]
    agreement = first.vector @ second.vector.T
    best = np.unravel_index(agreement.argmax(), agreement.shape)
    assert agreement[best] > 0.9
    assert first.place[best[0]] - second.place[best[1]] == pytest.approx([down / 2, right / 2], abs=0.5)
    assert np.linalg.norm(first.vector, axis=1) == pytest.approx(1)


def test_pictures_without_structure_have_no_landmarks():
    rng = np.random.default_rng(0)
    flat = np.stack([np.full((SIDE, SIDE), level, np.uint8) for level in (0, 128, 255)])
    gradient = np.broadcast_to(np.arange(SIDE, dtype=np.uint8), (1, SIDE, SIDE))
    assert len(find_landmarks(np.concatenate([flat, gradient])).owner) == 0
    assert len(find_candidates(flat).first) == 0
    grain = rng.integers(120, 124, (6, SIDE, SIDE)).astype(np.uint8)
    sizes = np.full((6, 2), SIDE)
    assert near_pairs(grain, sizes, lambda i: torch.from_numpy(grain[i]).expand(3, -1, -1)) == []


def test_one_image_alone(cells):
    assert audit(dataset(cells[:1])).pairs == ()


def test_many_copies_are_tied_into_one_chain_at_little_cost(cells):
    rng = np.random.default_rng(1)
    copies = [brightened(shifted(cells[0], rng), rng) for _ in range(40)]
    whole = dataset([*copies, *cells[10:30]])
    found = audit(whole)
    groups = found.groups(whole)
    assert len(set(groups[:40])) == 1
    assert set(groups[40:]) == {None}
    assert len(found.pairs) < 40 * 39 / 4


def test_a_copy_across_parts_is_a_leak_however_many_copies_each_part_has(cells):
    rng = np.random.default_rng(2)
    copies = [brightened(shifted(cells[0], rng), rng) for _ in range(30)]
    whole = dataset([*copies, *cells[10:20]])
    assert not audit(whole.subset(range(15)), whole.subset(range(15, 40))).ok


def test_a_pair_is_the_same_from_both_sides():
    match = Match(3, 1, 0.9, (0.1, 0.2, 0.8, 0.8))
    assert match.reversed().reversed().box == pytest.approx(match.box)
    assert np.multiply(match.reversed().shift, 0.8) == pytest.approx(np.negative(match.shift))


def test_a_file_that_goes_while_it_is_audited_is_passed_over(cells):
    arrays = [*cells[:6], jpeg(cells[0], 60), jpeg(cells[1], 60)]
    found = audit(dataset(arrays, gone=[0]))
    assert [pair.indices for pair in found.pairs] == [(1, 7)]
    assert found.ok


def test_images_of_extreme_shapes(cells):
    thin = [cells[0][:1], cells[0][:, :1], cells[1][:30], cells[2][:, :2], cells[3]]
    assert audit(dataset(thin)).pairs == ()
