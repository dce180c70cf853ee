"""Compressed radiographs against the same files decompressed by GDCM's own program and codecs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cxr_explain import read_radiograph

pytestmark = pytest.mark.real_data

# GDCM decodes JPEG 2000 with its own copy of OpenJPEG and JPEG-LS with its own of CharLS.
COMPRESSED = (
    "RG1_J2KI_chest.dcm",
    "RG3_JLSL.dcm",
    "RG3_JPLL.dcm",
    "RG3_RLE.dcm",
    pytest.param("canon_966_fixed_chest.dcm", marks=pytest.mark.slow),
    "dcmjs_elbow_14bit.dcm",
    "efferent_jpegls_16bit.dcm",
    "fodicom_CR_modalityLUT.dcm",
    "image_dfl_deflated.dcm",
    "rentgenprom_dx_j2k16.dcm",
)


@pytest.mark.parametrize("name", COMPRESSED)
def test_equal_to_what_gdcm_decompresses(name: str, real_data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw.dcm"
    program = Path(sys.executable).parent / "gdcmconv"
    subprocess.run([program, "--raw", real_data / "dicom" / name, raw], check=True, capture_output=True)
    ours, theirs = read_radiograph(real_data / "dicom" / name), read_radiograph(raw)
    assert np.array_equal(ours.pixels, theirs.pixels)
