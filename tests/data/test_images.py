"""One picture: what every kind of file becomes, and what a bad one is called."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modicum.data.images import BadPicture, Preparation, decode, load_picture, picture_size, quiet, side_of, sniff
from modicum.errors import DataError

from .conftest import png

GREY, RGB = Preparation(8, 1), Preparation(8, 3)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pixels(data: bytes, prepare: Preparation = RGB) -> np.ndarray:
    with quiet():
        return decode(data, prepare)[0]


def refused(data: bytes) -> BadPicture:
    with quiet(), pytest.raises(BadPicture) as caught:
        decode(data, RGB)
    return caught.value


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_every_allowed_format_is_told_by_content_and_decoded(kind: str, tmp_path: Path):
    data = encode(Image.new("RGB", (12, 10), (255, 0, 0)), kind)
    assert sniff(data[:16]) == kind
    (tmp_path / "misnamed.txt").write_bytes(data)
    found = load_picture(tmp_path / "misnamed.txt", 8, 3)
    assert np.abs(found.astype(int) - [255, 0, 0]).max() <= 2


def test_formats_outside_the_list_are_refused():
    assert refused(encode(Image.new("RGB", (12, 10)), "ICO")).kind == "wrong-type"
    assert refused(b"<svg xmlns='http://www.w3.org/2000/svg'/>").kind == "wrong-type"


def test_renamed_text_and_empty_files_say_what_they_are(tmp_path: Path):
    (tmp_path / "notes.jpg").write_text("not a picture at all")
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"notes\.jpg: not a picture of an allowed type \(PNG, JPEG"):
        load_picture(tmp_path / "notes.jpg", 8, 3)
    with pytest.raises(DataError, match=r"empty\.png: the file is empty"):
        load_picture(tmp_path / "empty.png", 8, 3)
    with pytest.raises(DataError, match=r"gone\.png: there is no such file"):
        load_picture(tmp_path / "gone.png", 8, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM"])
def test_truncated_files_are_bad_pictures_wherever_they_are_cut(kind: str):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    for share in (0.02, 0.2, 0.5, 0.9):
        assert refused(data[: int(share * len(data))]).kind in ("truncated", "unreadable")


def test_damaged_bytes_never_raise_anything_else():
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"):
        data = encode(Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)), kind)
        for _ in range(60):
            broken = bytearray(data)
            for place in rng.integers(0, len(data), 6):
                broken[place] = rng.integers(256)
            with contextlib.suppress(BadPicture):
                assert pixels(bytes(broken)).shape == (8, 8, 3)


def huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10_000, 10_000), (60_000, 60_000)])
def test_100_megapixels_are_refused_before_decoding(size: tuple[int, int], recwarn: pytest.WarningsRecorder):
    error = refused(huge_png(*size))
    assert error.kind == "too-large"
    assert "64,000,000" in str(error)
    assert not recwarn.list


def test_grey_stays_grey_and_is_repeated_for_three_channels():
    data = encode(Image.fromarray(np.full((8, 8), 77, np.uint8)), "PNG")
    assert np.array_equal(pixels(data, GREY), np.full((8, 8, 1), 77))
    assert np.array_equal(pixels(data, RGB), np.full((8, 8, 3), 77))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_clipped(kind: str):
    """65535 -> 255, 0 -> 0, 257 * 100 -> 100; Pillow's own conversion would clip everything above 255 to white."""
    wide = np.repeat(np.array([0, 257 * 100, 65535, 257 * 200], np.uint16), 16).reshape(8, 8)
    found = pixels(encode(Image.fromarray(wide), kind), GREY)[..., 0]
    assert found.reshape(-1)[::16].tolist() == [0, 100, 255, 200]


def test_floats_and_32_bits_out_of_range_are_refused():
    assert "floating-point" in str(refused(encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF")))
    assert "do not fit 16 bits" in str(refused(encode(Image.fromarray(np.full((8, 8), 70_000, np.int32)), "TIFF")))


def test_palette_and_alpha_are_composited_on_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    assert (pixels(encode(clear, "PNG")) == 255).all()
    assert pixels(encode(half, "PNG"))[0, 0].tolist() == [255, 127, 127]
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    assert pixels(encode(palette, "PNG"))[0, 0].tolist() == [10, 200, 30]
    assert (pixels(encode(palette, "PNG", transparency=1)) == 255).all()
    key = encode(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert (pixels(key) == 255).all()
    assert (pixels(encode(Image.new("LA", (8, 8), (0, 0)), "PNG"), GREY) == 255).all()


def test_cmyk_becomes_rgb():
    found = pixels(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(found[4, 4].astype(int) - [254, 0, 0]).max() <= 6


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_an_animation_the_first_frame_is_taken_and_it_is_noted(kind: str):
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    with quiet():
        found, facts = decode(encode(red, kind, save_all=True, append_images=[blue]), RGB)
    assert facts.animated
    assert np.abs(found[4, 4].astype(int) - [255, 0, 0]).max() <= 4
    with quiet():
        assert not decode(encode(red, kind), RGB)[1].animated


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int):
    """Against Pillow's own transposition, on a wide picture with a different colour in every corner."""
    corners = np.zeros((8, 16, 3), np.uint8)
    corners[:4, 4:8], corners[:4, 8:12], corners[4:, 4:8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    image = Image.fromarray(corners)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(image, "PNG", exif=exif)
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    expected = image.crop((4, 0, 12, 8))
    if orientation > 1:
        expected = expected.transpose(Image.Transpose(turned[orientation]))
    assert np.array_equal(pixels(data), np.asarray(expected))


def test_short_side_is_resampled_and_the_centre_kept():
    """A 40 x 20 picture, white in the middle 20 columns only: the square that is left is all white."""
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 10:30] = 255
    found = pixels(encode(Image.fromarray(wide), "PNG"))
    assert (found[:, 2:-2] == 255).all()
    assert found.min() > 200  # only the antialiasing filter reaches over the edge


def test_downscaling_is_antialiased():
    """A one-pixel checkerboard becomes grey; picking pixels would give black or white."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = pixels(encode(Image.fromarray(board), "PNG"), GREY)
    assert np.abs(found[1:-1, 1:-1].astype(int) - 127).max() <= 3


def test_small_pictures_are_enlarged_and_same_size_ones_untouched():
    assert pixels(png(0, (3, 2))).shape == (8, 8, 3)
    same = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(pixels(encode(Image.fromarray(same), "PNG")), same)


def test_large_jpeg_decoded_at_a_fraction_is_close_to_the_whole():
    smooth = np.linspace(0, 255, 640 * 640).reshape(640, 640).astype(np.uint8)
    data = encode(Image.fromarray(smooth), "JPEG", quality=95)
    whole = np.asarray(Image.open(io.BytesIO(data)).resize((8, 8), Image.Resampling.BICUBIC))
    assert np.abs(pixels(data, GREY)[..., 0].astype(int) - whole).max() <= 2


def test_margin_rounds_up_and_does_not_trust_floats():
    assert [side_of(28, 1.0), side_of(28, 1.15), side_of(84, 8 / 7), side_of(30, 1.1)] == [28, 33, 96, 33]


def test_picture_size_reads_headers_only(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(0, (30, 20)))
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert picture_size(tmp_path / "a.png") == (30, 20)
    assert picture_size(tmp_path / "b.png") is None
    assert picture_size(tmp_path / "none.png") is None
