"""The greyscale chain on synthetic files, against literal formulae and pydicom."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from radiograph_files import LOSSLESS, LOSSY, NATIVE, dataset, encode, lut_item, phantom

from cxr_explain.errors import CorruptImageError, ImageTooLargeError, OptionError, UnsupportedImageError
from cxr_explain.loaders import read_radiograph

FULL_12 = {"WindowCenter": 2048, "WindowWidth": 4096}


@pytest.fixture
def read(tmp_path):
    def read_dataset(ds, syntax=uid.ExplicitVRLittleEndian, change=None, **options):
        data = encode(ds, syntax)
        path = tmp_path / "image.dcm"
        path.write_bytes(change(data) if change else data)
        return read_radiograph(path, **options)

    return read_dataset


def to_range(unit):
    return (-1024 + 2048 * np.asarray(unit, np.float64)).astype(np.float32)


def literal_window(x, center, width, function):
    """PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and .2, one pixel at a time, for an output of 0 to 1."""
    out = np.empty(x.shape)
    for i, v in np.ndenumerate(x.astype(np.float64)):
        if function == "SIGMOID":
            out[i] = 1 / (1 + np.exp(-4 * (v - center) / width))
        elif function == "LINEAR_EXACT":
            if v <= center - width / 2:
                out[i] = 0
            elif v > center + width / 2:
                out[i] = 1
            else:
                out[i] = (v - center) / width + 0.5
        elif v <= center - 0.5 - (width - 1) / 2:
            out[i] = 0
        elif v > center - 0.5 + (width - 1) / 2:
            out[i] = 1
        else:
            out[i] = (v - (center - 0.5)) / (width - 1) + 0.5
    return out


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (1500.5, 801), (2000, 1000)])
def test_windows_follow_the_literal_formulae(read, function, center, width):
    pixels = phantom()
    ds = dataset(pixels, WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    radiograph = read(ds, voi=0)
    assert np.array_equal(radiograph.pixels, to_range(literal_window(pixels, center, width, function)))
    peer = apply_voi_lut(pixels, ds) / 4095.0
    assert np.allclose(radiograph.pixels, to_range(peer), atol=1e-3)


def test_a_window_of_width_one_is_a_step(read):
    pixels = phantom()
    radiograph = read(dataset(pixels, WindowCenter=2000, WindowWidth=1), voi=0)
    assert np.array_equal(radiograph.pixels, np.where(pixels <= 1999.5, -1024, 1024))


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS], ids=lambda s: s.name)
def test_lossless_transfer_syntaxes_give_the_same_pixels(read, syntax):
    pixels = phantom()
    expected = to_range(literal_window(pixels, 2048, 4096, "LINEAR"))
    assert np.array_equal(read(dataset(pixels, **FULL_12), syntax).pixels, expected)


# No encoder here writes a valid 12-bit JPEG extended frame; a real one is read in test_real_files.
@pytest.mark.parametrize("syntax", [s for s in LOSSY if s != uid.JPEGExtended12Bit], ids=lambda s: s.name)
def test_lossy_transfer_syntaxes_come_close(read, syntax):
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    pixels = phantom(bits=bits)
    plain = read(dataset(pixels, bits), voi="none").pixels
    assert np.abs(read(dataset(pixels, bits), syntax, voi="none").pixels - plain).max() < 200
    assert np.abs(read(dataset(pixels, bits), syntax, voi="none").pixels - plain).mean() < 30


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_a_file_without_preamble_and_meta_group_is_read(read, syntax):
    pixels = phantom()

    def strip(data):
        position = 132 + 12 + int.from_bytes(data[140:144], "little")
        return data[position:]

    radiograph = read(dataset(pixels, **FULL_12), syntax, change=strip)
    assert np.array_equal(radiograph.pixels, read(dataset(pixels, **FULL_12)).pixels)
    assert any("no transfer syntax" in w for w in radiograph.warnings)


@pytest.mark.parametrize("window", [{}, FULL_12])
def test_monochrome_1_and_2_of_one_image_agree(read, window):
    pixels = phantom()
    two = read(dataset(pixels, **window))
    one = read(dataset(4095 - pixels, photometric="MONOCHROME1", PresentationLUTShape="INVERSE", **window))
    # LINEAR has its centre at c - 0.5 and its quantiles a step apart: one grey level of 4096.
    assert np.abs(one.pixels - two.pixels).max() <= 2048 / 4095 * 3
    assert one.steps.count("inverted once (MONOCHROME1)") == 1
    assert not one.warnings or window == {}


def test_a_contradicting_presentation_lut_shape_is_named_and_not_followed(read):
    pixels = phantom()
    radiograph = read(dataset(pixels, PresentationLUTShape="INVERSE", **FULL_12))
    assert np.array_equal(radiograph.pixels, read(dataset(pixels, **FULL_12)).pixels)
    assert any("contradicts MONOCHROME2" in w for w in radiograph.warnings)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("value", "limit"), [(0, None), (4095, None), (0, 15)])
def test_padding_is_black_and_outside_of_the_statistics(read, photometric, value, limit):
    pixels = np.clip(phantom(), 1000, 3000)
    padded = pixels.copy()
    padded[:, :10] = value
    extra = {"PixelPaddingValue": value} | ({"PixelPaddingRangeLimit": limit} if limit is not None else {})
    shown = read(dataset(padded, photometric=photometric, **extra))
    plain = read(dataset(pixels[:, 10:].copy(), photometric=photometric))
    assert (shown.pixels[:, :10] == -1024).all()
    assert np.array_equal(shown.pixels[:, 10:], plain.pixels)
    assert any(s.startswith("padding") for s in shown.steps)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("written", [12, 16])
def test_signed_padding_is_understood_in_either_vr(read, bits, written):
    """As the samples' own bits, or extended to the word."""
    pixels = np.minimum(phantom(), 4000).astype(np.int16) - 2000
    pixels[:, :10] = -2000
    ds = dataset(pixels, bits)
    ds.add_new("PixelPaddingValue", "US", -2000 % 2**written)
    shown = read(ds)
    assert (shown.pixels[:, :10] == -1024).all()
    assert any(s.startswith("padding") for s in shown.steps) == (written >= bits)


def test_an_image_of_padding_only_is_refused(read):
    with pytest.raises(CorruptImageError, match="padding only"):
        read(dataset(np.full((40, 40), 7, np.uint16), PixelPaddingValue=7))


def test_rescale_and_signed_pixels_follow_pydicom(read):
    pixels = phantom().astype(np.int16) - 2048
    ds = dataset(pixels, 12, RescaleSlope=0.5, RescaleIntercept=100, WindowCenter=90, WindowWidth=900)
    x = apply_modality_lut(pixels, ds)
    assert np.array_equal(read(ds).pixels, to_range(literal_window(x, 90, 900, "LINEAR")))


def test_modality_and_voi_luts_follow_pydicom(read):
    pixels = phantom()
    curve = np.rint(65535 * np.linspace(0, 1, 4000) ** 2).astype(np.uint16)
    ds = dataset(pixels, ModalityLUTSequence=[lut_item(curve, 50)])
    expected = apply_modality_lut(pixels, ds).astype(np.float64) / 65535
    assert np.array_equal(read(ds, voi="none").pixels, to_range(expected))
    ds = dataset(pixels, VOILUTSequence=[lut_item(curve, 50)])
    expected = apply_voi_lut(pixels, ds).astype(np.float64) / 65535
    assert np.array_equal(read(ds).pixels, to_range(expected))


def test_a_lut_wins_over_a_window_and_both_can_be_asked_for(read):
    pixels = phantom()
    make = lambda: dataset(pixels, VOILUTSequence=[lut_item(np.arange(4096), bits=12)], **FULL_12)  # noqa: E731
    assert any("VOI LUT" in s for s in read(make()).steps)
    assert any("window center 2048" in s for s in read(make(), voi=1).steps)
    with pytest.raises(OptionError, match="has 2 LUTs and windows"):
        read(make(), voi=2)


def test_an_explicit_window_and_none(read):
    pixels = phantom()
    expected = to_range(literal_window(pixels, 1000, 500, "LINEAR"))
    assert np.array_equal(read(dataset(pixels), voi="1000/500").pixels, expected)
    assert np.array_equal(read(dataset(pixels), voi=None).pixels, to_range(pixels / 4095.0))


@pytest.mark.parametrize("voi", ["x", "1/0", -1, True, 1.5, "40/"])
def test_other_voi_options_are_refused(read, voi):
    with pytest.raises(OptionError, match="voi="):
        read(dataset(phantom()), voi=voi)


@pytest.mark.parametrize(("center", "width"), [(60000, 100), (32768, 65536)])
def test_an_absurd_window_falls_back_with_a_warning(read, center, width):
    ds = dataset(phantom(), 16, WindowCenter=center, WindowWidth=width)
    radiograph = read(ds)
    assert radiograph.pixels.std() > 200
    assert any("not applied" in w for w in radiograph.warnings)
    assert read(ds, voi=0).pixels.std() < 150


def test_twelve_bits_declared_as_sixteen_are_not_nearly_black(read):
    radiograph = read(dataset(phantom(), 16))
    assert radiograph.display.max() == 255
    assert radiograph.display.std() > 30
    assert any("contrast taken from the pixels" in w for w in radiograph.warnings)


def test_overlay_bits_above_bits_stored_are_masked(read):
    pixels = phantom()
    dirty = pixels | np.uint16(0x8000)
    assert np.array_equal(read(dataset(dirty, **FULL_12)).pixels, read(dataset(pixels, **FULL_12)).pixels)


def test_frames(read):
    frames = np.stack([phantom(), 4095 - phantom()])
    with pytest.raises(UnsupportedImageError, match=r"2 frames.*from 0 to 1"):
        read(dataset(frames, **FULL_12))
    radiograph = read(dataset(frames, **FULL_12), frame=1)
    assert radiograph.frame == 1
    assert np.array_equal(radiograph.pixels, read(dataset(frames[1], **FULL_12)).pixels)
    with pytest.raises(OptionError, match="frame=2"):
        read(dataset(frames), frame=2)


REFUSED = [
    ({"Modality": "CT"}, UnsupportedImageError, "computed tomography"),
    ({"Modality": "MG"}, UnsupportedImageError, "mammography"),
    (
        {"SOPClassUID": uid.DigitalMammographyXRayImageStorageForPresentation},
        UnsupportedImageError,
        "Mammography",
    ),
    ({"SOPClassUID": uid.DigitalXRayImageStorageForProcessing}, UnsupportedImageError, "FOR PROCESSING"),
    ({"PresentationIntentType": "FOR PROCESSING"}, UnsupportedImageError, "FOR PRESENTATION"),
    ({"PixelRepresentation": 2}, CorruptImageError, "neither 0 nor 1"),
    ({"HighBit": 15}, UnsupportedImageError, "high bit 15"),
    ({"BitsAllocated": 32}, UnsupportedImageError, "32 bits"),
    ({"PhotometricInterpretation": "RGB"}, UnsupportedImageError, "colour image .RGB"),
    ({"Rows": 60000, "Columns": 60000}, ImageTooLargeError, "max_pixels"),
    ({"Rows": 0}, CorruptImageError, "0 x 40"),
    ({"Rows": 49}, CorruptImageError, "3,840 bytes.*3,920"),
    ({"RescaleSlope": 0}, CorruptImageError, "slope 0"),
    ({"BitsStored": 17}, CorruptImageError, "17 bits stored"),
]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_small_letters_of_the_photometric_interpretation_are_taken(read, photometric):
    def lower(data):
        return data.replace(photometric.encode(), photometric.lower().encode())

    small = read(dataset(phantom(), photometric=photometric), change=lower)
    assert np.array_equal(small.pixels, read(dataset(phantom(), photometric=photometric)).pixels)


@pytest.mark.parametrize(("change", "error", "says"), REFUSED)
def test_refusals_name_their_reason(read, change, error, says):
    with pytest.raises(error, match=says):
        read(dataset(phantom(), **change))


@pytest.mark.parametrize("syntax", [*LOSSLESS, *LOSSY], ids=lambda s: s.name)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_file_is_refused(read, syntax, share):
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    with pytest.raises((CorruptImageError,)):
        read(dataset(phantom(bits=bits), bits), syntax, change=lambda d: d[: int(len(d) * share)])


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless])
def test_a_frame_of_another_size_than_the_header_is_refused(read, syntax):
    def lie(data):
        at = data.index(b"\x28\x00\x10\x00US")
        return data[: at + 8] + (24).to_bytes(2, "little") + data[at + 10 :]

    with pytest.raises(CorruptImageError, match="24 x 40 as the DICOM header says"):
        read(dataset(phantom()), syntax, change=lie)


def test_header_facts_are_read_and_invalid_ones_are_named(read):
    good = read(dataset(phantom(), ImageLaterality="U"), metadata=["Modality", "StudyDescription"])
    assert (good.view, good.laterality, good.patient_orientation) == ("PA", "U", ("L", "F"))
    assert (good.pixel_spacing, good.pixel_spacing_source) == ((0.2, 0.2), "ImagerPixelSpacing")
    assert good.metadata == {"Modality": "DX"}
    bad = read(dataset(phantom(), ImagerPixelSpacing=[0, 0], BodyPartExamined="SKULL", ViewPosition="LL"))
    assert bad.pixel_spacing is None
    assert len([w for w in bad.warnings if "invalid" in w or "SKULL" in w or "view LL" in w]) == 3
    with pytest.raises(OptionError, match="metadata="):
        read(dataset(phantom()), metadata=["NoSuchKeyword"])


def test_a_view_code_stands_in_for_the_view_position(read):
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "R-10206", "SRT", "antero-posterior"
    assert read(dataset(phantom(), ViewPosition=None, ViewCodeSequence=[code])).view == "AP"
