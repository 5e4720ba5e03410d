"""`cellnet.images`: every kind of file and picture becomes the same uint8 RGB, or one clear error."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from cellnet.errors import CellnetError, ConfigError, DataError, ImageError, UnknownNameError
from cellnet.images import (
    INTERPOLATIONS,
    Preprocess,
    background_colour,
    decode,
    decoding,
    list_images,
    stack_images,
    to_uint8_rgb,
)


def picture(height: int = 40, width: int = 48, seed: int = 0) -> Image.Image:
    """Soft coloured blobs, so that JPEG keeps them nearly as they are."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def noise(height: int, width: int) -> Image.Image:
    """What JPEG keeps worst."""
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def as_tensor(image: Image.Image) -> torch.Tensor:
    """The plain reference: Pillow's own RGB conversion."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def distance(a: torch.Tensor, b: torch.Tensor) -> int:
    assert a.shape == b.shape
    assert a.dtype == b.dtype == torch.uint8
    return int((a.int() - b.int()).abs().max())


class TestDecode:
    @pytest.mark.parametrize(
        ("file_format", "options"),
        [
            ("PNG", {}),
            ("BMP", {}),
            ("TIFF", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("TIFF", {"compression": "tiff_adobe_deflate"}),
            ("WEBP", {"lossless": True}),
        ],
    )
    def test_lossless_formats_keep_every_pixel(self, file_format: str, options: dict[str, object]) -> None:
        image = picture()
        assert torch.equal(decode(encode(image, file_format, **options)), as_tensor(image))

    @pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
    @pytest.mark.parametrize("progressive", [False, True])
    @pytest.mark.parametrize("size", [(1, 1), (7, 5), (8, 17), (40, 48), (363, 360)])
    def test_jpeg_is_pillow_to_the_last_bit(self, size: tuple[int, int], progressive: bool, subsampling: str) -> None:
        for quality in (10, 50, 90):
            options = {"quality": quality, "progressive": progressive, "subsampling": subsampling}
            # Pillow's own encoder has too small a buffer for large noise.
            for draw in (picture, noise) if size < (100, 100) else (picture,):
                data = encode(draw(*size), "JPEG", **options)
                assert torch.equal(decode(data), as_tensor(Image.open(io.BytesIO(data))))

    @pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
    def test_jpegs_of_another_encoder(self, subsampling: str) -> None:
        array = np.asarray(picture(41, 47))
        for quality in (20, 75, 95):
            data = simplejpeg.encode_jpeg(array, quality, colorsubsampling=subsampling)
            assert torch.equal(decode(data), as_tensor(Image.open(io.BytesIO(data))))

    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 10}, {"restart_marker_rows": 1}])
    def test_grey_and_rgb_jpegs_are_pillow_too(self, options: dict[str, object]) -> None:
        grey = encode(picture(41, 47).convert("L"), "JPEG", **options)
        rgb = encode(picture(41, 47), "JPEG", keep_rgb=True, **options)
        for data in (grey, rgb):
            assert torch.equal(decode(data), as_tensor(Image.open(io.BytesIO(data))))

    def test_plain_jpegs_take_the_fast_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def count(data: bytes, image: JpegImageFile) -> np.ndarray:
            taken.append(image.mode)
            return original(data, image)

        taken: list[str] = []
        original = decoding._read_jpeg
        monkeypatch.setattr(decoding, "_read_jpeg", count)
        upright, turned = Image.Exif(), Image.Exif()
        upright[0x0112], turned[0x0112] = 1, 3
        for options in ({}, {"progressive": True}, {"exif": upright}, {"comment": b"x" * 100}, {"icc_profile": b"x"}):
            decode(encode(picture(), "JPEG", **options))
        decode(encode(picture().convert("L"), "JPEG"))
        assert taken == ["RGB"] * 5 + ["L"]
        decode(encode(picture(), "JPEG", exif=turned))
        decode(encode(picture().convert("CMYK"), "JPEG"))
        assert len(taken) == 6

    def test_orientation_in_xmp(self) -> None:
        packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'
        data = encode(picture(), "JPEG", xmp=packet)
        assert torch.equal(decode(data), as_tensor(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))
        assert decode(data).shape == (3, 48, 40)

    def test_the_result_is_writable_and_lies_channels_last(self) -> None:
        for file_format in ("JPEG", "PNG"):
            pixels = decode(encode(picture(), file_format))
            assert pixels.permute(1, 2, 0).is_contiguous()
            assert pixels.zero_().sum() == 0

    def test_cmyk_jpeg(self) -> None:
        image = picture()
        assert distance(decode(encode(image.convert("CMYK"), "JPEG", quality=100)), as_tensor(image)) <= 16

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_is_applied(self, file_format: str, orientation: int) -> None:
        image = picture()
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encode(image, file_format, exif=exif)
        upright = as_tensor(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
        assert distance(decode(data), upright) <= 1
        assert decode(data).shape[1:] == ((40, 48) if orientation < 5 else (48, 40))

    def test_palette(self) -> None:
        image = picture().quantize(16)
        assert torch.equal(decode(encode(image, "PNG")), as_tensor(image))

    def test_one_bit(self) -> None:
        image = picture().convert("1")
        pixels = decode(encode(image, "PNG"))
        assert set(pixels.unique().tolist()) == {0, 255}
        assert torch.equal(pixels, as_tensor(image))

    def test_transparency_lies_over_white(self) -> None:
        image = Image.new("RGBA", (3, 1))
        image.putdata([(200, 0, 0, 255), (200, 0, 0, 0), (200, 0, 0, 51)])
        # 51 / 255 = 0.2: 0.2 * 200 + 0.8 * 255 = 244 and 0.8 * 255 = 204.
        expected = [[200, 255, 244], [0, 255, 204], [0, 255, 204]]
        assert decode(encode(image, "PNG"))[:, 0].tolist() == expected

    def test_grey_alpha_and_transparent_colour_lie_over_white(self) -> None:
        grey_alpha = Image.new("LA", (1, 1), (100, 0))
        assert decode(encode(grey_alpha, "PNG")).flatten().tolist() == [255, 255, 255]
        keyed = encode(Image.new("RGB", (1, 1), (10, 20, 30)), "PNG", transparency=(10, 20, 30))
        assert decode(keyed).flatten().tolist() == [255, 255, 255]
        palette = encode(Image.new("RGB", (4, 4), (10, 20, 30)).quantize(4), "PNG", transparency=0)
        assert decode(palette).unique().tolist() == [255]

    @pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
    def test_sixteen_bit_grey_is_scaled_and_not_clipped(self, file_format: str) -> None:
        values = np.array([[0, 128, 129, 32768, 65535]], dtype=np.uint16)
        pixels = decode(encode(Image.fromarray(values), file_format))
        assert pixels[0].tolist() == [[0, 0, 1, 128, 255]]
        assert torch.equal(pixels[0], pixels[2])

    def test_sixteen_bit_rgb_keeps_its_upper_bytes(self) -> None:
        # Pillow cannot write this kind, so the file is made by hand.
        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
        row = b"\0" + struct.pack(">HHH", 255, 32768, 65535)
        chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
        assert decode(b"\x89PNG\r\n\x1a\n" + chunks).flatten().tolist() == [0, 128, 255]

    def test_float_tiff(self) -> None:
        values = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
        assert decode(encode(Image.fromarray(values), "TIFF"))[1].tolist() == [[0, 128, 255]]

    @pytest.mark.parametrize("file_format", ["GIF", "WEBP", "TIFF", "PNG"])
    def test_the_first_frame_counts(self, file_format: str) -> None:
        first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
        options = {"lossless": True} if file_format == "WEBP" else {}
        data = encode(first, file_format, save_all=True, append_images=[second], **options)
        assert decode(data)[:, 4, 4].tolist() == [255, 0, 0]

    def test_multi_picture_jpeg_of_a_phone(self) -> None:
        data = encode(picture(), "MPO", save_all=True, append_images=[picture(seed=1)])
        assert distance(decode(data), as_tensor(Image.open(io.BytesIO(data)))) <= 1

    def test_path_string_and_bytes_give_the_same(self, tmp_path: Path) -> None:
        file = tmp_path / "zelle größe.jpg"
        file.write_bytes(encode(picture(), "JPEG"))
        assert torch.equal(decode(file), decode(str(file)))
        assert torch.equal(decode(file), decode(file.read_bytes()))

    def test_the_suffix_does_not_matter(self, tmp_path: Path) -> None:
        file = tmp_path / "really_a_png.jpg"
        file.write_bytes(encode(picture(), "PNG"))
        assert torch.equal(decode(file), as_tensor(picture()))

    def test_bytes_after_the_image_are_ignored(self) -> None:
        data = encode(picture(), "JPEG")
        assert torch.equal(decode(data + b"trailing notes"), decode(data))


class TestDecodeRefuses:
    @pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Pillow's remarks on cut-off EXIF
    @pytest.mark.parametrize(
        ("file_format", "options"),
        [
            ("JPEG", {}),
            ("JPEG", {"progressive": True}),
            ("PNG", {}),
            ("BMP", {}),
            ("GIF", {}),
            ("TIFF", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("WEBP", {}),
        ],
    )
    def test_truncated_anywhere_never_gives_other_pixels(self, file_format: str, options: dict[str, object]) -> None:
        data = encode(picture(16, 24), file_format, **options)
        whole = decode(data)
        refused = 0
        for length in range(0, len(data), max(1, len(data) // 150)):
            try:
                pixels = decode(data[:length])
            except ImageError:
                refused += 1
            else:  # only the end marker is missing
                assert length > 0.9 * len(data)
                assert torch.equal(pixels, whole)
        assert refused >= 50

    def test_truncated_cmyk_jpeg(self) -> None:
        data = encode(picture().convert("CMYK"), "JPEG")
        with pytest.raises(ImageError, match="truncated"):
            decode(data[: len(data) // 2 + 150])

    @pytest.mark.parametrize("options", [{}, {"progressive": True}])
    def test_damage_that_pillow_passes_over(self, options: dict[str, object]) -> None:
        data = bytearray(encode(picture(200, 200), "JPEG", quality=95, **options))
        data[len(data) // 2 : len(data) // 2 + 40] = bytes(range(40))
        Image.open(io.BytesIO(data)).load()
        with pytest.raises(ImageError, match=r"The given file cannot be decoded \(.+\); copy or download it again"):
            decode(bytes(data))

    def test_png_whose_pixels_have_another_checksum(self) -> None:
        data = encode(picture(), "PNG")
        start = data.index(b"IDAT") - 4
        packed = zlib.compress(bytes(2 * 48 * (1 + 40 * 3)))  # more lines than wanted: no end that Pillow would check
        chunk = struct.pack(">I", len(packed)) + b"IDAT" + packed + b"\1\2\3\4"
        damaged = data[:start] + chunk + data[data.index(b"IEND") - 4 :]
        assert as_tensor(Image.open(io.BytesIO(damaged))).max() == 0
        with pytest.raises(ImageError, match=r"cannot be decoded \(.*IDAT"):
            decode(damaged)

    def test_jpeg_of_endless_scans(self) -> None:
        data = encode(Image.new("RGB", (64, 64), "pink"), "JPEG", progressive=True)
        last = data[data.rindex(b"\xff\xda") : -2]
        for count, cause in ((1000, "more than 100 scans"), (50, "cannot be decoded")):
            with pytest.raises(ImageError, match=cause):
                decode(data[:-2] + count * last + data[-2:])
        grey = encode(Image.new("CMYK", (64, 64)), "JPEG", progressive=True)
        with pytest.raises(ImageError, match="more than 100 scans"):
            decode(grey[:-2] + 1000 * grey[grey.rindex(b"\xff\xda") : -2] + grey[-2:])

    def test_header_and_pixels_of_two_sizes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: np.zeros((8, 9, 3), np.uint8))
        with pytest.raises(ImageError, match="its headers state 48×40 and 9×8"):
            decode(encode(picture(), "JPEG"))

    def test_jpeg_whose_download_left_zeros_at_the_end(self) -> None:
        data = encode(picture(), "JPEG")
        cut = len(data) * 4 // 5
        with pytest.raises(ImageError):
            decode(data[:cut] + bytes(len(data) - cut))

    @pytest.mark.parametrize(
        ("content", "cause"),
        [
            (b"", r"is empty \(0 bytes\)"),
            (b"\0\0\0\1Bud1" + bytes(500), "is not an image or has a damaged header"),
            (b"\n<!DOCTYPE html><html><body>404</body></html>", "is not an image but a web page"),
            (b"%PDF-1.7 ...", "is not an image but a PDF"),
            (b"PK\x03\x04" + bytes(100), "is not an image but a ZIP archive"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),  # never Ghostscript
            (b"\xff\xd8\xff\xe0" + bytes(200), "is not an image|cannot be decoded"),
        ],
    )
    def test_the_message_names_file_and_cause(self, tmp_path: Path, content: bytes, cause: str) -> None:
        file = tmp_path / "cell_17.jpg"
        file.write_bytes(content)
        with pytest.raises(ImageError, match=cause) as caught:
            decode(file)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_truncated_file_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "half.jpg"
        data = encode(picture(), "JPEG")
        file.write_bytes(data[: len(data) - 40])
        with pytest.raises(ImageError, match=r"half\.jpg cannot be decoded \(.*[Pp]remature end"):
            decode(file)

    def test_missing_folder_pipe_and_impossible_path(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match=r"nowhere\.png does not exist"):
            decode(tmp_path / "nowhere.png")
        with pytest.raises(ImageError, match="is a folder"):
            decode(str(tmp_path))
        with pytest.raises(ImageError, match="cannot be read"):
            decode("x" * 5000)
        if hasattr(os, "mkfifo"):
            os.mkfifo(tmp_path / "pipe.png")
            with pytest.raises(ImageError, match="is no file"):
                decode(tmp_path / "pipe.png")

    def test_decompression_bombs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # A header that promises 3.6 thousand million pixels; Pillow itself stops it.
        bomb = bytearray(encode(Image.new("L", (1, 1)), "PNG"))
        bomb[16:24] = struct.pack(">II", 60_000, 60_000)
        bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
        with pytest.raises(ImageError, match="more than 89 million pixels"):
            decode(bytes(bomb))
        monkeypatch.setattr(decoding, "MAX_PIXELS", 40 * 48 - 1)
        for file_format in ("JPEG", "PNG"):
            with pytest.raises(ImageError, match="cut single cells out"):
                decode(encode(picture(), file_format))

    def test_integer_tiff_without_agreed_range(self) -> None:
        data = encode(Image.fromarray(np.array([[0, 70_000]], dtype=np.int32)), "TIFF")
        with pytest.raises(ImageError, match="The given file: Pixels of type int32 have no agreed range"):
            decode(data)

    def test_every_refusal_is_a_data_error(self) -> None:
        with pytest.raises(DataError):
            decode(b"text")


class TestToUint8Rgb:
    def test_layouts_agree(self) -> None:
        image = picture(20, 30)
        hwc = np.array(image)
        expected = as_tensor(image)
        chw = hwc.transpose(2, 0, 1)
        for given in (
            image,
            hwc,
            chw,
            torch.from_numpy(hwc),
            torch.from_numpy(chw.copy()),
            hwc[:, ::-1][:, ::-1],
        ):
            assert torch.equal(to_uint8_rgb(given), expected)

    @pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (1, 20, 30)])
    def test_grey_layouts(self, shape: tuple[int, ...]) -> None:
        grey = np.arange(600, dtype=np.uint16).astype(np.uint8).reshape(20, 30)
        pixels = to_uint8_rgb(grey.reshape(shape))
        assert pixels.shape == (3, 20, 30)
        assert all(np.array_equal(channel.numpy(), grey) for channel in pixels)

    def test_rgba_array_lies_over_white(self) -> None:
        rgba = np.zeros((8, 9, 4), dtype=np.uint8)
        rgba[..., 3] = 51
        assert to_uint8_rgb(rgba).unique().tolist() == [204]
        assert to_uint8_rgb(rgba.astype(np.float32) / 255).unique().tolist() == [204]

    @pytest.mark.parametrize("order", ["<u2", ">u2"])
    def test_every_sixteen_bit_value(self, order: str) -> None:
        values = np.arange(65536, dtype=order).reshape(256, 256)
        expected = np.rint(np.arange(65536) / 257).reshape(256, 256)
        assert np.array_equal(to_uint8_rgb(values)[0].numpy(), expected)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_floats_from_zero_to_one(self, dtype: torch.dtype) -> None:
        values = torch.tensor([[0.0, 0.25, 1.0]], dtype=dtype)
        assert to_uint8_rgb(values)[2].tolist() == [[0, 64, 255]]

    def test_uint8_through_float_and_back(self) -> None:
        pixels = as_tensor(picture())
        assert torch.equal(to_uint8_rgb(pixels.float() / 255), pixels)

    def test_bool(self) -> None:
        assert to_uint8_rgb(np.array([[True, False]]))[0].tolist() == [[255, 0]]
        assert to_uint8_rgb(torch.tensor([[True, False]]))[0].tolist() == [[255, 0]]

    def test_uint16_tensor(self) -> None:
        assert to_uint8_rgb(torch.tensor([[0, 65535]], dtype=torch.uint16))[0].tolist() == [[0, 255]]

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV"])
    def test_pil_modes(self, mode: str) -> None:
        grey = Image.new("L", (5, 4), 255)
        assert to_uint8_rgb(grey.convert("RGBA").convert(mode)).unique().tolist() == [255]

    def test_an_opened_file_gives_what_its_path_gives(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        data = encode(picture(), "JPEG", exif=exif)
        assert distance(to_uint8_rgb(Image.open(io.BytesIO(data))), decode(data)) <= 1

    def test_the_result_is_a_copy(self) -> None:
        array = np.zeros((8, 8, 3), dtype=np.uint8)
        tensor = torch.zeros(3, 8, 8, dtype=torch.uint8)
        to_uint8_rgb(array)[:] = 7
        to_uint8_rgb(tensor)[:] = 7
        assert array.max() == tensor.max() == 0

    def test_tensor_that_needs_gradients(self) -> None:
        assert to_uint8_rgb(torch.ones(3, 8, 8, requires_grad=True)).unique().tolist() == [255]

    @pytest.mark.parametrize(
        ("given", "cause"),
        [
            (np.full((8, 8), 255.0), "Float pixels must lie in 0-1, these span 255 to 255"),
            (np.full((8, 8), -0.1), "span -0.1"),
            (np.array([[0.0, np.nan]]), "Float pixels must lie in 0-1"),
            (np.array([[0.0, np.inf]]), "Float pixels must lie in 0-1"),
            (torch.randn(3, 16, 16), "divide by their full range, or pass uint8"),
            (np.zeros((8, 8), dtype=np.int64), "int64 have no agreed range"),
            (torch.zeros(3, 8, 8, dtype=torch.int32), "int32 have no agreed range"),
            (np.zeros((8, 8), dtype=complex), "complex128 have no agreed range"),
            (Image.new("I", (8, 8)), "int32 have no agreed range"),
            (np.zeros((3, 8, 3), dtype=np.uint8), "may mean H×W×C or C×H×W"),
            (np.zeros((8, 8, 2), dtype=np.uint8), r"\(8, 8, 2\) is not H×W"),
            (np.zeros(8, dtype=np.uint8), r"\(8,\) is not H×W"),
            (np.zeros((0, 8, 3), dtype=np.uint8), r"\(0, 8, 3\) is not H×W"),
            (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "one image of the batch at a time"),
            ([[0, 1]], "A list is not an image"),
            ("cell.png", "A str is not an image"),
            (None, "A NoneType is not an image"),
        ],
    )
    def test_what_it_refuses(self, given: object, cause: str) -> None:
        with pytest.raises(ImageError, match=cause):
            to_uint8_rgb(given)  # type: ignore[arg-type]

    def test_a_truncated_file_opened_lazily(self) -> None:
        data = encode(picture(), "PNG")
        with pytest.raises(ImageError, match="The PIL image cannot be read"):
            to_uint8_rgb(Image.open(io.BytesIO(data[: len(data) // 2])))


class TestListImages:
    def test_recursive_sorted_and_without_hidden_files(self, tmp_path: Path) -> None:
        for name in ("b/2.JPG", "a/1.png", "a/deep/0.tiff", "c.webp"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        for name in ("b/.DS_169665.jpg", "b/._2.JPG", ".cache/3.jpg", "notes.txt", "b/Thumbs.db"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        (tmp_path / "folder.png").mkdir()
        found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
        assert found == ["a/1.png", "a/deep/0.tiff", "b/2.JPG", "c.webp"]

    def test_links_are_followed_once(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
        for file in (tmp_path / "elsewhere" / "1.png", tmp_path / "elsewhere" / "deep" / "2.png"):
            file.write_bytes(b"x")
        folder = tmp_path / "cells"
        folder.mkdir()
        for name in ("a", "b"):
            (folder / name).symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "elsewhere" / "deep" / "round").symlink_to(folder, target_is_directory=True)
        found = [path.relative_to(folder).as_posix() for path in list_images(folder)]
        assert found == ["a/1.png", "a/deep/2.png"]

    def test_the_folder_itself_may_be_hidden(self, tmp_path: Path) -> None:
        (tmp_path / ".data").mkdir()
        (tmp_path / ".data" / "1.png").write_bytes(b"x")
        assert len(list_images(str(tmp_path / ".data"))) == 1

    def test_refusals(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"No such folder: .*nowhere"):
            list_images(tmp_path / "nowhere")
        (tmp_path / "a.txt").write_bytes(b"x")
        with pytest.raises(DataError, match="It is a file, not a folder"):
            list_images(tmp_path / "a.txt")
        with pytest.raises(DataError, match=r"No image in .* looked for files ending in \.bmp"):
            list_images(tmp_path)


class TestPreprocess:
    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
    @pytest.mark.parametrize("size", [16, 33, 100])
    def test_resize_agrees_with_pillow(self, interpolation: str, size: int) -> None:
        image = picture(70, 70)
        method = Image.Resampling[interpolation.upper()]
        expected = as_tensor(image.resize((size, size), method))
        assert distance(Preprocess(size, interpolation=interpolation)(as_tensor(image)), expected) <= 1

    def test_nearest_agrees_with_pillow(self) -> None:
        image = picture(70, 70)
        expected = as_tensor(image.resize((32, 32), Image.Resampling.NEAREST))
        assert torch.equal(Preprocess(32, interpolation="nearest")(as_tensor(image)), expected)

    def test_fine_stripes_turn_grey(self) -> None:
        stripes = torch.zeros(3, 128, 128, dtype=torch.uint8)
        stripes[:, :, ::2] = 255
        shrunk = Preprocess(16)(stripes)[:, :, 2:-2]
        assert shrunk.min() > 100
        assert shrunk.max() < 155

    def test_crop_is_centred_and_square(self) -> None:
        image = torch.zeros(3, 40, 60, dtype=torch.uint8)
        image[:, 10:30, 20:40] = 200
        assert Preprocess(20, crop=0.5)(image).unique().tolist() == [200]

    @pytest.mark.parametrize("shape", [(3, 30, 30), (3, 40, 30), (3, 30, 200), (2, 3, 30, 30)])
    def test_above_one_there_is_a_margin_of_the_background(self, shape: tuple[int, ...]) -> None:
        image = torch.full(shape, 220, dtype=torch.uint8)
        image[..., 1, :, :] = 180
        middle = (..., slice(shape[-2] // 2 - 5, shape[-2] // 2 + 5), slice(shape[-1] // 2 - 5, shape[-1] // 2 + 5))
        image[middle] = 40
        result = Preprocess(30, crop=2, interpolation="nearest")(image)
        assert result.shape == (*shape[:-2], 30, 30)
        assert result[..., 0, :2, :].unique().tolist() == [220]
        assert result[..., 1, -2:, :].unique().tolist() == [180]
        assert result[..., 15, 15].unique().tolist() == [40]
        assert int((result[..., 0, :, :] == 40).sum()) == 25 * result[..., 0, 0, 0].numel()  # half of the side

    def test_a_margin_takes_the_median_of_the_edge(self) -> None:
        image = torch.full((3, 80, 80), 200, dtype=torch.uint8)
        image[:, 20:60, 10:80] = 50  # the cell touches one edge
        assert background_colour(image).tolist() == [200, 200, 200]

    def test_shorter_side_decides(self) -> None:
        image = torch.arange(60, dtype=torch.uint8).expand(3, 40, 60).contiguous()
        assert torch.equal(Preprocess(40)(image), image[:, :, 10:50])

    def test_right_size_is_left_alone(self) -> None:
        image = as_tensor(picture(32, 32))
        for interpolation in INTERPOLATIONS:
            assert torch.equal(Preprocess(32, interpolation=interpolation)(image), image)

    def test_batch_and_memory_layout(self) -> None:
        batch = torch.stack([as_tensor(picture(36, 41, seed)) for seed in range(3)])
        preprocess = Preprocess(20, crop=0.9)
        result = preprocess(batch)
        assert result.is_contiguous(memory_format=torch.channels_last)
        for image in (batch[1], batch[1].contiguous(), batch[1][:, :, 2:-2]):
            assert preprocess(image).permute(1, 2, 0).is_contiguous()
            assert Preprocess(36)(image).permute(1, 2, 0).is_contiguous()
        for one, of_batch in zip(batch, result, strict=True):
            assert distance(preprocess(one), of_batch) <= 1

    def test_enlarges(self) -> None:
        assert Preprocess(64)(as_tensor(picture(16, 16))).shape == (3, 64, 64)

    def test_round_trip(self) -> None:
        preprocess = Preprocess(96, 0.8, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        assert Preprocess.from_dict(preprocess.to_dict()) == preprocess
        assert preprocess.to_dict()["mean"] == [0.5, 0.5, 0.5]
        assert hash(Preprocess(96, mean=[0.5, 0.5, 0.5])) == hash(Preprocess(96, mean=(0.5, 0.5, 0.5)))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("options", "cause"),
        [
            ({"image_size": 15}, "image_size=15"),
            ({"image_size": 128.0}, "image_size=128.0"),
            ({"image_size": "128"}, "image_size='128'"),
            ({"image_size": True}, "image_size=True"),
            ({"crop": 0}, "crop=0"),
            ({"crop": 4.01}, "crop=4.01"),
            ({"crop": float("nan")}, "crop=nan"),
            ({"crop": "0.5"}, "crop='0.5'"),
            ({"mean": 0.5}, "mean=0.5"),
            ({"mean": (0.5, 0.5)}, "mean="),
            ({"std": (0.5, 0.5, None)}, "std="),
            ({"std": (0.5, 0.5, 0.0)}, "std=.*above 0"),
            ({"std": (0.5, 0.5, float("inf"))}, "std="),
        ],
    )
    def test_values_out_of_range(self, options: dict[str, object], cause: str) -> None:
        with pytest.raises(ConfigError, match=cause):
            Preprocess.from_dict({"image_size": 64, **options})

    def test_unknown_words(self) -> None:
        with pytest.raises(UnknownNameError, match="Did you mean 'bilinear'"):
            Preprocess(64, interpolation="bilinar")
        with pytest.raises(UnknownNameError, match="Did you mean 'image_size'"):
            Preprocess.from_dict({"imagesize": 64})
        with pytest.raises(ConfigError, match="image_size"):
            Preprocess.from_dict({"crop": 0.9})

    @pytest.mark.parametrize(
        "image",
        [
            torch.zeros(3, 32, 32),
            torch.zeros(32, 32, dtype=torch.uint8),
            torch.zeros(32, 32, 3, dtype=torch.uint8),
            torch.zeros(3, 0, 32, dtype=torch.uint8),
        ],
    )
    def test_wrong_tensors(self, image: torch.Tensor) -> None:
        with pytest.raises(CellnetError, match="to_uint8_rgb"):
            Preprocess(32)(image)


class TestNormalise:
    PREPROCESS = Preprocess(16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))

    def expected(self, batch: torch.Tensor) -> torch.Tensor:
        mean, std = (
            torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (self.PREPROCESS.mean, self.PREPROCESS.std)
        )
        return ((batch.double() / 255 - mean) / std).float()

    @pytest.mark.parametrize("size", [(20, 30), (1, 1), (1, 7)])
    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_formula(self, layout: torch.memory_format, size: tuple[int, int]) -> None:
        batch = torch.randint(0, 256, (4, 3, *size), dtype=torch.uint8).contiguous(memory_format=layout)
        result = self.PREPROCESS.normalise(batch)
        assert torch.allclose(result, self.expected(batch), rtol=1e-6, atol=1e-6)
        assert result.is_contiguous(memory_format=layout)

    def test_into_given_memory_of_any_layout(self) -> None:
        batch = torch.randint(0, 256, (5, 3, 9, 8), dtype=torch.uint8)
        for layout in (torch.contiguous_format, torch.channels_last):
            out = torch.full((8, 3, 9, 8), 7.0).contiguous(memory_format=layout)
            assert self.PREPROCESS.normalise(batch, out[:5]).data_ptr() == out.data_ptr()
            assert torch.allclose(out[:5], self.expected(batch), rtol=1e-6, atol=1e-6)
            assert (out[5:] == 7).all()

    def test_each_call_has_memory_of_its_own(self) -> None:
        batch = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        first = self.PREPROCESS.normalise(batch)
        kept = first.clone()
        self.PREPROCESS.normalise(batch + 9)
        assert torch.equal(first, kept)

    def test_no_image(self) -> None:
        assert self.PREPROCESS.normalise(torch.zeros(0, 3, 8, 8, dtype=torch.uint8)).shape == (0, 3, 8, 8)

    def test_refusals(self) -> None:
        batch = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        for wrong in (batch.float(), batch[0], batch[:, :1]):
            with pytest.raises(ImageError, match="normalise takes uint8 N×3×H×W"):
                self.PREPROCESS.normalise(wrong)
        for out in (torch.zeros(3, 3, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.float64)):
            with pytest.raises(ImageError, match="out must be float32"):
                self.PREPROCESS.normalise(batch, out)


def test_a_batch_keeps_the_memory_layout_of_its_images() -> None:
    planes = [torch.randint(256, (3, 4, 5), dtype=torch.uint8) for _ in range(3)]
    last = [image.permute(1, 2, 0).contiguous().permute(2, 0, 1) for image in planes]
    for images, layout in ((planes, torch.contiguous_format), (last, torch.channels_last)):
        batch = stack_images(iter(images), "abc")
        assert torch.equal(batch, torch.stack(planes))
        assert batch.is_contiguous(memory_format=layout)
    assert stack_images([], []).shape == (0, 3, 0, 0)


@pytest.mark.parametrize("other", [torch.zeros(3, 4, 6), torch.zeros(3, 4, 5, dtype=torch.uint8)])
def test_a_batch_takes_images_of_one_kind(other: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"a\.png is torch.float32 \(3, 4, 5\) and b\.png"):
        stack_images([torch.zeros(3, 4, 5), other], ["a.png", "b.png"])
