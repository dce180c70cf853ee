"""Every shared file and what becomes of it, each with its reason."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

from cxr_explain.errors import CxrExplainError
from cxr_explain.loaders import read_radiograph

pytestmark = pytest.mark.real_data


def read_as(height, width, *, steps="", warns=None, reason):
    """Expect a radiograph; `steps` and `warns` are regular expressions, warns=None means no warning."""
    return {"shape": (height, width), "steps": steps, "warns": warns, "reason": reason}


def refused(error, says, *, reason):
    return {"error": error, "says": says, "reason": reason}


COLOUR = {"error": "UnsupportedImageError", "says": "colour image", "reason": "a radiograph is grey"}
NO_PIXELS = {"error": "NotAnImageError", "says": "without pixel data", "reason": "nothing to show"}
OTHER = {
    "error": "UnsupportedImageError",
    "says": "found modality",
    "reason": "the models know radiographs only",
}
NIH = {"steps": "full range 0 to 255", "reason": "8-bit NIH image without a window: as its PNG"}
TIBIA = {"warns": "body part EXTREMITY.*not upright", "reason": "CR, but a tibia hung R\\F: read, and named"}
SMPTE = {"steps": "signed.*16319 width 32896", "reason": "signed 16-bit pattern: the window fits"}

DICOM = {
    "udacity_test2.dcm": read_as(1024, 1024, **NIH),
    "udacity_test3.dcm": read_as(1024, 1024, **NIH),
    "udacity_test4_ribcage.dcm": read_as(1024, 1024, **NIH),
    "nih_00000001_000.dcm": read_as(1024, 1024, **NIH),
    "gdcm_CR-MONO1-10-chest.dcm": read_as(440, 440, steps="550 width 1024.*inverted once", reason="plain CR"),
    "RG1_J2KI_chest.dcm": read_as(
        1955,
        1841,
        steps="JPEG 2000, 15 bits.*inverted once",
        warns="PixelSpacing is invalid",
        reason="spacing is 0",
    ),
    "canon_966_fixed_chest.dcm": read_as(
        2128, 2000, steps="JPEG 2000 lossless, 12 bits.*2048 width 4096.*inverted once", reason="exemplary DX"
    ),
    "msft_budi1_voilut.dcm": read_as(1840, 1360, steps="VOI LUT of 246 entries", reason="its VOI is a LUT"),
    "rentgenprom_dx_j2k16.dcm": read_as(
        1416,
        1420,
        steps="does not fit",
        warns="not upright.*not applied",
        reason="window far below all pixels",
    ),
    "highdicom_dx_thorax_small.dcm": read_as(
        169, 211, steps="128 width 256", reason="small, but a DX thorax"
    ),
    "efferent_test16bits.dcm": read_as(512, 512, **SMPTE, warns="repeats data of the header"),
    "efferent_test8bits_rgb.dcm": COLOUR,
    "efferent_jpegls_16bit.dcm": read_as(512, 512, **SMPTE),
    "pydicom_chrJapMulti_chest32px.dcm": NO_PIXELS,
    "RG3_JLSL.dcm": read_as(1760, 1760, steps="JPEG-LS lossless", **TIBIA),
    "RG3_JPLL.dcm": read_as(1760, 1760, steps="JPEG lossless", **TIBIA),
    "RG3_JPLY.dcm": read_as(1760, 1760, steps="JPEG extended", **TIBIA),
    "RG3_RLE.dcm": read_as(1760, 1760, steps="RLE", **TIBIA),
    "dcmjs_elbow_14bit.dcm": read_as(1968, 1466, warns="body part ELBOW", reason="DX, but an elbow: named"),
    "fodicom_CR_modalityLUT.dcm": read_as(
        1576, 1976, steps="modality LUT of 1024.*stretched", warns="no window", reason="modality LUT, no VOI"
    ),
    "dcm4che_cr_head_16bit.dcm": read_as(
        1938, 1496, steps="512 width 1024", warns="body part HEAD", reason="named"
    ),
    "vlut_04.dcm": read_as(
        512, 512, steps="VOI LUT of 256", warns="modality OT.*repeats", reason="OT is unspecific"
    ),
    "mlut_18.dcm": read_as(
        512,
        512,
        steps="modality LUT of 4096",
        warns="modality OT.*repeats.*no window",
        reason="12-bit signed input",
    ),
    "image_dfl_deflated.dcm": read_as(
        512, 512, steps="deflated", warns="modality OT", reason="OT is unspecific"
    ),
    "CT_small_pad-2000.dcm": OTHER,
    "MR_small_bigendian.dcm": OTHER,
    "MR_truncated.dcm": {**OTHER, "reason": "truncated too, but the modality is seen first"},
    "rtplan_truncated.dcm": NO_PIXELS,
    "SR_no_pixels.dcm": NO_PIXELS,
    "meta_missing_tsyntax.dcm": refused(
        "UnsupportedImageError",
        "no known photometric",
        reason="a fragment that does not even say that it is grey",
    ),
    "emri_small_multiframe.dcm": OTHER,
    "fodicom_sc_140frames.dcm": refused(
        "UnsupportedImageError", "Whole Slide", reason="SC by modality, WSI by class"
    ),
    "SC_rgb_bigendian.dcm": COLOUR,
    "OT-PAL-8-face.dcm": COLOUR,
    "SC_ybr_full_422.dcm": COLOUR,
    "HTJ2K_08_RGB.dcm": COLOUR,
    "parametric_map_float.dcm": refused(
        "UnsupportedImageError", "floating-point", reason="no stored grey levels"
    ),
    "liver_seg_1bit.dcm": OTHER,
    "SC_rgb_32bit.dcm": COLOUR,
    "rgb_jpeg_process14.dcm": COLOUR,
    "not_dicom_html.dcm": refused("NotAnImageError", "an HTML page", reason="a failed download"),
}

PLAIN = {"steps": "8-bit grey", "reason": "8-bit grey as released"}
RGB = {"steps": "grey stored in RGB: exact", "reason": "re-saved in RGB, no hue"}
RGBA = {"steps": "RGB: exact.*alpha channel fully opaque", "reason": "original or re-saved RGBA"}
RASTER = {
    "ARDSSevere.png": read_as(
        631, 790, steps="BT.601", warns="few pixels have a hue", reason="screen capture"
    ),
    "X-ray_of_cyst_in_pneumocystis_pneumonia_1.jpg": read_as(751, 943, **RGB),
    "armiro_785p_paediatric_L_icc.png": read_as(423, 448, **RGB),
    "armiro_progRGB_003.jpeg": read_as(876, 882, steps="BT.601.*ICC", reason="JPEG colour noise is no hue"),
    "kermany_IM-0416-0001.jpeg": read_as(
        1418, 1808, steps="ICC profile ignored", reason="profile of a screen"
    ),
    "kermany_person1001_bacteria_2932.jpeg": read_as(863, 1244, **PLAIN),
    "kermany_person1506_virus_2616.jpeg": read_as(952, 1144, **PLAIN),
    "nih_00000001_000__dinbe0527.png": read_as(128, 128, **RGB),
    "nih_00000001_000__mlmed.png": read_as(
        512, 512, steps="gamma 0.45455 ignored", reason="gamma of a screen"
    ),
    "nih_00000001_001__chester.png": read_as(1024, 1024, **PLAIN),
    "nih_00000001_002-Cardiomegaly-Effusion-2__chester.png": read_as(300, 300, **PLAIN),
    "nih_00000001_002-Cardiomegaly-Effusion2__chester.png": read_as(860, 988, **PLAIN),
    "nih_00000003_000-Hernia__chester.png": read_as(1024, 1024, **PLAIN),
    "nih_00000004_000__mrdchry.png": read_as(1024, 1024, **RGBA),
    "nih_00000017_001__rm93.png": read_as(1024, 1024, **PLAIN),
    "nih_00000165_008__rm93.png": read_as(1024, 1024, **PLAIN),
    "nih_00000181_061__dinbe0527.png": read_as(64, 64, **RGB),
    "nih_00000318_004__rm93.png": read_as(1024, 1024, **RGBA),
    "nih_00000359_002__rm93.png": read_as(1024, 1024, **PLAIN),
    "nih_00000370_003__rm93.png": read_as(1024, 1024, **RGBA),
    "nih_00000569_005__rm93.png": read_as(1024, 1024, **PLAIN),
    "nih_00001249_002__rm93.png": read_as(1024, 1024, **PLAIN),
    "nih_00002739_001__rm93.png": read_as(1024, 1024, **PLAIN),
    "nih_00002835_003__rm93.png": read_as(1024, 1024, **PLAIN),
    "nih_00006271_096__rm93.png": read_as(1024, 1024, **PLAIN),
    "nih_00007352_000__rm93.png": read_as(1024, 1024, **PLAIN),
    "nih_00021381_037__rm93.png": read_as(1024, 1024, **PLAIN),
    "nih_00027426_000__mlmed.png": read_as(512, 512, **PLAIN),
    "negative_lfs_pointer_00013118_008.png": refused(
        "NotAnImageError", "git lfs pull", reason="never fetched"
    ),
}
TABLE = [("dicom", n, e) for n, e in DICOM.items()] + [("raster", n, e) for n, e in RASTER.items()]


@pytest.mark.parametrize(("folder", "table"), [("dicom", DICOM), ("raster", RASTER)])
def test_the_table_covers_the_folder(real_data, folder, table):
    assert set(table) == {p.name for p in (real_data / folder).iterdir() if p.name != "MANIFEST.csv"}


@pytest.mark.parametrize(("folder", "name", "expected"), TABLE, ids=[n for _, n, _ in TABLE])
def test_each_file_gives_what_is_written_here(real_data, folder, name, expected, capfd):
    path = real_data / folder / name
    if "error" in expected:
        with pytest.raises(CxrExplainError, match=expected["says"]) as caught:
            read_radiograph(path)
        assert type(caught.value).__name__ == expected["error"]
        assert str(path) in str(caught.value)
        return
    radiograph = read_radiograph(path)
    assert radiograph.shape == expected["shape"]
    assert re.search(expected["steps"], "; ".join(radiograph.steps))
    if expected["warns"] is None:
        assert radiograph.warnings == ()
    else:
        assert re.search(
            expected["warns"], "; ".join(sorted(radiograph.warnings, key=_as_written(expected["warns"])))
        )
    assert radiograph.pixels.min() >= -1024
    assert radiograph.pixels.max() <= 1024
    assert radiograph.display.std() > 20


def _as_written(pattern):
    parts = pattern.split(".*")
    return lambda warning: next((i for i, part in enumerate(parts) if re.search(part, warning)), len(parts))


@pytest.mark.parametrize("folder", ["dicom", "raster"])
def test_the_digest_is_the_manifests(real_data, folder):
    rows = csv.DictReader((real_data / folder / "MANIFEST.csv").read_text().splitlines())
    recorded = {row["file"]: row["sha256"] for row in rows}
    for name in ("nih_00000001_000.dcm", "nih_00000017_001__rm93.png"):
        if name in recorded:
            assert read_radiograph(real_data / folder / name).sha256 == recorded[name]


def test_four_codecs_give_one_image(real_data):
    reference = read_radiograph(real_data / "dicom" / "RG3_RLE.dcm").pixels
    for name in ("RG3_JLSL.dcm", "RG3_JPLL.dcm"):
        assert np.array_equal(read_radiograph(real_data / "dicom" / name).pixels, reference)
    lossy = read_radiograph(real_data / "dicom" / "RG3_JPLY.dcm").pixels
    assert np.abs(lossy - reference).mean() < 5
    assert np.abs(lossy - reference).max() < 110


def test_tagged_upside_down_images_are_named(real_data):
    radiograph = read_radiograph(real_data / "dicom" / "rentgenprom_dx_j2k16.dcm")
    assert any("not upright" in w for w in radiograph.warnings)
