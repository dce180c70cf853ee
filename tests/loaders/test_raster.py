"""Raster files: the same image however it is stored, refusals by name, limits before decoding."""

from __future__ import annotations

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile
from radiograph_files import phantom, png_with_header, raster

from cxr_explain.errors import (
    CorruptImageError,
    ImageTooLargeError,
    NotAnImageError,
    OptionError,
    RadiographError,
    UnsupportedImageError,
)
from cxr_explain.loaders import read_radiograph

GREY = phantom(bits=8)
EXPECTED = (-1024 + 2048 * (np.arange(256) / 255)).astype(np.float32)[GREY]


@pytest.fixture
def read(tmp_path):
    def read_bytes(data, name="image.png", **options):
        path = tmp_path / name
        path.write_bytes(data)
        return read_radiograph(path, **options)

    return read_bytes


def grey_palette():
    image = Image.fromarray(GREY, "L").copy()
    palette = Image.new("P", image.size)
    palette.putpalette([v for i in range(256) for v in (i, i, i)])
    palette.putdata(
        list(image.get_flattened_data() if hasattr(image, "get_flattened_data") else image.getdata())
    )
    return palette


STORED = {
    "grey": Image.fromarray(GREY),
    "rgb": Image.fromarray(np.stack([GREY] * 3, -1)),
    "rgba": Image.fromarray(np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)])),
    "la": Image.fromarray(GREY).convert("LA"),
    "palette": grey_palette(),
}


@pytest.mark.parametrize("stored", STORED)
def test_a_grey_image_is_the_same_however_it_is_stored(read, stored):
    radiograph = read(raster(STORED[stored], "PNG"))
    assert np.array_equal(radiograph.pixels, EXPECTED)
    assert np.array_equal(radiograph.display, GREY)
    assert radiograph.warnings == ()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("name", ["image.jpg", "image.dcm", "image"])
def test_content_decides_and_not_the_name(read, kind, name):
    options = {"lossless": True} if kind == "WEBP" else {}
    radiograph = read(raster(GREY, kind, **options), name)
    assert radiograph.format == kind
    assert np.array_equal(radiograph.pixels, EXPECTED)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_applied(read, kind, orientation):
    smooth = np.asarray(Image.fromarray(GREY[:8, :6]).resize((48, 64)))
    back = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}.get(orientation)
    turns = {2: np.fliplr, 3: lambda a: a[::-1, ::-1], 4: np.flipud, 5: np.transpose}
    turns |= {6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].T, 8: np.rot90, None: np.asarray}
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = raster(
        np.ascontiguousarray(turns[back](smooth)),
        kind,
        exif=exif,
        **({"quality": 100} if kind == "JPEG" else {}),
    )
    radiograph = read(data)
    assert radiograph.shape == smooth.shape
    assert np.abs(radiograph.display.astype(int) - smooth).max() <= 3
    assert any("EXIF orientation" in s for s in radiograph.steps) == (orientation != 1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_by_65535(read, kind):
    pixels = phantom(bits=16)
    radiograph = read(raster(pixels, kind))
    assert np.allclose(radiograph.pixels, (2 * (pixels / 65535.0) - 1) * 1024, atol=1e-3)
    dark = read(raster(phantom(bits=12), kind))
    assert any("looks like 12-bit data" in w for w in dark.warnings)


def test_sixteen_bit_white_is_zero_tiff_is_inverted(read):
    pixels = phantom(bits=16)
    radiograph = read(raster(pixels, "TIFF", tiffinfo={262: 0}))
    plain = read(raster(65535 - pixels, "TIFF"))
    assert np.array_equal(radiograph.pixels, plain.pixels)


def test_alpha_is_composited_over_black(read):
    alpha = np.full_like(GREY, 255)
    alpha[:10] = 0
    radiograph = read(raster(Image.fromarray(np.dstack([GREY, GREY, GREY, alpha])), "PNG"))
    assert (radiograph.pixels[:10] == -1024).all()
    assert np.array_equal(radiograph.pixels[10:], EXPECTED[10:])
    assert any("transparent" in w for w in radiograph.warnings)


def test_colour_is_named_and_profiles_are_ignored(read):
    colour = read(raster(np.dstack([GREY, GREY // 2, 255 - GREY]), "PNG"))
    assert any("colour image" in w for w in colour.warnings)
    profiled = read(raster(GREY, "PNG", icc_profile=b"x" * 200))
    assert "ICC profile ignored" in profiled.steps
    assert np.array_equal(profiled.pixels, EXPECTED)


REFUSED = {
    "a 1-bit image": raster(Image.fromarray(GREY).convert("1"), "PNG"),
    "a CMYK image": raster(Image.new("CMYK", (40, 40)), "JPEG"),
    "floating-point": raster(GREY.astype(np.float32), "TIFF"),
    "32-bit integer": raster(GREY.astype(np.int32), "TIFF"),
    "2 images in one file": raster(
        Image.fromarray(GREY), "TIFF", save_all=True, append_images=[Image.fromarray(255 - GREY)]
    ),
}


@pytest.mark.parametrize("says", REFUSED)
def test_refusals_name_their_reason(read, says):
    with pytest.raises(UnsupportedImageError, match=says):
        read(REFUSED[says])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(read, kind):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    with pytest.raises(UnsupportedImageError, match="2 images"):
        read(raster(frames[0], kind, save_all=True, append_images=frames[1:]))


NO_IMAGES = [
    (b"", "an empty file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer.*git lfs pull"),
    (b"<!DOCTYPE html><html></html>", "an HTML page"),
    (b"%PDF-1.7", "a PDF"),
    (b"GIF89a", "a GIF"),
    (b"hello, world\n", "a text file"),
    (bytes(range(256)) * 4, "no known image format"),
]


@pytest.mark.parametrize(("data", "says"), NO_IMAGES)
def test_what_is_no_image_is_described(read, data, says):
    with pytest.raises(NotAnImageError, match=says):
        read(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("allowed", [False, True])
def test_truncated_files_are_refused_whatever_pillow_is_set_to(read, kind, allowed, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", allowed)
    data = raster(phantom(200, 160, 8), kind)
    with pytest.raises(CorruptImageError):
        read(data[: len(data) * 2 // 3])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is allowed


def test_a_damaged_png_chunk_is_refused(read):
    data = bytearray(raster(GREY, "PNG"))
    data[data.index(b"IDAT") + 100] ^= 1
    with pytest.raises(CorruptImageError, match="checksum"):
        read(bytes(data))


def test_the_size_limit_holds_before_decoding_and_leaves_pillow_alone(read, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(raster(GREY, "PNG")).shape == GREY.shape
        with pytest.raises(ImageTooLargeError, match=r"50000 x 50000.*--max-pixels"):
            read(png_with_header(50_000, 50_000))
        with pytest.raises(ImageTooLargeError):
            read(raster(GREY, "PNG"), max_pixels=GREY.size - 1)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def sixteen_bit_rgb(values):
    """A PNG that Pillow does not write: 16 bits in each of three channels."""
    rows = np.repeat(values[..., None], 3, axis=2).astype(">u2")
    size = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    image = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", image) + chunk(b"IEND", b"")


def test_values_that_are_nearly_black_are_named(read):
    deep = GREY.astype(np.uint16) * 257
    dark = [
        read(raster(GREY // 16, "PNG")),
        read(raster((GREY > 128).astype(np.uint8), "PNG")),
        read(sixteen_bit_rgb(deep >> 4)),
    ]
    assert all(any("nearly black as read" in w for w in one.warnings) for one in dark)
    assert not any("nearly black" in w for w in read(sixteen_bit_rgb(deep)).warnings)


def tiff(values, **tags):
    """A TIFF of one strip, little endian, with tags that Pillow does not write."""
    rows, columns = values.shape
    known = {256: columns, 257: rows, 258: 8 * values.itemsize, 259: 1, 262: 1, 277: 1, 278: rows}
    known |= {279: values.nbytes, 273: 8} | {int(tag[1:]): value for tag, value in tags.items()}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(known.items())]
    start = 8 + values.nbytes
    ifd = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", start) + values.tobytes() + ifd


def test_the_depth_of_a_white_is_zero_tiff_is_told_before_it_is_inverted(read):
    low = (GREY.astype(np.uint16) * 257) >> 4
    shown = read(tiff(low, t262=0), "a.tif")
    assert any("looks like 12-bit data and is nearly white as read" in w for w in shown.warnings)
    assert not read(tiff(GREY.astype(np.uint16) * 257, t262=0), "b.tif").warnings


def test_signed_bytes_of_a_tiff_are_refused(read):
    assert np.array_equal(read(tiff(GREY), "a.tif").display, GREY)
    with pytest.raises(UnsupportedImageError, match="signed or 32-bit integer pixels"):
        read(tiff(GREY, t339=2), "b.tif")


def test_a_layout_that_pillow_does_not_know_is_no_damage(read):
    with pytest.raises(UnsupportedImageError, match="whose layout of pixels Pillow does not know"):
        read(tiff(GREY, t339=9), "a.tif")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x1f\x8b\x08" + bytes(20), "a gzip archive.*Unpack it"),
        (b"\0\0\0\x18ftypavif" + bytes(20), "an AVIF image.*grey PNG"),
        (bytes(344) + b"n+1\0" + bytes(20), "a NIfTI volume.*from_array"),
        (b"NDims = 2\nDimSize = 4 4\n", "a MetaImage header"),
    ],
)
def test_other_formats_are_told_with_the_way_out(read, data, says):
    with pytest.raises(NotAnImageError, match=says):
        read(data, "a.dcm")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_pixels_that_are_not_square_are_named(read, kind):
    says = "pixels are not square: the image is used as stored, not resampled"
    assert says in read(raster(GREY, kind, dpi=(100, 200))).warnings
    assert says not in read(raster(GREY, kind, dpi=(100, 100))).warnings
    assert says not in read(raster(GREY, kind)).warnings


@pytest.mark.parametrize("given", [None, 3, GREY, [b"a.png"]], ids=lambda given: type(given).__name__)
def test_what_is_no_path(given):
    with pytest.raises(OptionError, match=r"where a file is named.*from_array"):
        read_radiograph(given)


def test_a_path_of_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(raster(GREY, "PNG"))
    assert read_radiograph(bytes(tmp_path / "a.png")).id == "a"


def test_paths_that_are_no_file(tmp_path):
    for path, says in (
        (tmp_path / "none.png", "no such file"),
        (tmp_path, "a folder"),
        ("a\0b", "valid path"),
    ):
        with pytest.raises(RadiographError, match=says):
            read_radiograph(path)


def test_small_and_flat_images_are_named(read):
    flat = read(raster(np.full((20, 20), 7, np.uint8), "PNG"))
    assert len([w for w in flat.warnings if "too small" in w or "one value" in w]) == 2


@pytest.mark.parametrize("options", [{"frame": 1}, {"frame": -1}, {"frame": True}, {"max_pixels": 0}])
def test_options_outside_of_their_set(read, options):
    with pytest.raises(OptionError):
        read(raster(GREY, "PNG"), **options)


def test_the_id_is_safe_as_a_file_name(read):
    assert read(raster(GREY, "PNG"), "a b$c.png").id == "a_b_c"
    assert len(read(raster(GREY, "PNG"), "..png").id) == 12
