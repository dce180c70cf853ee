"""A data set of phantoms: NIH's layout, DICOM in both polarities, masks and counterfactuals."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxr_explain import ensure_torchvision_imports, read_radiograph
from cxr_explain.cli.app import app
from cxr_explain.errors import OptionError, OutputError
from cxr_explain.phantom import render, sample_patient
from cxr_explain.phantom.dataset import BOXES, LABELS, write_dataset
from cxr_explain.phantom.dicom import to_dicom
from cxr_explain.reference import read_references

N, SIZE = 8, 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    result = CliRunner().invoke(
        app, ["phantom", "--n", str(N), "--out", str(folder), "--seed", "7", "--size", str(SIZE)]
    )
    assert result.exit_code == 0, result.output
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_arguments_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for _ in write_dataset(tmp_path / "again", n=N, seed=7, size=SIZE):
        pass
    assert digests(tmp_path / "again") == digests(folder)


def test_nihs_readers_read_it(folder: Path) -> None:
    table = read_references(labels=folder / LABELS, boxes=folder / BOXES)
    names = {path.name for path in (folder / "images").iterdir()}
    assert len(names) == N
    assert set(table.manifest.paths) == names
    lists = [(folder / name).read_text().split() for name in ("train_val_list.txt", "test_list.txt")]
    assert sorted(lists[0] + lists[1]) == sorted(names)
    found = 0
    for name in names:
        labels = table.labels_for(name, (SIZE, SIZE))
        for box in labels.boxes:
            mask = (
                np.asarray(Image.open(folder / "masks" / f"{Path(name).stem}-{box.pathology.lower()}.png"))
                > 0
            )
            x, y, width, height = (round(edge) for edge in (box.x, box.y, box.width, box.height))
            part = mask[y : y + height, x : x + width]
            assert labels[box.pathology] == "positive"
            assert part.any(axis=0)[[0, -1]].all()
            assert part.any(axis=1)[[0, -1]].all()
            found += 1
    assert found >= 5


def test_counterfactuals_differ_where_the_mask_is(folder: Path) -> None:
    for path in (folder / "counterfactuals").iterdir():
        stem, _, pathology = path.stem.partition("-without-")
        image = np.asarray(Image.open(folder / "images" / f"{stem}.png")).astype(int)
        mask = np.asarray(Image.open(folder / "masks" / f"{stem}-{pathology}.png")) > 0
        changed = np.abs(image - np.asarray(Image.open(path)).astype(int)) > 2
        assert changed.any(), path.name
        assert changed[mask].mean() > 10 * changed[~mask].mean(), path.name


def test_dicom_reads_back_to_the_png_in_both_polarities(folder: Path) -> None:
    seen = set()
    for path in (folder / "dicom").iterdir():
        seen.add(pydicom.dcmread(path).PhotometricInterpretation)
        radiograph = read_radiograph(path)
        png = read_radiograph(folder / "images" / f"{path.stem}.png")
        assert np.abs(radiograph.pixels - png.pixels).max() <= 1024 / 127
        assert radiograph.view in ("PA", "AP")
        assert radiograph.patient_orientation == ("L", "F")
        assert radiograph.pixel_spacing is not None
    assert seen == {"MONOCHROME1", "MONOCHROME2"}


@pytest.mark.filterwarnings(
    "ignore:Converting MONOCHROME1 to MONOCHROME2"
)  # torchxrayvision tells what it does
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_twins_and_torchxrayvisions_reader_agree(bits: int, tmp_path: Path) -> None:
    ensure_torchvision_imports()
    from torchxrayvision.utils import read_xray_dcm

    phantom = render(sample_patient(3), size=64, bits=bits)
    images = []
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        path = tmp_path / f"{photometric}.dcm"
        path.write_bytes(to_dicom(phantom, photometric))
        images.append(read_radiograph(path).pixels)
        np.testing.assert_allclose(images[-1], read_xray_dcm(path), atol=1e-3)
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_allclose(images[0], (phantom.pixels / (2**bits - 1) * 2 - 1) * 1024, atol=1e-3)


@pytest.mark.dicom3tools
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="Debian's dicom3tools is not installed")
def test_dciodvfy_finds_no_error(folder: Path) -> None:
    for path in (folder / "dicom").iterdir():
        check = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in check.stdout + check.stderr, check.stderr
        assert check.returncode == 0


def test_bad_arguments_and_full_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not empty"):
        next(write_dataset(folder, n=1))
    with pytest.raises(OptionError, match="0 phantoms"):
        next(write_dataset(tmp_path, n=0))
    with pytest.raises(OptionError, match="bits 8"):
        next(write_dataset(tmp_path, n=1, bits=8))
    result = CliRunner().invoke(app, ["phantom", "--n", "1", "--out", str(folder)])
    assert (result.exit_code, "not empty" in result.stderr) == (1, True)


def begin(folder: Path, **arguments: int) -> None:
    """Write one phantom of a set, and stop."""
    next(write_dataset(folder, **arguments))  # type: ignore[arg-type]


def test_a_set_that_was_stopped_is_finished_by_the_same_arguments(tmp_path: Path) -> None:
    arguments = {"n": 2, "seed": 7, "size": 64}
    list(write_dataset(tmp_path / "whole", **arguments))
    begin(tmp_path / "stopped", **arguments)
    assert not (tmp_path / "stopped" / LABELS).exists()
    assert "unfinished.json" in digests(tmp_path / "stopped")
    list(write_dataset(tmp_path / "stopped", **arguments))
    assert digests(tmp_path / "stopped") == digests(tmp_path / "whole")
    with pytest.raises(OutputError, match="not empty"):
        begin(tmp_path / "stopped", **arguments)


@pytest.mark.parametrize("other", [{"n": 3}, {"seed": 8}, {"size": 96}, {"bits": 16}])
def test_a_set_that_was_stopped_is_not_mixed_with_another(other: dict[str, int], tmp_path: Path) -> None:
    arguments = {"n": 2, "seed": 7, "size": 64}
    begin(tmp_path, **arguments)
    before = digests(tmp_path)
    with pytest.raises(OutputError, match="other phantoms are unfinished"):
        begin(tmp_path, **arguments | other)
    assert digests(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"\xff" * 10, b"[" * 100_000])
def test_another_file_of_that_name_is_not_taken_for_ours(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "unfinished.json").write_bytes(content)
    with pytest.raises(OutputError, match="unfinished"):
        begin(tmp_path, n=1, size=64)
    assert (tmp_path / "unfinished.json").read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


def test_a_finding_that_changes_no_pixel_is_no_label() -> None:
    import types

    from cxr_explain.phantom.dataset import _visible

    masks = {"Mass": np.zeros((4, 4), bool), "Nodule": np.eye(4, dtype=bool)}
    assert _visible(types.SimpleNamespace(pathologies=("Mass", "Nodule"), masks=masks)) == ("Nodule",)  # type: ignore[arg-type]
