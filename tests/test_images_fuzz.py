"""Thousands of damaged files to the decoder, in a process of its own so that a crash is seen: an error or the image.

Run as a script, this file decodes mutants and prints what went wrong; the tests start it. ``CELLNET_FUZZ=1`` adds
100,000 further mutants.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import random
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from cellnet.errors import ImageError
from cellnet.images import MAX_PIXELS, decode

PATIENCE = 20.0
"""Seconds for one file; the slowest are those whose header was changed to tens of millions of pixels."""

MAGICS = (
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"RIFF",
    b"%PDF",
    b"PK\x03\x04",
)


def whole_files() -> list[bytes]:
    """Small files of every format and of most of its kinds."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    rgb = Image.fromarray(small).resize((40, 48), Image.Resampling.BICUBIC)
    grey, palette, other = rgb.convert("L"), rgb.quantize(16), rgb.rotate(180)
    deep = Image.fromarray(rng.integers(0, 65536, (24, 20), dtype=np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (rgb, "JPEG", {}),
        (rgb, "JPEG", {"quality": 95, "subsampling": 0}),
        (rgb, "JPEG", {"progressive": True}),
        (rgb, "JPEG", {"restart_marker_rows": 1}),
        (rgb, "JPEG", {"exif": turned}),
        (rgb, "MPO", {"save_all": True, "append_images": [other]}),
        (grey, "JPEG", {}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgb, "PNG", {}),
        (rgb.convert("RGBA"), "PNG", {"exif": turned}),
        (palette, "PNG", {"transparency": 3}),
        (deep, "PNG", {}),
        (rgb.convert("1"), "PNG", {}),
        (palette, "GIF", {}),
        (palette, "GIF", {"save_all": True, "append_images": [other.quantize(16)]}),
        (rgb, "BMP", {}),
        (palette, "BMP", {}),
        (rgb, "TIFF", {}),
        (deep, "TIFF", {}),
        (Image.fromarray(rng.random((24, 20), np.float32)), "TIFF", {}),
        (rgb, "TIFF", {"compression": "tiff_lzw"}),
        (rgb, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (rgb, "TIFF", {"compression": "jpeg"}),
        (grey, "TIFF", {"compression": "packbits"}),
        (rgb, "WEBP", {}),
        (rgb.convert("RGBA"), "WEBP", {"lossless": True}),
        (rgb, "WEBP", {"save_all": True, "append_images": [other]}),
    ]
    files = []
    for image, file_format, options in kinds:
        buffer = io.BytesIO()
        image.save(buffer, file_format, **options)
        files.append(buffer.getvalue())
    return files


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def edit_header(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 4))):
        data[rng.randrange(min(64, len(data)))] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def enlarge(data: bytearray, rng: random.Random) -> None:
    """A great number at some place where sizes, lengths and offsets stand."""
    number = rng.choice((0, 1, 9_000, 40_000, 65_535, 2**31 - 1, 2**32 - 1))
    layout = rng.choice((">H", "<H", ">I", "<I"))
    word = struct.pack(layout, number & (0xFFFF if layout[1] == "H" else 0xFFFFFFFF))
    start = data.find(b"\xff\xc0") + 5 if data[:2] == b"\xff\xd8" and rng.random() < 0.5 else rng.randrange(60)
    data[start : start + len(word)] = word


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def insert(data: bytearray, rng: random.Random) -> None:
    place, length = rng.randrange(len(data)), rng.choice((1, 2, 16, 300))
    data[place:place] = bytes(length) if rng.random() < 0.5 else rng.randbytes(length)


def delete(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data))
    del data[place : place + rng.choice((1, 2, 16, 300))]


def erase(data: bytearray, rng: random.Random) -> None:
    place, length = rng.randrange(len(data)), rng.choice((4, 64, 4096))
    data[place : place + length] = bytes(len(data[place : place + length]))


def repeat(data: bytearray, rng: random.Random) -> None:
    place, length = rng.randrange(len(data)), rng.choice((8, 64, 512))
    data[place:place] = data[place : place + length] * rng.choice((1, 3, 40))


def swap_magic(data: bytearray, rng: random.Random) -> None:
    magic = rng.choice(MAGICS)
    data[: len(magic)] = magic


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip_bits, flip_bits, edit_header, enlarge, truncate, insert, delete, erase, repeat, swap_magic,
)  # fmt: skip


def mutant(number: int, files: list[bytes]) -> bytes:
    """The mutant with this number; one in five is a mutant of a mutant."""
    rng = random.Random(number)
    data = bytearray(files[number % len(files)])
    for _ in range(rng.choice((1, 1, 1, 1, 2))):
        rng.choice(MUTATIONS)(data, rng)
        data = data or bytearray(1)
    return bytes(data)


def by_pillow(data: bytes) -> Image.Image | None:
    """The upright image as Pillow reads it; None where it refuses."""
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
        return ImageOps.exif_transpose(image)
    except Exception:
        return None


def stated_size(data: bytes) -> tuple[int, int]:
    """Height and width that the header states, of the upright image."""
    with Image.open(io.BytesIO(data)) as image:
        turned = image.format != "TIFF" and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # TIFF's is upright
        return (image.width, image.height) if turned else (image.height, image.width)


def has_right_checksums(png: bytes) -> bool:
    """Whether every chunk before IEND, the end marker, has the CRC of its bytes."""
    place = 8
    while place + 8 <= len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        if kind == b"IEND":
            return True
        end = place + 8 + length
        if png[end : end + 4] != struct.pack(">I", zlib.crc32(png[place + 4 : end])):
            return False
        place = end + 4
    return False


def flaws(data: bytes, path: Path) -> Iterator[str]:
    """What is wrong with the answer of `decode`; nothing if all is well. The last word is ``refused`` or ``read``."""
    path.write_bytes(data)
    pillows = by_pillow(data) if data[:3] == b"\xff\xd8\xff" else None
    start = time.perf_counter()
    try:
        pixels = decode(path)
    except ImageError as error:
        if str(path) not in str(error) or "\n" in str(error):
            yield f"the message is {error}"
        yield "refused"
    else:
        if pixels.dtype != torch.uint8 or pixels.shape[0] != 3 or tuple(pixels.shape[1:]) != stated_size(data):
            yield f"{tuple(pixels.shape)} where the header states {stated_size(data)}"
        if pixels.shape[1] * pixels.shape[2] > MAX_PIXELS:
            yield "a bomb went off"
        if data[:4] == b"\x89PNG" and not has_right_checksums(data):
            yield "a PNG with a wrong checksum"
        if data[:3] == b"\xff\xd8\xff":
            if pillows is None:
                yield "Pillow refuses this JPEG"
            elif pillows.mode in ("L", "RGB") and not np.array_equal(
                pixels.permute(1, 2, 0).numpy(), np.asarray(pillows.convert("RGB"))
            ):
                yield "Pillow reads other pixels"
        yield "read"
    if time.perf_counter() - start > PATIENCE:
        yield f"took {time.perf_counter() - start:.0f} s"


def main(first: int, count: int, folder: Path) -> None:
    """Decode the mutants ``first`` to ``first + count - 1``; print one JSON object."""
    faulthandler.enable()
    warnings.simplefilter("ignore")  # Pillow's remarks on odd headers
    files, found, answers = whole_files(), {}, Counter[str]()
    with (folder / "number").open("w") as progress:
        for number in range(first, first + count):
            progress.seek(0)
            progress.write(f"{number:9}")
            progress.flush()
            faulthandler.dump_traceback_later(3 * PATIENCE, exit=True)
            *problems, answer = flaws(mutant(number, files), folder / "mutant.img")
            answers[f"{number % len(files)} {answer}"] += 1
            if problems:
                found[number] = problems
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps({"flaws": found, "answers": answers}))


def test_the_files_are_whole() -> None:
    for data in whole_files():
        assert tuple(decode(data).shape[1:]) == stated_size(data)


@pytest.mark.parametrize(
    ("first", "count"),
    [
        (0, 2_400),
        pytest.param(
            10_000,
            100_000,
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not os.environ.get("CELLNET_FUZZ"), reason="CELLNET_FUZZ=1 runs it"),
            ],
        ),
    ],
)
def test_mutants_give_an_error_or_the_image(first: int, count: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, str(first), str(count), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"mutant {(tmp_path / 'number').read_text()}: {done.stderr[-3000:]}"
    result = json.loads(done.stdout)
    assert not result["flaws"]
    for kind in range(len(whole_files())):  # both happen to every kind of file, so both were tested
        assert result["answers"][f"{kind} refused"] > 0
        assert result["answers"][f"{kind} read"] > 0


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
