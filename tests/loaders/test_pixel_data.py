"""Fragments, offset tables, trailing bytes, files that are cut off, and headers that contradict all that."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import get_frame
from radiograph_files import LOSSLESS, LOSSY, dataset, encode, in_fragments, phantom, raster

from cxr_explain.errors import CorruptImageError, NotAnImageError
from cxr_explain.loaders import read_radiograph

SYNTAXES = [*LOSSLESS, *LOSSY]
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


@pytest.fixture
def read(tmp_path):
    def read_bytes(data, **options):
        (tmp_path / "a.dcm").write_bytes(data)
        return read_radiograph(tmp_path / "a.dcm", **options)

    return read_bytes


def image(bits, **attributes):
    window = {} if bits == 8 else WINDOW
    return dataset(phantom(bits=bits), bits, **(window | attributes))


def frame_in(syntax):
    """One frame in a transfer syntax, as encoded, and the file it is from."""
    data = encode(image(8 if syntax == uid.JPEGBaseline8Bit else 12), syntax)
    return get_frame(pydicom.dcmread(io.BytesIO(data)).PixelData, 0, number_of_frames=1), data


def with_pixel_data(data, value, syntax=None):
    ds = pydicom.dcmread(io.BytesIO(data))
    ds.PixelData = value
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    if syntax is not None:
        ds.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.name)
def test_all_fragments_are_the_one_frame_whatever_the_offset_table_says(read, syntax):
    frame, data = frame_in(syntax)
    expected = read(data).pixels
    size = 2 * (len(frame) // 7)
    each = tuple(range(0, len(frame), size + 8))
    for offsets in ((), (0,), (4,), (99999,), each, (0, 0), (2**32 - 1,)):
        shown = read(with_pixel_data(data, in_fragments(frame, size, offsets)))
        assert np.array_equal(shown.pixels, expected)
        assert not any("left out" in warning for warning in shown.warnings)
    assert np.array_equal(read(with_pixel_data(data, in_fragments(frame, 2**20, (99999,)))).pixels, expected)


@pytest.mark.parametrize("syntax", SYNTAXES[1:], ids=lambda s: s.name)
def test_bytes_after_the_end_marker_are_left_out_and_named(read, syntax):
    """Not of RLE, which has no end marker: what follows is ignored by its decoder."""
    frame, data = frame_in(syntax)
    expected = read(data)
    stream = frame.rstrip(b"\0")
    for rest, named in (
        (b"", 0),
        (bytes(99), 0),
        (b"\xff\xff", 0),
        (b"rubbish12345", 12),
        (stream, len(stream)),
    ):
        shown = read(with_pixel_data(data, in_fragments(stream + rest, 2**20)))
        assert np.array_equal(shown.pixels, expected.pixels)
        found = [w for w in shown.warnings if "after the end of the compressed frame" in w]
        assert bool(found) == bool(named)
        if named:
            counted = named + (len(stream) + named) % 2  # the padding of the item
            assert found == [f"{counted:,} bytes after the end of the compressed frame are left out"]


def test_bytes_after_rle_are_ignored(read):
    frame, data = frame_in(uid.RLELossless)
    shown = read(with_pixel_data(data, in_fragments(frame + bytes(6), 2**20)))
    assert np.array_equal(shown.pixels, read(data).pixels)


def test_several_scans_and_restart_markers_are_walked_through(read):
    picture = phantom(bits=8)
    for options in ({"progressive": True}, {"restart_marker_blocks": 2}, {"optimize": True}):
        stream = raster(picture, "JPEG", quality=95, **options)
        data = with_pixel_data(
            encode(image(8)), in_fragments(stream + b"12345678", 2**20), uid.JPEGBaseline8Bit
        )
        shown = read(data)
        assert np.abs(shown.display.astype(int) - picture).max() < 20
        assert any("bytes after the end of the compressed frame" in w for w in shown.warnings)


def test_frames_with_one_fragment_each_need_no_offset_table(read):
    parts = [raster(phantom(bits=8, seed=seed), "JPEG", quality=95) for seed in range(3)]
    parts = [part + bytes(len(part) % 2) for part in parts]
    value = in_fragments(b"", 1, (4, 5)) + b"".join(in_fragments(part, 2**20)[8:] for part in parts)
    data = with_pixel_data(encode(image(8, NumberOfFrames=3)), value, uid.JPEGBaseline8Bit)
    for index in range(3):
        shown = read(data, frame=index)
        assert np.abs(shown.display.astype(int) - phantom(bits=8, seed=index)).max() < 20


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.name)
def test_a_file_cut_within_its_compressed_pixel_data_says_so(read, syntax):
    frame, data = frame_in(syntax)
    start = data.index(b"\xe0\x7f\x10\x00OB\0\0") + 12
    for end in (start + 8, start + 20, start + len(frame) // 2, len(data) - 9, len(data) - 8):
        with pytest.raises(CorruptImageError, match="cut off after") as caught:
            read(data[:end])
        found = int(str(caught.value).split("cut off after ")[1].split(" bytes")[0].replace(",", ""))
        assert found == end - start
        if end > start + 16:  # the header of the frame's item is there
            whole = len(data) - start - 8  # without the delimiter
            assert f"at least {max(whole, 0):,} and the end marker" in str(caught.value)


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
)
def test_a_file_cut_within_its_native_pixel_data_says_so(read, syntax):
    data = encode(image(12), syntax)
    for left in (3839, 2000, 1):
        says = f"found {left:,} bytes of pixel data, cut off at the end of the file; expected 3,840"
        with pytest.raises(CorruptImageError, match=says):
            read(data[: len(data) - 3840 + left])


def test_a_deflated_file_that_is_cut_says_so(read):
    data = encode(image(12), uid.DeflatedExplicitVRLittleEndian)
    with pytest.raises(CorruptImageError, match="a deflated data set that is cut off after"):
        read(data[: len(data) - 500])


def test_a_file_cut_before_its_pixel_data_says_what_it_may_be(read):
    data = encode(image(12))
    with pytest.raises(NotAnImageError, match="cut off before its pixel data, or they were removed"):
        read(data[: data.index(b"\xe0\x7f\x10\x00")])


def test_a_file_cut_within_a_sequence_of_its_header_says_so(read):
    code = pydicom.Dataset()
    code.CodeValue = "R-10206"
    ds = image(12, ViewCodeSequence=[code])
    ds["ViewCodeSequence"].is_undefined_length = True
    data = encode(ds)
    with pytest.raises(CorruptImageError, match="damaged or truncated"):
        read(data[: data.index(b"R-10206") + 4])


def test_too_few_bytes_in_a_whole_file_are_a_contradiction(read):
    with pytest.raises(CorruptImageError, match=r"found 3,840 bytes.*expected 3,920 for 49 x 40.*contradict"):
        read(encode(image(12, Rows=49)))


def test_more_bytes_than_the_header_needs_are_named(read):
    shown = read(encode(image(12, Rows=46)))
    assert np.array_equal(shown.pixels, read(encode(image(12))).pixels[:46])
    assert "160 bytes after the pixels of the header are left out" in shown.warnings


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEG2000Lossless, uid.RLELossless])
def test_native_pixels_under_a_compressed_transfer_syntax(read, syntax):
    ds = image(8)
    data = encode(ds).replace(b"1.2.840.10008.1.2.1\0", str(syntax).encode().ljust(22, b"\0"))
    # The length of the UID, and of the group.
    at = data.index(b"\x02\x00\x10\x00UI") + 6
    data = data[:at] + (22).to_bytes(2, "little") + data[at + 2 :]
    group = int.from_bytes(data[140:144], "little") + 2
    data = data[:140] + group.to_bytes(4, "little") + data[144:]
    with pytest.raises(CorruptImageError, match=r"uncompressed pixel data \(1,920 bytes, exactly") as caught:
        read(data)
    assert f"under the transfer syntax {syntax.name}" in str(caught.value)


@pytest.mark.parametrize(
    ("syntax", "kind"),
    [(uid.JPEGLosslessSV1, "JPEG"), (uid.JPEGLSLossless, "JPEG-LS"), (uid.JPEG2000Lossless, "JPEG 2000")],
)
def test_compressed_pixels_under_a_native_transfer_syntax(read, syntax, kind):
    """Of undefined length as it should be, or of a defined one, which contradicts the header as well."""
    frame, data = frame_in(syntax)
    for undefined in (True, False):
        ds = pydicom.dcmread(io.BytesIO(data))
        ds.PixelData = in_fragments(frame, 2**20)
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", undefined
        ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        out = io.BytesIO()
        pydicom.dcmwrite(out, ds, enforce_file_format=False)
        with pytest.raises(CorruptImageError, match=rf"compressed pixel data \({kind}\) under the transfer"):
            read(out.getvalue())


@pytest.mark.parametrize(
    ("says", "of", "under"),
    [
        ("JPEG 2000; expected JPEG, as", uid.JPEG2000Lossless, uid.JPEGBaseline8Bit),
        ("JPEG; expected JPEG 2000, as", uid.JPEGLosslessSV1, uid.JPEG2000Lossless),
        ("JPEG-LS; expected JPEG 2000, as", uid.JPEGLSLossless, uid.JPEG2000),
        ("JPEG-LS; expected JPEG, as", uid.JPEGLSLossless, uid.JPEGLosslessSV1),
        ("JPEG; expected JPEG-LS, as", uid.JPEGLosslessSV1, uid.JPEGLSLossless),
    ],
)
def test_a_frame_of_another_codec_than_the_transfer_syntax_says(read, says, of, under):
    frame, data = frame_in(of)
    with pytest.raises(CorruptImageError, match=f"compressed frame that is {says} the transfer syntax says"):
        read(with_pixel_data(data, in_fragments(frame, 2**20), under))
