"""The limits of the readers: what is beyond is refused with the way out, what is within is read."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from bomb_parts import (
    DEFLATED,
    ENDLESS,
    EXPLICIT,
    IMPLICIT,
    MIB,
    NATIVE,
    OTHER_SYNTAXES,
    PREAMBLE,
    Form,
    chunk,
    deflated_zeros,
    dicom,
    encapsulated,
    meta,
    segment,
    tiff,
)
from bombs_of_dicom import cod, siz
from bombs_of_rasters import chain, ifd, jpeg, overlapping_tags, png, progressive
from PIL import Image
from pydicom import filereader, uid
from radiograph_files import dataset, encode, phantom, raster

from cxr_explain import Radiograph, read_radiograph
from cxr_explain.errors import (
    CorruptImageError,
    ImageTooLargeError,
    ReferenceLabelError,
    UnsupportedImageError,
)
from cxr_explain.loaders.codestream import parse_j2k
from cxr_explain.loaders.limits import Limits
from cxr_explain.loaders.rle import decode_rle
from cxr_explain.reference.chexlocalize import CHEXLOCALIZE_NAMES
from cxr_explain.reference.data_sets.dicom_folder import manifest_of_dicom
from cxr_explain.reference.masks import outline_kind

PIXELS = bytes(range(256)) * 2
WAY_OUT = r"Raise the limit with max_pixels= / --max-pixels"


def _outlined(polygons: object = (), *, counts: str = "") -> str:
    """A file of one radiograph, with polygons or with run lengths."""
    if not counts:
        return json.dumps({"patient1": {"img_size": [3000, 1000], "Edema": polygons}})
    return json.dumps(
        {"patient1": {name: {"size": [2, 2], "counts": counts} for name in CHEXLOCALIZE_NAMES.values()}}
    )


Read = Callable[..., Radiograph]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_bytes(data: bytes, **options: object) -> Radiograph:
        (tmp_path / "a").write_bytes(data)
        return read_radiograph(tmp_path / "a", **options)

    return read_bytes


FORMS_OF_META = {
    "as written": PREAMBLE + meta(DEFLATED),
    "long": PREAMBLE + meta(DEFLATED, 3000),
    "long without a preamble": meta(DEFLATED, 3000),
    "without a length": PREAMBLE + meta(DEFLATED, length=0),
    "implicit": PREAMBLE + meta(DEFLATED, form=IMPLICIT),
    "padded": PREAMBLE + meta(DEFLATED + bytes(4)),
    "twice": PREAMBLE + meta(b"1.2.840.10008.1.2.1", more=EXPLICIT.element(0x00020010, b"UI", DEFLATED)),
}


@pytest.mark.parametrize("head", FORMS_OF_META.values(), ids=FORMS_OF_META)
def test_a_deflated_file_is_inflated_to_the_limit_wherever_its_syntax_stands(read, head):
    plain = EXPLICIT.header() + EXPLICIT.element(0x7FE00010, b"OW", PIXELS)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    good = head + packer.compress(plain) + packer.flush()
    same = read(dicom(NATIVE["explicit"][1], plain))
    assert np.array_equal(read(good, max_pixels=256).pixels, same.pixels)
    assert np.array_equal(read(good + bytes(100)).pixels, same.pixels)
    with pytest.raises(ImageTooLargeError, match=f"a deflated data set of more than 64 MiB.*{WAY_OUT}"):
        read(head + deflated_zeros(65 * MIB, EXPLICIT.header()), max_pixels=256)


def test_more_pixels_allow_a_larger_data_set(read):
    """One override for all limits: four bytes for each pixel."""
    private = EXPLICIT.element(0x00091001, b"OB", b"", 65 * MIB)
    image = EXPLICIT.header() + EXPLICIT.element(0x7FE00010, b"OW", PIXELS)
    data = PREAMBLE + meta(DEFLATED) + deflated_zeros(65 * MIB, private, image)
    with pytest.raises(ImageTooLargeError, match="more than 64 MiB"):
        read(data, max_pixels=10_000_000)
    assert read(data, max_pixels=18_000_000).shape == (16, 16)


def nearly_spent(form: Form, parts: int) -> bytes:
    """A text that counts as that many parts, and takes no time."""
    return form.element(0x00180015, b"UT", b"CHEST" + b" " * (32 * parts))


@pytest.mark.parametrize(("name", "endless"), [("explicit", False), ("implicit", True), ("big endian", True)])
def test_items_are_counted_where_they_are_read(read, name: str, endless: bool):
    form, syntax = NATIVE[name]

    def file(*more: bytes) -> bytes:
        end = struct.pack(f"{form.order}HHL", 0xFFFE, 0xE0DD, 0) if endless else b""
        items = form.element(0x00283010, b"SQ", form.item() * 1_500 + end, ENDLESS if endless else None)
        return dicom(syntax, form.header(), *more, items, form.element(0x7FE00010, b"OW", PIXELS))

    assert read(file()).shape == (16, 16)
    with pytest.raises(ImageTooLargeError, match=f"more than 200,000 elements, items and values.*{WAY_OUT}"):
        read(file(nearly_spent(form, 199_000)))


def test_a_long_header_is_read_where_more_pixels_are_allowed(read):
    elements = b"".join(EXPLICIT.element(0x00090000 + n, b"LO", b"a ") for n in range(1_500))
    image = EXPLICIT.header() + nearly_spent(EXPLICIT, 199_000)
    data = dicom(NATIVE["explicit"][1], elements, image, EXPLICIT.element(0x7FE00010, b"OW", PIXELS))
    with pytest.raises(ImageTooLargeError, match="more than 200,000 elements"):
        read(data)
    assert read(data, max_pixels=100_000_000).shape == (16, 16)


def test_values_are_counted_before_they_are_taken_apart(read):
    form, syntax = NATIVE["implicit"]
    windows = form.element(0x00281050, b"", b"1\\" * 300_000)
    with pytest.raises(ImageTooLargeError, match="more than 200,000 elements, items and values"):
        read(dicom(syntax, form.header(), windows, form.element(0x7FE00010, b"", PIXELS)))


def test_pydicom_is_as_it_was_when_the_file_is_read(read):
    before = (
        filereader.zlib,
        filereader.DicomBytesIO,
        pydicom.values.BytesIO,
        pydicom.hooks.hooks.raw_element_value,
    )
    read(encode(dataset(phantom()), uid.DeflatedExplicitVRLittleEndian))
    after = (
        filereader.zlib,
        filereader.DicomBytesIO,
        pydicom.values.BytesIO,
        pydicom.hooks.hooks.raw_element_value,
    )
    assert after == before
    assert filereader.zlib is zlib


def test_windows_beyond_a_hundred_are_left_out_by_name(read):
    form, syntax = NATIVE["implicit"]
    many = [
        form.element(tag, b"", b"\\".join([value] * 20_001))
        for tag, value in ((0x00281050, b"9e6"), (0x00281051, b"2 "))
    ]
    found = read(dicom(syntax, form.header(), *many, form.element(0x7FE00010, b"", PIXELS)))
    assert any("more than 100 LUTs and windows in the header" in warning for warning in found.warnings)


@pytest.mark.parametrize("bits", [8, 16])
def test_rle_is_what_pydicom_makes_of_it(bits):
    rng = np.random.default_rng(bits)
    for rows, columns in ((1, 1), (3, 5), (40, 31)):
        pixels = rng.integers(0, rng.choice([2, 2**bits]), (rows, columns), f"u{bits // 8}")
        ds = dataset(pixels, bits)
        ds.compress(uid.RLELossless, encoding_plugin="pydicom")
        frame = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
        assert np.array_equal(decode_rle(frame, rows, columns, bits // 8), pixels)


def test_rle_ends_at_the_pixels_of_the_header(read):
    runs = b"\x81\x07" * MIB
    header = struct.pack("<16L", 2, 64, 64 + MIB, *[0] * 13)
    found = read(dicom(OTHER_SYNTAXES["RLE"], EXPLICIT.header(), encapsulated(header + runs)))
    assert found.shape == (16, 16)
    with pytest.raises(CorruptImageError, match="a compressed frame of 8,388,672 bytes for 16 x 16 pixels"):
        read(dicom(OTHER_SYNTAXES["RLE"], EXPLICIT.header(), encapsulated(header + runs + bytes(6 * MIB))))


def test_a_jpeg_has_a_limit_of_segments_and_of_scans(read):
    with pytest.raises(ImageTooLargeError, match="more than 200,000 segments and other bytes"):
        read(jpeg(10, 10, before=segment(0xFE, b"") * 200_001))
    with pytest.raises(ImageTooLargeError, match="100 scans of 7071 x 7071 pixels; expected at most 40"):
        read(progressive(7071, 99))
    picture = raster(phantom(bits=8), "JPEG", progressive=True)
    preview = segment(0xE1, b"Exif\x00\x00" + picture * 2)
    assert read(picture[:2] + preview + picture[2:] + picture).shape == (48, 40)


@pytest.mark.parametrize(
    ("about", "head"),
    [
        ("parts of 23,409 tiles", siz(7000, 7000, 46) + cod()),
        ("code-blocks", siz(7000, 7000) + cod(block=0)),
        ("precincts", siz(7000, 7000) + cod(precincts=b"\x00" * 6)),
        ("packets", siz(7000, 7000) + cod(layers=65535, precincts=b"\x88" * 6)),
    ],
)
def test_jpeg_2000_has_a_limit_of_what_takes_memory(about, head):
    with pytest.raises(ImageTooLargeError, match=f"more than 200,000 {about}"):
        parse_j2k(head + b"\xff\xd9", Limits())


def test_tags_are_counted_before_they_are_read(read):
    tags = overlapping_tags(MIB, 1000)
    picture = raster(phantom(bits=8), "JPEG")
    for data in (
        tags,
        png(10, 10, chunk(b"eXIf", tags)),
        picture[:2] + segment(0xE1, b"Exif\x00\x00" + overlapping_tags(40_000, 1000)) + picture[2:],
    ):
        with pytest.raises(ImageTooLargeError, match=f"more than 200,000 tags and values.*{WAY_OUT}"):
            read(data)


def test_a_tiff_has_a_limit_of_images_and_of_a_tile(read):
    with pytest.raises(UnsupportedImageError, match="more than 1,000 images"):
        read(chain(2000))
    pages = raster(
        phantom(bits=8), "TIFF", save_all=True, append_images=[Image.fromarray(phantom(bits=8))] * 19
    )
    with pytest.raises(UnsupportedImageError, match="20 images"):
        read(pages)
    with pytest.raises(ImageTooLargeError, match="60000 x 60000"):
        read(tiff([*ifd(100)[:5], (322, 4, 1, 60_000), (323, 4, 1, 60_000)], bytes(99)))


def test_a_png_has_a_limit_of_chunks(read):
    with pytest.raises(ImageTooLargeError, match="more than 200,000 chunks"):
        read(png(10, 10, chunk(b"tEXt", b"a\x00") * 200_001))


@pytest.mark.parametrize(
    ("document", "about"),
    [
        ('{"a": [' + "1," * 5_000_001 + "1]}", "5,000,012 values"),
        ("{" + "".join(f'"{n}":1,' for n in range(100_000)) + '"x":1,"x":1}', "'x' twice"),
        (_outlined(counts="0" * 4_000_001), "run lengths of 4,000,001 characters"),
        (
            _outlined([[[n % 1000, n % 2 * 3000] for n in range(4000)]]),
            "polygons whose edges cross 12,000,000 rows",
        ),
    ],
    ids=["values", "names", "run lengths", "corners"],
)
def test_outlines_have_a_limit_of_what_is_taken_apart_and_drawn(tmp_path, document: str, about: str):
    (tmp_path / "outlines.json").write_text(document)
    with pytest.raises(ReferenceLabelError, match=about):
        outline_kind(tmp_path / "outlines.json")


def test_a_folder_has_a_row_for_a_file_that_is_too_much(tmp_path):
    image = EXPLICIT.header() + EXPLICIT.element(0x7FE00010, b"OW", PIXELS)
    private = EXPLICIT.element(0x00091001, b"OB", b"", 3 * 1024 * MIB)
    with (tmp_path / "huge.dcm").open("wb") as file:
        file.write(dicom(NATIVE["explicit"][1], private))
        file.truncate(4 * 1024 * MIB)
    (tmp_path / "plain.dcm").write_bytes(dicom(NATIVE["explicit"][1], image))
    manifest = manifest_of_dicom(tmp_path)
    assert list(manifest.paths) == ["huge.dcm", "plain.dcm"]
