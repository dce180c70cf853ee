"""The page's pixels, input, scores and maps are Python's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from open_page import Opened, as_levels, phantom_explainer
from PIL import Image, ImageCms
from pydicom import uid
from pydicom.dataset import Dataset
from radiograph_files import dataset, encode, phantom
from raster_files import chunk, png, saved

from cxr_explain.explaining.preprocessing import prepare
from cxr_explain.loaders.read import read_radiograph_bytes
from cxr_explain.phantom import render, sample_patient
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.phantom.dicom import to_dicom

pytestmark = pytest.mark.browser


def odd_png(height: int, width: int, bits: int) -> bytes:
    return png(phantom(height, width, bits=bits), depth=16 if bits > 8 else 8)


@pytest.fixture(scope="module")
def eight_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Six phantoms, as DICOM and PNG, and two PNGs of odd sizes."""
    folder = tmp_path_factory.mktemp("phantoms")
    list(write_dataset(folder, n=2, size=250, bits=16, seed=7))
    found = {path.name: path.read_bytes() for path in sorted((folder / "images").glob("*.png"))}
    for seed, photometric in ((1, "MONOCHROME2"), (2, "MONOCHROME1"), (3, "MONOCHROME2"), (4, "MONOCHROME1")):
        data = to_dicom(render(sample_patient(seed), size=256 + 31 * seed), photometric)  # type: ignore[arg-type]
        found[f"phantom-{seed}.dcm"] = data
    return found | {"wide.png": odd_png(317, 511, 16), "small.png": odd_png(207, 93, 8)}


def test_scores_maps_and_input_are_pythons(page: Opened, eight_files: dict[str, bytes]) -> None:
    explainer = phantom_explainer(allow_phantom_weights=True)
    assert len(eight_files) == 8
    for name, data in eight_files.items():
        radiograph = read_radiograph_bytes(data, Path(name).stem)
        model_input, wanted = explainer.prepare(radiograph), explainer.explain(radiograph, top_k=5)
        found = page.explained(name, data)
        assert found["phantom"] == radiograph.phantom == name.startswith("phantom")
        seen = model_input.tensor[0].numpy().ravel()
        assert np.abs(as_levels(found["input"]) - as_levels(seen)).max() < 0.02, name
        predicted = wanted.ranking.predictions
        probabilities = found["probabilities"][[each.index for each in predicted]]
        assert probabilities == pytest.approx([each.probability for each in predicted], abs=1e-4)
        assert found["ranked"] == [each.index for each in wanted.ranking.top], name
        assert np.abs(found["maps"].reshape(wanted.maps.shape) - wanted.maps).max() < 1e-4, name
        scale = np.abs(wanted.class_maps).max()
        assert np.abs(found["class_maps"].reshape(wanted.maps.shape) - wanted.class_maps).max() < 1e-4 * scale
        assert [*found["steps"], *found["prepared"]] == [
            each.replace("torch, bilinear", "bilinear") for each in model_input.steps
        ]


GREY = phantom(60, 47, bits=8)
DEEP = phantom(45, 61, bits=16)
COLOUR = np.stack([GREY, np.roll(GREY, 3, 0), GREY // 2], axis=-1)
ALPHA = np.where(GREY > 90, 255, GREY).astype(np.uint8)
EXIF = Image.Exif()
EXIF[0x0112] = 6
PALETTE = chunk(b"PLTE", bytes(range(48)))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

PNGS = {
    "grey": png(GREY),
    "16 bits": png(DEEP, depth=16),
    "12 bits in 16": png(DEEP >> 4, depth=16),
    "4 bits": png(GREY >> 4, depth=4),
    "2 bits": png(GREY >> 6, depth=2),
    "interlaced": png(DEEP, depth=16, interlaced=True),
    "interlaced, 4 bits, tiny": png(GREY[:3, :3] >> 4, depth=4, interlaced=True),
    "grey as RGB": png(np.stack([GREY] * 3, axis=-1), colour=2),
    "RGB": png(COLOUR, colour=2),
    "RGB of 16 bits": png(np.stack([DEEP] * 3, axis=-1), colour=2, depth=16),
    "alpha": png(np.stack([GREY, ALPHA], axis=-1), colour=4),
    "alpha of 16 bits": png(np.stack([DEEP, DEEP[::-1]], axis=-1), colour=4, depth=16),
    "RGBA": png(np.dstack([COLOUR, ALPHA]), colour=6),
    "opaque RGBA": png(np.dstack([GREY, GREY, GREY, GREY * 0 + 255]), colour=6),
    "palette": png(GREY >> 4, colour=3, depth=4, before=PALETTE),
    "clear palette": png(GREY >> 4, colour=3, depth=8, before=PALETTE + chunk(b"tRNS", bytes([0, 99]))),
    "clear grey": png(GREY, before=chunk(b"tRNS", bytes([0, int(GREY[5, 5])]))),
    "clear 16 bits": png(DEEP, depth=16, before=chunk(b"tRNS", DEEP[5, 5].astype(">u2").tobytes())),
    "clear RGB": png(COLOUR, colour=2, before=chunk(b"tRNS", COLOUR[5, 5].astype(">u2").tobytes())),
    "gamma": png(GREY, before=chunk(b"gAMA", (45455).to_bytes(4, "big"))),
    "uneven": png(GREY, before=chunk(b"pHYs", bytes([0, 0, 0, 9, 0, 0, 0, 8, 1]))),
    "profile": saved(Image.fromarray(GREY), "PNG", icc_profile=PROFILE),
    "turned": saved(Image.fromarray(GREY), "PNG", exif=EXIF),
    "dark": png(GREY // 20),
    "constant": png(GREY * 0 + 50),
}


@pytest.mark.parametrize("kind", PNGS)
def test_pixels_of_a_png_are_pythons(page: Opened, kind: str) -> None:
    check_pixels(page, "image.png", PNGS[kind], most=0)


JPEGS = {
    "grey": saved(Image.fromarray(phantom(121, 83, bits=8)), "JPEG", quality=90),
    "progressive": saved(Image.fromarray(GREY), "JPEG", quality=75, progressive=True),
    "turned": saved(Image.fromarray(GREY), "JPEG", exif=EXIF, quality=95),
    "grey as RGB": saved(Image.fromarray(np.stack([GREY] * 3, axis=-1)), "JPEG", quality=90),
    "profile": saved(Image.fromarray(GREY), "JPEG", icc_profile=PROFILE),
    "density": saved(Image.fromarray(GREY), "JPEG", dpi=(300, 200)),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_pixels_of_a_jpeg_are_pythons_to_one_level(page: Opened, kind: str) -> None:
    check_pixels(page, "image.jpg", JPEGS[kind], most=1)


def lut(entries: np.ndarray, first: int, bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item


STORED = phantom(64, 57, bits=12)
SIGNED = STORED.astype(np.int16) - 2048
RISING = np.linspace(0, 4095, 4096).astype(np.uint16)
OUT_OF_RANGE = {"WindowCenter": 90000, "WindowWidth": 10}

DICOMS: dict[str, Any] = {
    "12 bits, no window": dataset(STORED),
    "8 bits": dataset(phantom(50, 40, bits=8), bits=8),
    "inverted": dataset(STORED, photometric="MONOCHROME1", PresentationLUTShape="INVERSE"),
    "window": dataset(STORED, WindowCenter=2000, WindowWidth=1500),
    "two windows": dataset(STORED, WindowCenter=[90000, 2000], WindowWidth=[10, 1500]),
    "exact window": dataset(STORED, WindowCenter=2000, WindowWidth=1500, VOILUTFunction="LINEAR_EXACT"),
    "sigmoid": dataset(STORED, WindowCenter=2000, WindowWidth=1500, VOILUTFunction="SIGMOID"),
    "window of width 1": dataset(STORED, WindowCenter=2000, WindowWidth=1),
    "useless window": dataset(STORED, **OUT_OF_RANGE),
    "signed": dataset(SIGNED),
    "signed, window": dataset(SIGNED, WindowCenter=-200, WindowWidth=1500),
    "rescaled": dataset(
        STORED, RescaleSlope="2.5", RescaleIntercept="-1000", WindowCenter=3000, WindowWidth=4000
    ),
    "negative slope": dataset(STORED, RescaleSlope="-1", RescaleIntercept="4095"),
    "padding": dataset(np.where(STORED < 600, 0, STORED).astype(np.uint16), PixelPaddingValue=0),
    "padded range": dataset(
        STORED, PixelPaddingValue=0, PixelPaddingRangeLimit=400, photometric="MONOCHROME1"
    ),
    "signed padding": dataset(np.where(SIGNED < -1500, -2000, SIGNED).astype(np.int16)),
    "rubbish above": dataset((STORED | (np.arange(57) % 2 * 0x8000).astype(np.uint16)).astype(np.uint16)),
    "more bits than said": dataset(phantom(64, 57, bits=14), bits=12),
    "VOI LUT": dataset(STORED, VOILUTSequence=[lut((RISING**0.9).astype(np.uint16), 0, 12)]),
    "VOI LUT of 14 bits declared as 16": dataset(STORED, VOILUTSequence=[lut(RISING * 4, 0, 16)]),
    "modality LUT": dataset(STORED, ModalityLUTSequence=[lut(RISING[::-1].copy(), 0, 12)]),
    "secondary capture": dataset(STORED, Modality="OT", SOPClassUID=uid.SecondaryCaptureImageStorage),
    "no modality": dataset(STORED, Modality=None, PatientOrientation=None),
    "lateral": dataset(STORED, ViewPosition="LL", PatientOrientation=["A", "F"]),
    "upside down": dataset(STORED, PatientOrientation=["R", "H"]),
    "uneven": dataset(STORED, ImagerPixelSpacing=[0.2, 0.3]),
}
DICOMS["signed padding"].add_new("PixelPaddingValue", "SS", -2000)


@pytest.mark.parametrize("kind", DICOMS)
def test_pixels_of_a_dicom_are_pythons(page: Opened, kind: str) -> None:
    for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian):
        check_pixels(page, "image.dcm", encode(DICOMS[kind], syntax), most=0)


def test_a_data_set_without_preamble_is_read(page: Opened) -> None:
    data = encode(dataset(STORED))
    bare = data[data.index(b"\x08\x00\x16\x00UI") :]
    check_pixels(page, "bare.dcm", bare, most=0)


def test_a_decimal_comma_is_a_point(page: Opened) -> None:
    data = encode(dataset(STORED, WindowCenter="2000.5", WindowWidth="1500.2"))
    check_pixels(page, "comma.dcm", data.replace(b"2000.5", b"2000,5").replace(b"1500.2", b"1500,2"), most=0)


def check_pixels(page: Opened, name: str, data: bytes, *, most: int) -> None:
    """The page's pixels are Python's up to so many levels of 255; so are the steps, and the warnings."""
    wanted = read_radiograph_bytes(data, Path(name).stem)
    found = page.explained(name, data)
    assert found["size"] == list(wanted.shape)
    levels = np.abs(as_levels(found["pixels"]) - as_levels(wanted.pixels.ravel()))
    assert levels.max() <= most + 1e-3
    assert np.abs(found["display"].astype(int) - wanted.display.ravel()).max() <= most
    assert found["steps"] == list(wanted.steps)
    assert sorted(found["warnings"]) == sorted(wanted.warnings)
    assert found["view"] == wanted.view
    seen = prepare(wanted, 224).tensor[0].numpy().ravel()
    assert np.abs(as_levels(found["input"]) - as_levels(seen)).max() <= most + 0.02
