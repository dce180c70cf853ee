"""Radiographs as MetaTensors: their axes, what they say, and what they keep to themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Flip, LoadImage, Rotate90, ScaleIntensity, Transposed, ZoomD
from numpy.typing import NDArray

from cxr_explain import Explainer, Radiograph, read_radiograph
from cxr_explain.errors import OptionError
from cxr_explain.integrations.monai import PrepareRadiographd, ReadRadiographd
from cxr_explain.integrations.monai.axes import Turn
from cxr_explain.integrations.monai.images import to_meta_tensor, to_radiograph

TURNS = [Turn(a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)]


def read(path: Path) -> MetaTensor:
    return ReadRadiographd("image")({"image": path})["image"]


def test_rows_come_before_columns_where_monais_reader_swaps_them(upright: Path) -> None:
    ours = read(upright)
    monais = LoadImage(ensure_channel_first=True)(upright)
    assert ours.shape == (1, 256, 216)
    assert monais.shape == (1, 216, 256)
    assert ours.dtype == torch.float32
    assert float(ours.min()) >= -1024
    assert float(ours.max()) <= 1024
    np.testing.assert_allclose((ours[0].numpy() + 1024) * 255 / 2048, monais[0].numpy().T, atol=1e-3)


def test_the_affine_places_each_pixel_where_monais_reader_does(upright: Path) -> None:
    ours, monais = read(upright), LoadImage(ensure_channel_first=True)(upright)
    for row, column in ((0, 0), (0, 215), (255, 0), (17, 80)):
        here = ours.affine @ torch.tensor([row, column, 0, 1.0], dtype=torch.float64)
        there = monais.affine @ torch.tensor([column, row, 0, 1.0], dtype=torch.float64)
        torch.testing.assert_close(here, there)
        grey = (float(ours[0, row, column]) + 1024) * 255 / 2048
        assert grey == pytest.approx(float(monais[0, column, row]), abs=1e-3)


def test_the_affine_has_the_spacing_of_rows_and_columns() -> None:
    pixels = np.zeros((4, 5), np.float32)
    given_spacing = {"pixel_spacing": (0.2, 0.1), "pixel_spacing_source": "ImagerPixelSpacing"}
    plain = Radiograph.from_array(pixels)
    image = to_meta_tensor(replace(plain, **given_spacing))
    assert image.affine[:2, :2].tolist() == [[0.0, 0.1], [0.2, 0.0]]  # type: ignore[attr-defined]
    radiograph, _ = to_radiograph(image)
    assert radiograph.pixel_spacing == (0.2, 0.1)
    assert radiograph.pixel_spacing_source == "ImagerPixelSpacing"


@pytest.mark.parametrize("kind", ["images/*.png", "dicom/*.dcm"])
def test_there_and_back_is_the_same_radiograph(phantoms: Path, kind: str) -> None:
    for path in sorted(phantoms.glob(kind)):
        before = read_radiograph(path)
        after, turn = to_radiograph(to_meta_tensor(before))
        assert turn == Turn()
        np.testing.assert_array_equal(after.pixels, before.pixels)
        for name in set(vars(before)) - {"pixels", "display", "metadata", "frame"}:
            assert getattr(after, name) == getattr(before, name), name


def test_nothing_of_the_patient_and_no_path_is_in_the_metadata(phantoms: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(sorted((phantoms / "dicom").glob("*.dcm"))[0])
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "MRN4711"
    dataset.PatientBirthDate, dataset.AccessionNumber = "19500203", "ACC0815"
    folder = tmp_path / "Doe_Jane"
    folder.mkdir()
    dataset.save_as(folder / "Jane_Doe_MRN4711.dcm")
    image = read(folder / "Jane_Doe_MRN4711.dcm")
    said = " ".join(f"{key} {value}" for key, value in image.meta.items()).casefold()
    for secret in ("doe", "jane", "4711", "1950", "0815", str(tmp_path).casefold()):
        assert secret not in said
    assert image.meta["filename_or_obj"] == f"{image.meta['sha256'][:12]}.dcm"


def test_a_name_with_dots_is_not_cut_by_those_who_take_off_an_ending() -> None:
    from monai.data.utils import create_file_basename

    image = to_meta_tensor(Radiograph.from_array(np.zeros((4, 5), np.float32), id="1.2.840.10008"))
    name = create_file_basename("", image.meta["filename_or_obj"], "out", makedirs=False)  # type: ignore[attr-defined]
    assert Path(name).name == "1.2.840.10008"


@pytest.mark.parametrize("turn", TURNS)
def test_a_turn_is_undone_and_redone(turn: Turn) -> None:
    upright = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    turned = turn.redo(upright)
    assert turned.shape == ((2, 4, 3) if turn.transposed else (2, 3, 4))
    np.testing.assert_array_equal(turn.undo(turned), upright)


@pytest.mark.parametrize("turn", TURNS)
def test_a_turn_is_told_by_where_a_step_leads(turn: Turn) -> None:
    """By hand: the pixel above, and the one to the left, of each pixel of the turned image."""
    upright = np.arange(12, dtype=np.float32).reshape(3, 4)
    turned = turn.redo(upright)

    def place(value: float) -> NDArray[np.intp]:
        return np.argwhere(upright == value)[0]

    steps = [place(turned[1, 0]) - place(turned[0, 0]), place(turned[0, 1]) - place(turned[0, 0])]
    assert Turn.of(np.stack(steps, axis=1).astype(float)) == turn


@given(st.floats(-0.7, 0.7), st.floats(0.1, 9.0), st.floats(0.1, 9.0))
def test_a_small_rotation_or_another_spacing_is_no_turn(angle: float, a: float, b: float) -> None:
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert Turn.of(rotation * a) == Turn()
    assert Turn.of(np.diag([a, b])) == Turn()


def test_the_radiograph_is_upright_whatever_monai_did(upright: Path) -> None:
    image = read(upright)
    for transform in (Flip(0), Flip(1), Rotate90(1), Rotate90(2), Rotate90(3)):
        radiograph, turn = to_radiograph(transform(image))
        np.testing.assert_array_equal(radiograph.pixels, image[0].numpy())
        assert radiograph.sha256 == image.meta["sha256"]
        assert radiograph.format == "PNG"
        assert radiograph.steps[-1] == f"turned upright for the model ({turn.words})"


def test_changed_pixels_have_their_own_digest_and_are_among_the_steps(upright: Path) -> None:
    image = ZoomD("image", zoom=1.2, mode="bilinear")({"image": read(upright)})["image"]
    radiograph, _ = to_radiograph(image)
    assert radiograph.sha256 != image.meta["sha256"]
    assert radiograph.format == "array"
    assert radiograph.steps[-1] == "MONAI: Zoom"
    assert radiograph.phantom
    unrecorded, _ = to_radiograph(read(upright) * 0.5)
    assert unrecorded.steps[-1] == "MONAI: transforms that leave no record"


def test_an_interpolation_may_overshoot_a_little(upright: Path) -> None:
    image = read(upright)
    image[0, 0, 0] = 1024.3
    assert float(to_radiograph(image)[0].pixels.max()) == 1024
    image[0, 0, 0] = 1025
    with pytest.raises(OptionError, match=r"expected values in \[-1024, 1024\]"):
        to_radiograph(image)


def test_an_image_whose_axes_nobody_told_is_refused(upright: Path) -> None:
    loaded = LoadImage(ensure_channel_first=True)(upright) / 255 * 2048 - 1024
    for image in (loaded, torch.zeros(1, 4, 5)):
        with pytest.raises(OptionError, match="Read it with ReadRadiographd, or say axes="):
            to_radiograph(image)
    radiograph, turn = to_radiograph(loaded, axes="columns-rows")
    assert turn == Turn(transposed=True)
    np.testing.assert_allclose(radiograph.pixels, read(upright)[0].numpy(), atol=1e-3)
    flipped, turn = to_radiograph(Flip(0)(loaded), axes="columns-rows")
    assert turn == Turn(transposed=True, columns_flipped=True)
    np.testing.assert_array_equal(flipped.pixels, radiograph.pixels)
    assert to_radiograph(torch.zeros(1, 4, 5), axes="rows-columns")[0].shape == (4, 5)


def test_what_is_no_grey_radiograph_is_refused(upright: Path) -> None:
    image = read(upright)
    with pytest.raises(OptionError, match=r"an image of shape \(1, 1, 256, 216\); expected \(1, H, W\)"):
        to_radiograph(image[None])
    with pytest.raises(OptionError, match="Use Orientationd in its place"):
        to_radiograph(Transposed("i", (0, 2, 1))({"i": image})["i"])
    with pytest.raises(OptionError, match=r"values within \[0, 1\]"):
        to_radiograph(ScaleIntensity()(image))
    with pytest.raises(OptionError, match="axes='upright'"):
        to_radiograph(image, axes="upright")  # type: ignore[arg-type]


def test_without_metadata_a_tensor_remains(upright: Path, untracked: None) -> None:
    assert not isinstance(read(upright), MetaTensor)


@pytest.mark.parametrize("known", [None, True, False])
def test_how_a_file_was_read_stays_known(known: bool | None) -> None:
    radiograph = replace(Radiograph.from_array(np.zeros((40, 50), np.float32)), xrv_compatible=known)
    image = to_meta_tensor(radiograph)
    assert isinstance(image.meta["xrv_compatible"], str), "to collate with images of which it is unknown"
    back, _ = to_radiograph(image)
    assert back.xrv_compatible is known


def test_a_reader_and_an_explainer_that_disagree_are_refused(explainer: Explainer, phantoms: Path) -> None:
    path = sorted((phantoms / "images").glob("*.png"))[0]
    other = Explainer(explainer.classifier, xrv_compatible=True)
    item = ReadRadiographd("image")({"image": path})
    with pytest.raises(OptionError, match="xrv_compatible=False; expected xrv_compatible=True"):
        PrepareRadiographd("image", other)(item)
    item = ReadRadiographd("image", xrv_compatible=True)({"image": path})
    assert PrepareRadiographd("image", other)(item)["image"].shape == (1, 224, 224)
