"""The presentation state: outlines to the pixel, colours of the figure, grey levels as they were read."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from altered_sources import bare, explained_frame, multi_frame
from diagonal import diagonal
from dicom_markers import marker_maps, marker_radiograph, study_of
from dicom_sources import changed, explained, explainer, objects_of, phantom_file
from dicom_tools import dciodvfy_errors
from highdicom.color import CIELabColor
from PIL import Image
from pydicom import Dataset
from skimage.draw import polygon2mask

from cxr_explain import read_radiograph
from cxr_explain.dicom.objects import dicom_objects
from cxr_explain.dicom.presentation import MOST_POINTS, layer_name, thinned
from cxr_explain.dicom.regions import EvidenceRegion, evidence_regions
from cxr_explain.errors import DicomObjectError
from cxr_explain.figures.palette import ClassStyle
from cxr_explain.geometry import Geometry

WHEN = datetime(2020, 1, 2, 3, 4, 5)
KINDS = ("presentation",)


def lines_of(annotation: Dataset) -> list[np.ndarray]:
    """The lines of an annotation as (n, 2) of (x, y)."""
    return [
        np.array(line.GraphicData, np.float64).reshape(-1, 2) for line in annotation.GraphicObjectSequence
    ]


def shown(state: Path, source: Path, folder: Path, *options: str) -> np.ndarray:
    """The grey levels that dcmtk shows of a source under a state."""
    command = ["dcmp2pgm", *options, "-p", str(state), str(source), str(folder / "out.pgm")]
    subprocess.run(command, check=True, capture_output=True)
    with Image.open(folder / "out.pgm") as image:
        return np.asarray(image).astype(int)


def test_outlines_are_those_of_the_regions(tmp_path: Path) -> None:
    explanation, file = explained(tmp_path, phantom_file(42, 256))
    made = dicom_objects(explanation, file, kinds=KINDS, threshold=0.4)["presentation"].dataset
    regions = evidence_regions(explanation, 0.4)
    *annotations, notice = made.GraphicAnnotationSequence
    layers = {layer.GraphicLayer: layer for layer in made.GraphicLayerSequence}
    assert len(regions) == len(annotations) >= 2
    for region, annotation in zip(regions, annotations, strict=True):
        lines = lines_of(annotation)
        for line, outline in zip(lines, region.outlines, strict=True):
            np.testing.assert_allclose(line, outline, atol=1e-4)
            assert (line[0] == line[-1]).all()
        inside = sum(polygon2mask((256, 256), line[:, ::-1] - 0.5).astype(int) for line in lines) % 2 == 1
        around = sum(np.hypot(*np.diff(line, axis=0).T).sum() for line in lines)
        assert (inside != region.mask).sum() <= 0.3 * around  # they differ at the edge alone
        layer = layers[annotation.GraphicLayer]
        colour = CIELabColor.from_dicom_value(list(layer.GraphicLayerRecommendedDisplayCIELabValue))
        assert np.abs(np.array(colour.to_rgb()) - np.array(region.style.rgb) * 255).max() <= 1
        (text,) = annotation.TextObjectSequence
        assert text.UnformattedTextValue.startswith(f"{region.rank} {region.pathology} ")
        assert layer.GraphicLayerDescription == region.pathology
    assert notice.TextObjectSequence[0].UnformattedTextValue == "Research use only - not for diagnosis"


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    made = objects_of(tmp_path, phantom_file(42, 96), kinds=KINDS)["presentation"].dataset
    source = pydicom.dcmread(tmp_path / "source.dcm")
    assert made.ContentLabel == "RESEARCH ONLY"
    assert "Research use only" in made.ContentDescription
    (series,) = made.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert series.ReferencedImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    (area,) = made.DisplayedAreaSelectionSequence
    assert list(area.DisplayedAreaTopLeftHandCorner) == [1, 1]
    assert list(area.DisplayedAreaBottomRightHandCorner) == [96, 96]


def test_what_reaches_the_edge_is_led_along_it() -> None:
    values = np.zeros((4, 4), np.float32)
    values[0, 0] = values[3, 3] = 1
    geometry = Geometry.fit_square((120, 160), 224)
    region = EvidenceRegion("Mass", 1, ClassStyle("Mass", 1, "#FFFFFF"), values, geometry, 0.5)
    assert len(region.outlines) == 2
    for line in region.outlines:
        assert (line[0] == line[-1]).all()
    inside = sum(polygon2mask((120, 160), line[:, ::-1] - 0.5).astype(int) for line in region.outlines)
    assert (inside != region.mask).sum() <= 0.01 * region.mask.sum()


def no_window(header: Dataset) -> None:
    del header.WindowCenter, header.WindowWidth


def narrow(header: Dataset) -> None:
    header.WindowCenter, header.WindowWidth = ["1500", "1800"], ["2000", "1000"]


def unlike(header: Dataset) -> None:
    header.WindowCenter, header.WindowWidth = "30000", "2"  # everything is black: reading passes over it


def sigmoid(header: Dataset) -> None:
    header.WindowCenter, header.WindowWidth, header.VOILUTFunction = "1800", "1500", "SIGMOID"


def rescaled(header: Dataset) -> None:
    header.RescaleSlope, header.RescaleIntercept = "0.5", "-300"
    header.WindowCenter, header.WindowWidth = "700", "1600"


def lut(header: Dataset, bits: int, scale: float) -> None:
    no_window(header)
    item = Dataset()
    entries = (np.linspace(0, 1, 4096) ** 2 * scale).round().astype("<u2")
    item.add_new("LUTDescriptor", "US", [4096, 0, bits])
    item.add_new("LUTData", "OW", entries.tobytes())
    header.VOILUTSequence = [item]


def modality_lut(header: Dataset) -> None:
    lut(header, 10, 1023)
    header.ModalityLUTSequence = header.VOILUTSequence
    header.ModalityLUTSequence[0].ModalityLUTType = "US"
    for keyword in ("VOILUTSequence", "RescaleSlope", "RescaleIntercept", "RescaleType"):
        del header[keyword]
    header.WindowCenter, header.WindowWidth = "400", "700"


@pytest.mark.dcmtk
@pytest.mark.skipif(shutil.which("dcmp2pgm") is None, reason="Debian's dcmtk is not installed")
@pytest.mark.parametrize(
    ("change", "photometric"),
    diagonal(
        [
            lambda header: None,
            no_window,
            narrow,
            unlike,
            rescaled,
            modality_lut,
            lambda header: lut(header, 12, 4095),
            lambda header: lut(header, 16, 16383),  # 14 bits declared as 16, as CR systems write them
        ],
        ["MONOCHROME1", "MONOCHROME2"],
    ),
)
def test_grey_levels_are_those_that_were_read(
    tmp_path: Path,
    change,  # type: ignore[no-untyped-def]
    photometric: str,
) -> None:
    made = objects_of(tmp_path, changed(phantom_file(42, 96, photometric), change), kinds=KINDS)
    (path,) = made.save(tmp_path / "out")
    read = read_radiograph(tmp_path / "source.dcm").display.astype(int)
    assert np.abs(shown(path, tmp_path / "source.dcm", tmp_path) - read).max() <= 1
    assert len(np.unique(read)) > 20
    subprocess.run(["dcmpschk", path], check=True, capture_output=True)


def test_a_function_of_the_window_is_kept(tmp_path: Path) -> None:
    made = objects_of(tmp_path, changed(phantom_file(42, 96), sigmoid), kinds=KINDS)["presentation"]
    (voi,) = made.dataset.SoftcopyVOILUTSequence
    assert (voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction) == (1800, 1500, "SIGMOID")


def test_the_window_that_was_asked_for_is_the_one(tmp_path: Path) -> None:
    file = tmp_path / "source.dcm"
    file.write_bytes(phantom_file(42, 96))
    explanation = explainer().explain(read_radiograph(file, voi="1500/900"), top_k=3)
    (voi,) = dicom_objects(explanation, file, kinds=KINDS)["presentation"].dataset.SoftcopyVOILUTSequence
    assert (voi.WindowCenter, voi.WindowWidth) == (1500, 900)


def test_the_frame_that_was_explained_is_named(tmp_path: Path) -> None:
    explanation, file = explained_frame(tmp_path, multi_frame(phantom_file(42, 96)), 2)
    objects = dicom_objects(explanation, file, kinds=KINDS)
    assert not objects.not_made
    made = objects["presentation"].dataset
    assert made.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedFrameNumber == 3
    for annotation in made.GraphicAnnotationSequence:
        assert annotation.ReferencedImageSequence[0].ReferencedFrameNumber == 3


def test_pixels_that_are_not_square_are_shown_so(tmp_path: Path) -> None:
    oblong = changed(phantom_file(42, 96), lambda header: setattr(header, "ImagerPixelSpacing", ["2", "1"]))
    made = objects_of(tmp_path, oblong, kinds=KINDS)["presentation"].dataset
    (area,) = made.DisplayedAreaSelectionSequence
    assert list(area.PresentationPixelSpacing) == [2, 1]
    assert "PresentationPixelAspectRatio" not in area


def test_without_a_region_there_is_no_state(tmp_path: Path) -> None:
    explanation, file = explained(tmp_path, phantom_file(42, 96))
    none = replace(explanation, maps=np.zeros_like(explanation.maps))
    error = dicom_objects(none, file, kinds=KINDS).not_made["presentation"]
    assert isinstance(error, DicomObjectError)
    assert "GraphicAnnotationSequence" in str(error)


@pytest.mark.parametrize("shape", [(1, 60), (60, 1)])
def test_a_line_of_pixels_has_no_area_to_display(tmp_path: Path, shape: tuple[int, int]) -> None:
    made = study_of(tmp_path, marker_radiograph(shape=shape), marker_maps(), kinds=KINDS).objects
    assert "DisplayedAreaSelectionSequence" in str(made.not_made["presentation"])


def test_a_source_of_an_unknown_class_is_named(tmp_path: Path) -> None:
    def private(header: Dataset) -> None:
        header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.3.4"

    explanation, file = explained(tmp_path, changed(phantom_file(42, 96), private))
    error = dicom_objects(explanation, file, kinds=KINDS).not_made["presentation"]
    assert isinstance(error, DicomObjectError)
    assert "SOPClassUID" in str(error)


def test_names_of_layers_are_code_strings_and_unique(tmp_path: Path) -> None:
    explanation, _ = explained(tmp_path, phantom_file(42, 96))
    region = evidence_regions(explanation, 0.5)[0]
    names = ("Enlarged Cardiomediastinum", "2nd rib", "", "Résumé\\x", "_", "Lung Lesion")
    made = [layer_name(replace(region, pathology=name, rank=at)) for at, name in enumerate(names, 8)]
    assert made == ["ENLARGED_CARDI 8", "P2ND_RIB 9", "P 10", "R_SUM_X 11", "P 12", "LUNG_LESION 13"]


def test_a_line_is_no_longer_than_its_length_can_say() -> None:
    around = np.linspace(0, 2 * np.pi, 3 * MOST_POINTS)
    line = np.stack([np.cos(around), np.sin(around)], axis=1)
    line[-1] = line[0]
    fewer = thinned(line)
    assert len(fewer) <= MOST_POINTS
    assert 8 * len(fewer) < 2**16
    assert (fewer[0] == fewer[-1]).all()


def test_the_same_settings_and_time_give_the_same_bytes(tmp_path: Path) -> None:
    data = phantom_file(42, 96)
    first, second = (objects_of(tmp_path, data, kinds=KINDS, created=WHEN) for _ in range(2))
    assert first["presentation"].to_bytes() == second["presentation"].to_bytes()


@pytest.mark.dicom3tools
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="Debian's dicom3tools is not installed")
@pytest.mark.parametrize(
    "change",
    [
        None,
        bare,
        lambda data: changed(data, lambda header: lut(header, 12, 4095)),
        lambda data: changed(data, rescaled),
        lambda data: changed(data, modality_lut),
        multi_frame,
    ],
)
def test_dciodvfy_finds_no_error(tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    data = phantom_file(42, 96, "MONOCHROME1")
    data = data if change is None else change(data)
    explanation, file = explained_frame(tmp_path, data, 1 if change is multi_frame else None)
    made = dicom_objects(explanation, file, kinds=KINDS)
    assert not made.not_made
    (path,) = made.save(tmp_path / "out")
    assert dciodvfy_errors(path) == []
