"""Bits above Bits Stored, and the sign, in every transfer syntax that can be written here.

The truth is the uncompressed twin, read by pydicom's own pipeline, which drops the bits above.
"""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import get_frame
from radiograph_files import NATIVE, dataset, encapsulated, encode, phantom
from test_htj2k import CODESTREAM, stored_pixels

from cxr_explain.errors import CorruptImageError
from cxr_explain.loaders import read_radiograph

COMPRESSED = (
    uid.RLELossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLossless,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
)
WRITTEN_AS = {uid.JPEGLSNearLossless: uid.JPEGLSLossless, uid.JPEG2000: uid.JPEG2000Lossless}
"""A stream without loss is a stream of the other syntax, too."""


def file_of(words, syntax, bits, signed, **attributes):
    """Words encoded with all of their bits, under a header that says what of them is the sample."""
    ds = pydicom.dcmread(
        io.BytesIO(encode(dataset(words, 8 * words.itemsize), WRITTEN_AS.get(syntax, syntax)))
    )
    ds.file_meta.TransferSyntaxUID = syntax
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, int(signed)
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def words_of(samples, bits, above, container):
    """Samples as words, with rubbish above."""
    words = samples.astype(f"u{container // 8}") & (2**bits - 1)
    return (words | (above << bits)).astype(f"u{container // 8}")


def rubbish(kind, shape, bits, container):
    """What is in the bits above: nothing, an overlay's letter in the lowest of them, or anything."""
    above = np.zeros(shape, np.int64)
    if kind == "overlay":
        above[5:12, 8:20] = 1
    elif kind == "noise":
        above = np.random.default_rng(bits).integers(0, 2 ** (container - bits), shape)
    elif kind == "everywhere":
        above[:] = 2 ** (container - bits) - 1
    return above


def twin(words, bits, signed):
    """The samples of the uncompressed file, as pydicom's own pipeline reads them."""
    plain = file_of(words, uid.ExplicitVRLittleEndian, bits, signed)
    return pydicom.dcmread(io.BytesIO(plain)).pixel_array


def scaled(samples, bits, signed):
    """What `voi="none"` makes of samples: their declared range over [-1024, 1024]."""
    low = -(2 ** (bits - 1)) if signed else 0
    return (-1024 + 2048 * ((samples.astype(np.float64) - low) / (2**bits - 1))).astype(np.float32)


def every_fourth() -> list:
    """Syntaxes, bits and signs; by default a fourth: each syntax and each number of bits with both signs."""
    choices = itertools.product(
        enumerate([*NATIVE, *COMPRESSED]), enumerate(range(8, 17)), enumerate((False, True))
    )
    return [
        pytest.param(
            syntax,
            bits,
            signed,
            marks=() if (i + j + k) % 4 == 0 else pytest.mark.slow,
            id=f"{syntax.name}-{bits}-{'signed' if signed else 'unsigned'}",
        )
        for (i, syntax), (j, bits), (k, signed) in choices
    ]


@pytest.mark.parametrize(("syntax", "bits", "signed"), every_fourth())
def test_every_syntax_equals_its_uncompressed_twin(tmp_path, syntax, bits, signed):
    samples = phantom(36, 40, bits=bits).astype(np.int64) - (2 ** (bits - 1) if signed else 0)
    for kind in ("nothing", "overlay", "noise") if bits < 16 else ("nothing",):
        words = words_of(samples, bits, rubbish(kind, samples.shape, bits, 16), 16)
        (tmp_path / "a.dcm").write_bytes(file_of(words, syntax, bits, signed))
        shown = read_radiograph(tmp_path / "a.dcm", voi="none")
        assert np.array_equal(twin(words, bits, signed), samples)
        assert np.array_equal(shown.pixels, scaled(samples, bits, signed))
        named = any("are dropped" in warning for warning in shown.warnings)
        assert named == (kind != "nothing")


@pytest.mark.parametrize("kind", ["noise", "everywhere"])
@pytest.mark.parametrize("bits", [5, 6, 7])
@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless])
def test_eight_bits_allocated(tmp_path, syntax, bits, kind):
    samples = phantom(36, 40, bits=bits).astype(np.int64)
    words = words_of(samples, bits, rubbish(kind, samples.shape, bits, 8), 8)
    (tmp_path / "a.dcm").write_bytes(file_of(words, syntax, bits, signed=False))
    assert np.array_equal(twin(words, bits, signed=False), samples)
    shown = read_radiograph(tmp_path / "a.dcm", voi="none")
    assert np.array_equal(shown.pixels, scaled(samples, bits, signed=False))


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_signed_jpeg_2000_stream_keeps_its_sign(tmp_path, bits):
    """JPEG 2000 alone can say that its samples are signed."""
    import openjpeg.utils

    samples = (phantom(36, 40, bits=bits).astype(np.int64) - 2 ** (bits - 1)).astype(np.int16)
    frame = openjpeg.utils.encode_array(samples, bits_stored=bits)
    path = tmp_path / "a.dcm"
    path.write_bytes(encapsulated(dataset(samples, bits), uid.JPEG2000Lossless, frame))
    assert np.array_equal(read_radiograph(path, voi="none").pixels, scaled(samples, bits, signed=True))
    path.write_bytes(encapsulated(dataset(samples.view(np.uint16), bits), uid.JPEG2000Lossless, frame))
    with pytest.raises(CorruptImageError, match="negative samples under a header that says unsigned"):
        read_radiograph(path)


@pytest.mark.parametrize("precision", [8, 12])
def test_a_signed_stream_keeps_its_sign_in_a_deeper_header(tmp_path, precision):
    import openjpeg.utils

    samples = phantom(36, 40, bits=precision).astype(np.int16) - 2 ** (precision - 1)
    frame = openjpeg.utils.encode_array(
        samples.astype(np.int8 if precision == 8 else np.int16), bits_stored=precision
    )
    path = tmp_path / "a.dcm"
    path.write_bytes(encapsulated(dataset(samples, 14), uid.JPEG2000Lossless, frame))
    assert np.array_equal(read_radiograph(path, voi="none").pixels, scaled(samples, 14, signed=True))


def test_a_signed_stream_without_negative_samples_contradicts_nothing(tmp_path):
    import openjpeg.utils

    samples = phantom(bits=12)
    frame = openjpeg.utils.encode_array(samples.astype(np.int16), bits_stored=13)
    path = tmp_path / "a.dcm"
    path.write_bytes(encapsulated(dataset(samples, 12), uid.JPEG2000Lossless, frame))
    assert np.array_equal(read_radiograph(path, voi="none").pixels, scaled(samples, 12, signed=False))


def test_the_sign_of_htj2k_is_the_headers(tmp_path):
    """A stream of 16 bits: the twelfth is the sign where the header says so."""
    samples = stored_pixels()
    ds = dataset(samples, 12, PixelRepresentation=1)
    (tmp_path / "a.dcm").write_bytes(encapsulated(ds, uid.HTJ2KLossless, CODESTREAM))
    wrapped = np.where(samples < 2048, samples, samples.astype(int) - 4096)
    shown = read_radiograph(tmp_path / "a.dcm", voi="none")
    assert np.array_equal(shown.pixels, scaled(wrapped, 12, signed=True))


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, *COMPRESSED], ids=lambda s: s.name)
def test_a_picture_with_more_bits_than_the_header_says_is_kept_whole(tmp_path, syntax, signed):
    samples = phantom(36, 40, bits=13).astype(np.int64) - (4096 if signed else 0)
    path = tmp_path / "a.dcm"
    window = {"WindowCenter": 0 if signed else 4096, "WindowWidth": 8192}
    path.write_bytes(file_of(samples.astype(np.uint16), syntax, 10, signed, **window))
    shown = read_radiograph(path)
    path.write_bytes(encode(dataset(samples.astype("i2" if signed else "u2"), 13, **window)))
    assert np.array_equal(shown.pixels, read_radiograph(path).pixels)
    assert "the header says 10 bits stored, the picture has 13: all are read" in shown.warnings


def test_negative_samples_of_a_stream_with_fewer_bits_than_the_header_says(tmp_path):
    """pydicom#1149, and its contrary: positive samples that fill the stream's bits."""
    import jpeg_ls

    picture = phantom(36, 40, bits=12).astype(np.int64)
    for samples, named in ((picture - 2048, True), (picture, False)):
        words = (samples & 0xFFF).astype(np.uint16)
        frame = bytes(jpeg_ls.encode_array(words))
        ds = dataset(words, 16, PixelRepresentation=1, WindowCenter=0, WindowWidth=8192)
        (tmp_path / "a.dcm").write_bytes(encapsulated(ds, uid.JPEGLSLossless, frame))
        shown = read_radiograph(tmp_path / "a.dcm")
        (tmp_path / "a.dcm").write_bytes(
            encode(dataset(samples.astype(np.int16), 16, WindowCenter=0, WindowWidth=8192))
        )
        assert np.array_equal(shown.pixels, read_radiograph(tmp_path / "a.dcm").pixels)
        assert any("its sign bit is taken" in warning for warning in shown.warnings) == named


@pytest.mark.dcmtk
@pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="Debian's dcmtk is not installed")
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize(
    ("bits", "encoder", "decoder", "off_by"),
    [
        (8, ["dcmcjpeg", "+eb"], "dcmdjpeg", 1),
        (12, ["dcmcjpeg", "+ee"], "dcmdjpeg", 0),
        (12, ["dcmcjpeg", "+e1"], "dcmdjpeg", 0),
        (16, ["dcmcjpeg", "+e1"], "dcmdjpeg", 0),
        (12, ["dcmcjpls", "+en", "+md", "3"], "dcmdjpls", 0),
        (12, ["dcmcrle"], "dcmdrle", 0),
    ],
)
def test_what_dcmtk_writes_is_what_dcmtk_reads(tmp_path, bits, encoder, decoder, off_by, signed):
    """The compressed file against the same file decompressed by DCMTK, in stored levels; lossy ones too."""
    samples = phantom(36, 40, bits=bits).astype(np.int64) - (2 ** (bits - 1) if signed else 0)
    kind = f"{'i' if signed else 'u'}{1 if bits == 8 else 2}"
    plain, packed, unpacked = (tmp_path / f"{name}.dcm" for name in ("plain", "packed", "unpacked"))
    plain.write_bytes(encode(dataset(samples.astype(kind), bits)))
    made = subprocess.run([*encoder, str(plain), str(packed)], capture_output=True)
    if made.returncode:
        pytest.skip("DCMTK does not write this")
    subprocess.run([decoder, str(packed), str(unpacked)], check=True, capture_output=True)
    ours, theirs = (read_radiograph(path, voi="none").pixels for path in (packed, unpacked))
    assert np.abs(ours - theirs).max() <= off_by * 2048 / (2**bits - 1) + 1e-3


@pytest.mark.parametrize("precision", range(2, 17))
def test_lossless_jpeg_of_every_precision(tmp_path, precision):
    """GDCM ended the process on fewer than 8 bits.

    Nothing here writes such streams. But lossless JPEG predicts the first sample as half of its range, and
    keeps differences (ISO 10918-1 H.1.2.1): under another precision, a stream is shifted by a constant.
    """
    samples = phantom(36, 40, bits=precision).astype(np.int64)
    container = 8 if precision <= 8 else 16
    shift = 2 ** (container - 1) - 2 ** (precision - 1)
    words = (samples + shift).astype(f"u{container // 8}")
    ds = pydicom.dcmread(io.BytesIO(encode(dataset(words, container), uid.JPEGLosslessSV1)))
    frame = bytearray(get_frame(ds.PixelData, 0, number_of_frames=1))
    frame[frame.index(b"\xff\xc3") + 4] = precision
    path = tmp_path / "a.dcm"
    path.write_bytes(encapsulated(dataset(words, precision), uid.JPEGLosslessSV1, bytes(frame)))
    assert np.array_equal(read_radiograph(path, voi="none").pixels, scaled(samples, precision, signed=False))


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("said", [False, True], ids=["unsigned", "signed"])
def test_a_wrong_sign_is_followed_and_named(tmp_path, said, bits):
    """A smooth picture on both sides of the middle, whose header says the other kind of numbers."""
    y, x = np.mgrid[0:60, 0:50]
    wave = np.sin(x / 9) + np.cos(y / 12)
    samples = np.rint(wave * 2 ** (bits - 3) + (2 ** (bits - 1) if said else 0)).astype(np.int64)
    words = words_of(samples, bits, np.zeros_like(samples), 16)
    for signed in (said, not said):
        path = tmp_path / f"{signed}.dcm"
        path.write_bytes(file_of(words, uid.ExplicitVRLittleEndian, bits, signed))
        shown = read_radiograph(path, voi="none")
        named = [warning for warning in shown.warnings if "is it torn?" in warning]
        assert len(named) == (signed == said)
        assert np.array_equal(shown.pixels, scaled(twin(words, bits, signed), bits, signed))
