"""A phantom is known for one in every way it can be read, and nothing else is."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cxr_explain import Radiograph, read_radiograph
from cxr_explain.phantom import Phantom, render, sample_patient, to_radiograph
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.phantom.dicom import to_dicom
from cxr_explain.radiograph import PHANTOM_WARNING

SIZE = 64


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return render(sample_patient(3), size=SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    for _ in write_dataset(folder, n=3, seed=3, size=SIZE):
        pass
    return folder


def assert_phantom(radiograph: Radiograph) -> None:
    assert radiograph.phantom
    assert radiograph.warnings.count(PHANTOM_WARNING) == 1


@pytest.mark.parametrize("xrv_compatible", [False, True])
@pytest.mark.parametrize("part", ["images", "dicom", "counterfactuals"])
def test_every_file_of_a_data_set_is_known(part: str, xrv_compatible: bool, folder: Path) -> None:
    files = sorted((folder / part).iterdir())
    assert files
    for path in files:
        assert_phantom(read_radiograph(path, xrv_compatible=xrv_compatible))


@pytest.mark.parametrize("voi", ["auto", "none", "2048/2048"])
def test_a_dicom_is_known_whatever_its_name_and_window(voi: str, phantom: Phantom, tmp_path: Path) -> None:
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        path = tmp_path / "COMPUTED-000003"  # repeats the patient's id, so that the id is a digest
        path.write_bytes(to_dicom(phantom, photometric))
        assert_phantom(read_radiograph(path, voi=voi))


def test_a_rendered_phantom_is_known_and_stays_it(phantom: Phantom) -> None:
    radiograph = to_radiograph(phantom)
    assert_phantom(radiograph)
    assert_phantom(replace(radiograph, id="other"))
    assert radiograph.warnings == (PHANTOM_WARNING,)


def test_the_warning_comes_with_the_mark() -> None:
    plain = Radiograph.from_array(np.zeros((2, 2), np.float32))
    assert not plain.phantom
    assert replace(plain, phantom=True, warnings=("other",)).warnings == (PHANTOM_WARNING, "other")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("Manufacturer", "Cxr-Explain"), ("Manufacturer", ""), ("ManufacturerModelName", "phantom II")],
)
def test_another_maker_makes_no_phantom(keyword: str, value: str, phantom: Phantom, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(io.BytesIO(to_dicom(phantom)))
    setattr(dataset, keyword, value)
    dataset.save_as(tmp_path / "a.dcm")
    radiograph = read_radiograph(tmp_path / "a.dcm")
    assert not radiograph.phantom
    assert PHANTOM_WARNING not in radiograph.warnings


@pytest.mark.parametrize("software", [None, "phantom", "cxr-explain phantom 2"])
def test_another_software_makes_no_phantom(software: str | None, phantom: Phantom, tmp_path: Path) -> None:
    said = PngInfo()
    if software is not None:
        said.add_text("Software", software)
    Image.fromarray((phantom.pixels >> 4).astype(np.uint8)).save(tmp_path / "a.png", pnginfo=said)
    assert not read_radiograph(tmp_path / "a.png").phantom


def test_masks_are_no_phantoms_and_pixels_are_as_without_the_mark(folder: Path, tmp_path: Path) -> None:
    assert not any(read_radiograph(path).phantom for path in (folder / "masks").iterdir())
    path = next((folder / "images").iterdir())
    Image.open(path).save(tmp_path / "bare.png")
    marked, bare = read_radiograph(path), read_radiograph(tmp_path / "bare.png")
    np.testing.assert_array_equal(marked.pixels, bare.pixels)
    assert marked.steps == bare.steps
    assert path.stat().st_size <= (tmp_path / "bare.png").stat().st_size + 64
