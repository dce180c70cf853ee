"""XRV-compatible mode against torchxrayvision's own reader, bit for bit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from radiograph_files import dataset, encode, phantom, raster

from cxr_explain.errors import UnsupportedImageError
from cxr_explain.loaders import read_radiograph


@pytest.fixture(scope="module")
def xrv_utils():
    from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

    ensure_torchvision_imports()
    import torchxrayvision

    return torchxrayvision.utils


def theirs(xrv_utils, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return xrv_utils.load_image(str(path))[0]


def assert_equal(xrv_utils, path):
    ours = read_radiograph(path, xrv_compatible=True)
    expected = theirs(xrv_utils, path)
    assert ours.xrv_compatible
    assert ours.pixels.dtype == expected.dtype
    assert np.array_equal(ours.pixels, expected)
    return ours


SYNTAXES = [
    uid.ExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.JPEGLSLossless,
]
SYNTAXES += [uid.JPEGLosslessSV1, uid.ExplicitVRBigEndian]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.name)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_synthetic_dicom(xrv_utils, tmp_path, syntax, photometric, bits):
    path = tmp_path / "a.dcm"
    ds = dataset(phantom(bits=bits), bits, photometric, WindowCenter=100, WindowWidth=50, PixelPaddingValue=0)
    path.write_bytes(encode(ds, syntax))
    assert_equal(xrv_utils, path)


def test_baseline_jpeg_in_dicom(xrv_utils, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(encode(dataset(phantom(bits=8), 8), uid.JPEGBaseline8Bit))
    assert_equal(xrv_utils, path)


def test_values_outside_of_the_range_are_kept_and_named(xrv_utils, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(encode(dataset(phantom().astype(np.int16) - 500, 12)))
    ours = assert_equal(xrv_utils, path)
    assert ours.pixels.min() < -1024
    assert any("outside of [-1024, 1024]" in w for w in ours.warnings)


def test_what_torchxrayvision_refuses_is_refused_and_named(xrv_utils, tmp_path):
    deep, signed = tmp_path / "deep.png", tmp_path / "signed.dcm"
    deep.write_bytes(raster(phantom(bits=16), "PNG"))
    signed.write_bytes(encode(dataset(phantom().astype(np.int16), 16, "MONOCHROME1")))
    for path, error in ((deep, ValueError), (signed, OverflowError)):
        with pytest.raises(error):
            theirs(xrv_utils, path)
        with pytest.raises(UnsupportedImageError, match="torchxrayvision's reader refuses"):
            read_radiograph(path, xrv_compatible=True)


GREY = phantom(bits=8)
COLOUR = np.dstack([GREY, GREY // 2, 255 - GREY])


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "webp", "bmp"])
@pytest.mark.parametrize("image", ["grey", "colour", "rgba", "palette", "la"])
def test_synthetic_rasters(xrv_utils, tmp_path, kind, image):
    pixels = {
        "grey": Image.fromarray(GREY),
        "colour": Image.fromarray(COLOUR),
        "rgba": Image.fromarray(np.dstack([COLOUR, GREY])),
        "palette": Image.fromarray(COLOUR).quantize(64),
        "la": Image.fromarray(GREY).convert("LA"),
    }[image]
    path = tmp_path / f"a.{kind}"
    try:
        path.write_bytes(raster(pixels, kind.upper()))
    except OSError:
        pytest.skip(f"{kind} has no {image}")
    assert_equal(xrv_utils, path)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_exif_orientation_is_not_applied(xrv_utils, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("jpeg", "tiff"):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(raster(GREY, kind.upper(), exif=exif))
        assert_equal(xrv_utils, path)


@pytest.mark.real_data
def test_every_real_file_that_both_read(xrv_utils, real_data):
    compared = 0
    for path in sorted([*(real_data / "dicom").glob("*.dcm"), *(real_data / "raster").glob("*.*")]):
        try:
            expected = theirs(xrv_utils, path)
            ours = read_radiograph(path, xrv_compatible=True)
        except Exception:  # noqa: S112 - refusals have tests of their own
            continue
        assert np.array_equal(ours.pixels, expected), path.name
        compared += 1
    assert compared >= 45
