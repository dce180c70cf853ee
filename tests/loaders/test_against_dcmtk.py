"""The display path against DCMTK's renderer, an independent implementation in C++ (Debian's dcmtk)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from radiograph_files import dataset, encode, phantom

from cxr_explain import read_radiograph

pytestmark = [
    pytest.mark.dcmtk,
    pytest.mark.skipif(shutil.which("dcmj2pnm") is None, reason="Debian's dcmtk is not installed"),
]

# DCMTK's own encapsulated syntaxes do not include JPEG 2000, and its JPEG-LS needs another program.
REAL = {
    "RG3_JPLL.dcm": "+Wi",
    "RG3_RLE.dcm": "+Wi",
    "dcm4che_cr_head_16bit.dcm": "+Wi",
    "dcmjs_elbow_14bit.dcm": "+Wi",
    "efferent_test16bits.dcm": "+Wi",
    "gdcm_CR-MONO1-10-chest.dcm": "+Wi",
    "highdicom_dx_thorax_small.dcm": "+Wi",
    "image_dfl_deflated.dcm": "-W",
    "msft_budi1_voilut.dcm": "+Wl",
    "nih_00000001_000.dcm": "-W",
    "udacity_test2.dcm": "-W",
    "udacity_test3.dcm": "-W",
    "udacity_test4_ribcage.dcm": "-W",
    "vlut_04.dcm": "+Wl",
}


def rendered(path: Path, voi: str, tmp_path: Path) -> np.ndarray:
    """DCMTK's 8-bit rendering with the file's first window, its first LUT, or neither."""
    target = tmp_path / "dcmtk.pgm"
    options = [voi] if voi == "-W" else [voi, "1"]
    subprocess.run(["dcmj2pnm", "+op", *options, str(path), str(target)], check=True, capture_output=True)
    return np.asarray(Image.open(target)).astype(int)


def assert_same_picture(path: Path, voi: str, tmp_path: Path) -> None:
    """Equal to one grey level: DCMTK truncates where we round."""
    ours = read_radiograph(path).display.astype(int)
    assert np.abs(ours - rendered(path, voi, tmp_path)).max() <= 1


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str, real_data: Path, tmp_path: Path) -> None:
    assert_same_picture(real_data / "dicom" / name, REAL[name], tmp_path)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (1000, 700), (3000.5, 2000)])
def test_windows_and_polarity(photometric: str, centre: float, width: float, tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    ds = dataset(phantom(bits=12), 12, photometric, WindowCenter=centre, WindowWidth=width)
    path.write_bytes(encode(ds))
    assert_same_picture(path, "+Wi", tmp_path)


def test_rescale_before_the_window(tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    ds = dataset(
        phantom(bits=12),
        12,
        RescaleSlope=2,
        RescaleIntercept=-500,
        RescaleType="US",
        WindowCenter=3000,
        WindowWidth=5000,
    )
    path.write_bytes(encode(ds))
    assert_same_picture(path, "+Wi", tmp_path)
