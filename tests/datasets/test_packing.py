"""Packed sets: what goes in comes out, whole; what is not whole is refused."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cellnet.cards import DatasetCard
from cellnet.datasets import CellDataset, packing
from cellnet.datasets.packed import VERSION, ImageMap, PackedCells, hash_index
from cellnet.datasets.packing import pack
from cellnet.errors import ConfigError, DataError, ImageError
from cellnet.images import Preprocess
from cellnet.labels import PBC_LABELS, CellClass, LabelSchema

SCHEMA = LabelSchema("two", (CellClass("lymphocyte", "Small.", "lymphoid", ("ly",)), CellClass("blast")))
PREPROCESS = Preprocess(16, crop=0.9, interpolation="bicubic", mean=(0.5,) * 3, std=(0.25,) * 3)


def draw(path: Path, height: int, width: int, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def cells(tmp_path: Path) -> CellDataset:
    """Ten PNG files of two classes and two sizes, with every column."""
    files = [tmp_path / "raw" / SCHEMA.names[i % 2] / f"{i}.png" for i in range(10)]
    for i, file in enumerate(files):
        draw(file, 24, 20 if i == 7 else 22, i)
    groups = np.array(["a", "a", None, float("nan"), 3, 3, None, None, None, None], object)
    parts = ["train", None, "test", *["train"] * 7]
    card = DatasetCard("mine", "My cells", known_defects=("blurred",), microns_per_pixel=0.1)
    return CellDataset(
        files, [0, 1] * 5, SCHEMA, groups=groups, parts=parts, part="train", card=card, transform=torch.flipud
    )


@pytest.fixture
def packed(cells: CellDataset, tmp_path: Path) -> Path:
    return pack(cells, tmp_path / "packed", PREPROCESS)


def change_index(folder: Path, rehash: bool = True, **changes: Any) -> None:
    """Edit the index; with ``rehash`` so that its own hash fits again."""
    path = folder / "index.json"
    index = json.loads(path.read_text()) | changes
    if rehash:
        index["sha256"] = hash_index(index)
    path.write_text(json.dumps(index))


def test_pixels_are_those_that_went_in(cells: CellDataset, packed: Path) -> None:
    opened = PackedCells(packed)
    for i in range(10):
        assert torch.equal(opened.image(i), PREPROCESS(cells.image(i)))
    images, targets = opened.batch([7, 0, 0, -1])
    assert torch.equal(images, torch.stack([PREPROCESS(cells.image(i)) for i in (7, 0, 0, 9)]))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert targets.tolist() == [1, 0, 0, 1]
    assert np.load(packed / "images.npy").shape == (10, 16, 16, 3)


def test_images_of_one_size_stay_as_they_are(cells: CellDataset, tmp_path: Path) -> None:
    alike = cells.subset([i for i in range(10) if i != 7])
    opened = PackedCells(pack(alike, tmp_path / "packed"))
    assert opened.preprocess is None
    assert all(torch.equal(opened.image(i), alike.image(i)) for i in range(9))


def test_everything_else_is_kept(cells: CellDataset, packed: Path) -> None:
    opened = PackedCells(packed)
    assert opened.targets.tolist() == cells.targets.tolist()
    assert opened.labels == cells.labels
    assert opened.card == cells.card
    assert opened.preprocess == PREPROCESS
    assert (opened.part, opened.parts) == (cells.part, cells.parts)
    assert opened.groups is not None
    assert opened.groups.tolist() == ["a", "a", None, None, 3, 3, None, None, None, None]
    assert opened.content_hashes() == cells.content_hashes()
    assert opened.fingerprint() == cells.fingerprint()
    assert opened.files[:2] == ["lymphocyte/0.png", "blast/1.png"]
    assert opened.transform is None
    for part, expected in zip(opened.split((0.5, 0.5)), cells.split((0.5, 0.5)), strict=True):
        assert [Path(file).name for file in part.files] == [Path(file).name for file in expected.files]


def test_exclude_knows_the_original_files(cells: CellDataset, packed: Path, tmp_path: Path) -> None:
    (tmp_path / "renamed.png").write_bytes(Path(cells.files[4]).read_bytes())
    assert len(PackedCells(packed, exclude=[tmp_path / "renamed.png"])) == 9
    assert len(PackedCells(packed, exclude=["blast/3.png"])) == 9


def test_drawn_cells_and_a_packed_set_can_be_packed(synthetic: CellDataset, tmp_path: Path) -> None:
    once = PackedCells(pack(synthetic, tmp_path / "once"))
    assert once.groups is once.parts is once.part is None
    assert once.labels == PBC_LABELS
    assert once.files == synthetic.files
    chosen = once.subset([40, 3])
    twice = PackedCells(pack(chosen, tmp_path / "twice", Preprocess(16)))
    assert twice.content_hashes() == [synthetic.content_hashes()[i] for i in (40, 3)]
    assert torch.equal(twice.image(0), Preprocess(16)(synthetic.image(40)))


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["/data/x/a.png", "/data/y/b.png"], ["x/a.png", "y/b.png"]),
        (["/data/x/a.png"], ["x/a.png"]),
        (["data/x/a.png", "other/y/b.png"], ["data/x/a.png", "other/y/b.png"]),
        (["../data/x/a.png", "../data/x/deep/b.png"], ["x/a.png", "x/deep/b.png"]),
        (["/data/a.png", "b.png"], ["/data/a.png", "b.png"]),
        (["image_0", "image_1"], ["image_0", "image_1"]),
    ],
)
def test_names_say_nothing_of_the_machine(files: list[str], names: list[str], tmp_path: Path) -> None:
    images = np.zeros((len(files), 3, 16, 16), np.uint8)
    cells = CellDataset(files, [0] * len(files), SCHEMA, images=images)
    assert PackedCells(pack(cells, tmp_path / "packed")).files == names


def test_a_transform_cannot_change_the_array(packed: Path) -> None:
    opened = PackedCells(packed, transform=lambda image: image.zero_())
    before = opened.image(0)
    assert opened[0][0].sum() == 0
    opened.batch([0])[0].zero_()
    assert torch.equal(opened.image(0), before)
    assert torch.equal(PackedCells(packed).image(0), before)


class TestProcesses:
    def test_a_pickle_carries_no_pixels(self, synthetic: CellDataset, tmp_path: Path) -> None:
        source = PackedCells(pack(synthetic, tmp_path / "packed"))._source
        data = pickle.dumps(source)
        assert len(data) < 1000
        assert torch.equal(pickle.loads(data).batch(np.array([5])), source.batch(np.array([5])))

    @pytest.mark.slow
    def test_a_started_process_opens_the_array_anew(self, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(packed.parent)
        opened = PackedCells("packed").subset([3, 4])
        loader = torch.utils.data.DataLoader(
            opened, batch_size=2, num_workers=1, multiprocessing_context=multiprocessing.get_context("spawn")
        )
        ((images, targets),) = list(loader)
        assert torch.equal(images, opened.batch([0, 1])[0])
        assert targets.tolist() == [1, 0]

    def test_an_array_that_changed_meanwhile_is_refused(self, packed: Path) -> None:
        data = pickle.dumps(PackedCells(packed))
        with (packed / "images.npy").open("r+b") as file:
            file.truncate(500)
        with pytest.raises(DataError, match="truncated"):
            pickle.loads(data)


class TestWhatIsNotWhole:
    def test_truncated(self, packed: Path) -> None:
        path = packed / "images.npy"
        for size in (path.stat().st_size - 1, 200, 30, 0):
            os.truncate(path, size)
            with pytest.raises(DataError, match=r"images\.npy is missing, truncated"):
                PackedCells(packed, verify=False)

    def test_longer(self, packed: Path) -> None:
        with (packed / "images.npy").open("ab") as file:
            file.write(b"x")
        with pytest.raises(DataError, match="bytes after its 7,680 bytes"):
            PackedCells(packed, verify=False)

    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((10, 16, 16, 3), np.int8),
            np.zeros((10, 16, 16, 3), np.float32),
            np.zeros((9, 16, 16, 3), np.uint8),
            np.zeros((10, 16, 16), np.uint8),
            np.asfortranarray(np.zeros((10, 16, 16, 3), np.uint8)),
            np.array([{"a": 1}], object),
        ],
    )
    def test_another_array(self, packed: Path, array: np.ndarray) -> None:
        np.save(packed / "images.npy", array)
        with pytest.raises(DataError, match=r"images\.npy (holds|is missing, truncated or not an array)"):
            PackedCells(packed, verify=False)

    def test_altered_pixels(self, packed: Path) -> None:
        path = packed / "images.npy"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        with pytest.raises(DataError, match="images 0 to 9 were altered after packing"):
            PackedCells(packed)
        assert len(PackedCells(packed, verify=False)) == 10

    def test_the_altered_block_is_named(
        self, cells: CellDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(packing, "BLOCK_BYTES", 3 * 16 * 16 * 3)
        path = pack(cells, tmp_path / "blocks", PREPROCESS) / "images.npy"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        with pytest.raises(DataError, match="images 9 to 9 were altered"):
            PackedCells(path.parent)

    def test_altered_index(self, packed: Path) -> None:
        change_index(packed, rehash=False, targets=[1] * 10)
        with pytest.raises(DataError, match=r"index\.json was altered after packing"):
            PackedCells(packed)

    def test_index_that_is_cut_off_or_no_index(self, packed: Path) -> None:
        path = packed / "index.json"
        text = path.read_text()
        for content, cause in (
            (text[:-5], "cut off or altered"),
            ("", "cut off or altered"),
            ("[]", "not the index of a packed set"),
            ("{}", "not the index of a packed set"),
            ('{"format": "cellnet packed set"}', "newer cellnet"),
        ):
            path.write_text(content)
            with pytest.raises(DataError, match=cause):
                PackedCells(packed)
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(DataError, match="cut off or altered"):
            PackedCells(packed)

    @pytest.mark.parametrize(
        "changes",
        [
            {"targets": [0]},
            {"targets": [5] * 10},
            {"shape": None},
            {"blocks": {"rows": 1000, "sha256": []}},
            {"blocks": {"rows": 0, "sha256": []}},
            {"blocks": {}},
            {"labels": {}},
            {"card": {}},
            {"preprocess": {"image_size": 3}},
            {"parts": ["dev"] * 10},
            {"hashes": None},
        ],
    )
    def test_index_of_another_form(self, packed: Path, changes: dict[str, Any]) -> None:
        change_index(packed, **changes)
        with pytest.raises(Exception) as caught:  # noqa: PT011
            PackedCells(packed)
        assert type(caught.value).__module__ == "cellnet.errors"

    def test_newer_version(self, packed: Path) -> None:
        change_index(packed, version=VERSION + 1)
        with pytest.raises(DataError, match=r"packed by a newer cellnet .* update cellnet"):
            PackedCells(packed)

    def test_no_such_folder_or_no_packed_set(self, tmp_path: Path) -> None:
        for folder in (tmp_path / "nowhere", tmp_path):
            with pytest.raises(DataError, match="is not a packed set"):
                PackedCells(folder)

    def test_no_images_beside_the_index(self, packed: Path) -> None:
        (packed / "images.npy").unlink()
        with pytest.raises(DataError, match=r"images\.npy is missing"):
            PackedCells(packed)


class TestWriting:
    def test_images_of_several_sizes_need_one(self, cells: CellDataset, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"0\.png has 22×24 and .*7\.png has 20×24 .*Preprocess\(20\)"):
            pack(cells, tmp_path / "packed")
        assert [path.name for path in tmp_path.iterdir()] == ["raw"]

    def test_an_unreadable_image_leaves_nothing_behind(self, cells: CellDataset, tmp_path: Path) -> None:
        Path(cells.files[6]).write_bytes(b"no image")
        with pytest.raises(ImageError, match=r"6\.png"):
            pack(cells, tmp_path / "deep" / "packed", PREPROCESS)
        assert not list((tmp_path / "deep").iterdir())

    def test_no_image(self, cells: CellDataset, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no images to pack"):
            pack(cells.subset([]), tmp_path / "packed", PREPROCESS)

    def test_replaces_only_a_packed_set_and_only_when_told(self, cells: CellDataset, packed: Path) -> None:
        with pytest.raises(ConfigError, match="overwrite=True"):
            pack(cells, packed, PREPROCESS)
        assert pack(cells.subset([1, 2]), packed, PREPROCESS, overwrite=True) == packed
        assert len(PackedCells(packed)) == 2
        assert sorted(path.name for path in packed.parent.iterdir()) == ["packed", "raw"]
        for other in (packed.parent / "raw", packed / "index.json"):
            with pytest.raises(ConfigError, match="is not a packed set"):
                pack(cells, other, PREPROCESS, overwrite=True)

    def test_the_old_set_stays_if_the_new_one_fails(
        self, cells: CellDataset, packed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(self: Path, target: Path) -> Path:
            if self.name.endswith(".tmp"):
                raise OSError(5, "Input/output error")
            return rename(self, target)

        rename = Path.rename
        monkeypatch.setattr(Path, "rename", fail)
        with pytest.raises(ConfigError, match=r"Cannot write .*Input/output error"):
            pack(cells.subset([1, 2]), packed, PREPROCESS, overwrite=True)
        assert len(PackedCells(packed)) == 10
        assert sorted(path.name for path in packed.parent.iterdir()) == ["packed", "raw"]

    def test_a_full_disk(self, cells: CellDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(packing, "_write_images", full)
        with pytest.raises(ConfigError, match="No space left on device; free some space"):
            pack(cells, tmp_path / "packed", PREPROCESS)
        assert not (tmp_path / "packed").exists()

    def test_progress_goes_to_standard_error(
        self, cells: CellDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pack(cells, tmp_path / "packed", PREPROCESS, progress=True)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Packing" in captured.err

    def test_memory_does_not_grow_with_the_number_of_images(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(packing, "BLOCK_BYTES", 1 << 16)
        image = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), np.uint8)
        peaks = []
        for count in (50, 500):
            cells = CellDataset(None, [0] * count, SCHEMA, images=np.broadcast_to(image, (count, 3, 64, 64)))
            cells._hashes = [hashlib.sha256(b"").hexdigest()] * count
            tracemalloc.start()
            pack(cells, tmp_path / str(count))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < peaks[0] + 450 * 64 * 64 * 3 / 10

    def test_the_map_alone(self, packed: Path) -> None:
        images = ImageMap(packed / "images.npy", (10, 16, 16, 3))
        assert len(images) == 10
        pixels = images.image(2).contiguous().numpy().tobytes()
        assert images.hash(2) == hashlib.sha256(pixels).hexdigest()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_to_a_packed_set_stays_one(cells: CellDataset, packed: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(packed, target_is_directory=True)
    assert pack(cells.subset([0, 1]), link, PREPROCESS, overwrite=True) == link
    assert link.is_symlink()
    assert len(PackedCells(packed)) == 2
