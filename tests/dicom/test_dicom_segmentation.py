"""The Segmentation object: its masks, colours and codes, and what it says of a radiograph's place."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_markers import GRID, HEIGHT, WIDTH, marker_maps, marker_radiograph, marker_study, study_of
from dicom_sources import changed
from dicom_tools import dciodvfy_errors, needs_dciodvfy
from matplotlib.colors import to_rgb
from pydicom import Dataset
from skimage.color import lab2rgb

from cxr_explain.dicom.codes import PRIVATE_SCHEME, pathology_code
from cxr_explain.dicom.identifiers import uid_of
from cxr_explain.dicom.regions import evidence_regions
from cxr_explain.dicom.segmentation import NO_SPACING
from cxr_explain.errors import DicomObjectError
from cxr_explain.figures.palette import PREFERRED, class_styles

KIND = ("segmentation",)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory):
    return marker_study(tmp_path_factory.mktemp("marked"), kinds=KIND)


@pytest.fixture(scope="module")
def written(marked, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = marked.objects.save(tmp_path_factory.mktemp("written"))
    return path


def test_segments_are_the_regions_of_the_ranked_pathologies(marked, written) -> None:
    regions = evidence_regions(marked.explanation, 0.5)
    read = highdicom.seg.segread(written)
    assert read.segmentation_type.value == "BINARY"
    assert [each.segment_label for each in read.SegmentSequence] == [each.pathology for each in regions]
    masks = read.get_pixels_by_source_instance([_source(marked).SOPInstanceUID])
    assert masks.shape == (1, HEIGHT, WIDTH, len(regions))
    for number, region in enumerate(regions):
        assert np.array_equal(masks[0, :, :, number], region.mask), region.pathology
    assert np.array_equal(pydicom.dcmread(written).pixel_array, [region.mask for region in regions])


def test_a_mask_lies_where_its_cells_do(marked, written) -> None:
    """The model's square of 400 pixels has 8 cells of 50, and the radiograph begins 50 rows below its top."""
    first, second = pydicom.dcmread(written).pixel_array.astype(bool)
    for mask, inside, beyond in (
        (first, (50, 50), [(250, 50), (50, 350), (250, 350)]),
        (second, (175, 275), [(125, 275), (175, 125), (125, 125)]),
    ):
        assert mask[inside]
        assert not any(mask[other] for other in beyond)  # mirrored, turned about
    assert first[:100, :100].mean() > 0.95
    assert first.sum() == pytest.approx(100 * 100, rel=0.06)


def test_what_a_segment_says(marked, written) -> None:
    made = pydicom.dcmread(written)
    known = marked.explanation.provenance
    for segment, region in zip(made.SegmentSequence, evidence_regions(marked.explanation, 0.5), strict=True):
        code = segment.SegmentedPropertyTypeCodeSequence[0]
        assert (code.CodeValue, code.CodingSchemeDesignator) == pathology_code(region.pathology)[:2]
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        assert segment.SegmentAlgorithmName == algorithm.AlgorithmName == f"{known.method}, {known.model}"
        assert algorithm.AlgorithmVersion == f"cxr-explain {known.package_version}"
        for said in (known.weights_sha256, "threshold=0.5", "K=2"):
            assert said in algorithm.AlgorithmParameters
        assert "50 % of the peak" in segment.SegmentDescription
        assert "not the outline of a finding" in segment.SegmentDescription
    uids = {segment.TrackingUID for segment in made.SegmentSequence}
    assert len(uids) == len(made.SegmentSequence)
    assert made.ContentLabel == "RESEARCH ONLY"
    assert made.ContentDescription == "Fused map at 50 % of the peak or more. Research use only."
    assert made.ImageType == ["DERIVED", "PRIMARY"]
    assert "50 % of the peak" in made.DerivationDescription


def test_it_refers_to_its_source(marked, written) -> None:
    made, source = pydicom.dcmread(written), _source(marked)
    (series,) = made.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    frames = [frame.DerivationImageSequence[0] for frame in made.PerFrameFunctionalGroupsSequence]
    for item in (made, *frames):
        (image,) = item.SourceImageSequence
        assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert "ReferencedFrameNumber" not in image
    assert made.StudyInstanceUID == source.StudyInstanceUID


@pytest.mark.parametrize("colour", sorted({*PREFERRED.values(), "#000000", "#FFFFFF", "#FF0000", "#0000FF"}))
def test_a_colour_comes_back_within_one_level(colour: str) -> None:
    """By scikit-image's conversion, which highdicom has no part in, for light of D65 as OHIF's is."""
    value = highdicom.color.CIELabColor.from_string(colour).value
    lightness, a, b = (np.array(value) / 0xFFFF) * (100, 255, 255) - (0, 128, 128)
    back = lab2rgb([lightness, a, b]) * 255
    assert np.abs(back - np.array(to_rgb(colour)) * 255).max() <= 1


def test_colours_are_those_of_the_figure_and_of_the_user(marked, tmp_path) -> None:
    own = {"Cardiomegaly": "#12AB34"}
    for colours in (None, own):
        study = marker_study(tmp_path, kinds=KIND, colours=colours)
        styles = class_styles(study.explanation.ranking.pathologies, colours)
        for segment, style in zip(study.objects["segmentation"].dataset.SegmentSequence, styles, strict=True):
            expected = highdicom.color.CIELabColor.from_string(style.colour).value
            assert tuple(segment.RecommendedDisplayCIELabValue) == expected, style


def test_the_threshold_is_a_share_of_each_maps_own_peak(tmp_path) -> None:
    maps = marker_maps()
    maps[1] *= 0.3
    sizes = []
    for threshold in (0.25, 0.5, 0.75):
        study = study_of(tmp_path, marker_radiograph(), maps, kinds=KIND, threshold=threshold)
        made = study.objects["segmentation"].dataset
        sizes.append(made.pixel_array.sum(axis=(1, 2)))
        assert f"{100 * threshold:g} %" in made.ContentDescription
    assert (np.diff(np.array(sizes, int), axis=0) < 0).all()  # a higher threshold, less of each segment


def test_regions_that_overlap_are_both_kept(tmp_path) -> None:
    maps = np.zeros((2, GRID, GRID), np.float32)
    maps[0, 2:5, 2:5] = 0.5
    maps[1, 3:6, 3:6] = 0.5
    made = study_of(tmp_path, marker_radiograph(), maps, kinds=KIND).objects["segmentation"].dataset
    assert made.SegmentsOverlap == "YES"
    first, second = made.pixel_array.astype(bool)
    assert (first & second).sum() > 50 * 50
    assert marker_study(tmp_path, kinds=KIND).objects["segmentation"].dataset.SegmentsOverlap == "NO"


def test_without_a_region_there_is_no_segmentation_and_the_others_are_there(tmp_path) -> None:
    nowhere = np.zeros((2, GRID, GRID), np.float32)
    made = study_of(tmp_path, marker_radiograph(), nowhere, kinds=("overlay", *KIND)).objects
    assert [each.kind for each in made] == ["overlay"]
    error = made.not_made["segmentation"]
    assert isinstance(error, DicomObjectError)
    assert "SegmentSequence" in str(error)


def test_planes_say_that_a_frame_is_the_radiograph(marked, written) -> None:
    made, source = pydicom.dcmread(written), _source(marked)
    (shared,) = made.SharedFunctionalGroupsSequence
    assert shared.PixelMeasuresSequence[0].PixelSpacing == source.ImagerPixelSpacing
    assert shared.PixelMeasuresSequence[0].SliceThickness == 1
    assert "any slice thickness is nominal" in made.DerivationDescription
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    for frame in made.PerFrameFunctionalGroupsSequence:
        assert frame.PlanePositionSequence[0].ImagePositionPatient == [0, 0, 0]
    assert made.PatientOrientation == source.PatientOrientation


def test_a_spacing_is_never_made_up(tmp_path) -> None:
    data = changed(marker_radiograph(), lambda header: header.__delattr__("ImagerPixelSpacing"))
    study = study_of(tmp_path, data, marker_maps(), kinds=KIND)
    made = study.objects["segmentation"].dataset
    (measures,) = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert [element.keyword for element in measures] == ["PixelSpacingCalibrationDescription"]
    assert measures.PixelSpacingCalibrationDescription == NO_SPACING
    (path,) = study.objects.save(tmp_path / "out")
    read = highdicom.imread(path)  # segread wants a spacing, whatever the standard says
    assert np.array_equal(read.get_frames(), made.pixel_array)


@pytest.mark.parametrize("keyword", ["PixelSpacing", "NominalScannedPixelSpacing"])
def test_rows_and_columns_keep_their_spacings(keyword: str, tmp_path) -> None:
    def other(header: Dataset) -> None:
        del header.ImagerPixelSpacing
        setattr(header, keyword, ["0.2", "0.14"])

    data = changed(marker_radiograph(), other)
    made = study_of(tmp_path, data, marker_maps(), kinds=KIND).objects["segmentation"].dataset
    (measures,) = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert measures.PixelSpacing == [0.2, 0.14]


def _as_it_is(header: Dataset) -> None:
    pass


def _without_much(header: Dataset) -> None:
    header.PatientOrientation = ""
    del header.ImagerPixelSpacing


def _in_a_frame_of_reference(header: Dataset) -> None:
    header.FrameOfReferenceUID, header.PositionReferenceIndicator = uid_of("frame"), ""


@pytest.mark.parametrize("change", [_as_it_is, _without_much, _in_a_frame_of_reference])
@pytest.mark.parametrize("mark", [pytest.param(None, marks=needs_dciodvfy)])
def test_dciodvfy_finds_no_error(change: Callable[[Dataset], None], mark: None, tmp_path) -> None:
    data = changed(marker_radiograph("MONOCHROME1"), change)
    made = study_of(tmp_path, data, marker_maps(), kinds=KIND).objects
    assert "FrameOfReferenceUID" not in made["segmentation"].dataset  # it has no place there
    for path in made.save(tmp_path / "out"):
        assert dciodvfy_errors(path) == []


def test_the_frame_that_was_explained_is_named(tmp_path) -> None:
    def of_two_frames(header: Dataset) -> None:
        header.NumberOfFrames = 2
        header.PixelData = 2 * header.PixelData

    data = changed(marker_radiograph(), of_two_frames)
    made = study_of(tmp_path, data, marker_maps(), kinds=KIND, frame=1).objects["segmentation"].dataset
    for frame in made.PerFrameFunctionalGroupsSequence:
        assert frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber == 2
    assert made.SourceImageSequence[0].ReferencedFrameNumber == 2
    assert "ReferencedFrameNumber" not in made.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]


def test_the_same_input_gives_the_same_identifiers(marked, tmp_path) -> None:
    again = marker_study(tmp_path, kinds=KIND).objects["segmentation"].dataset
    made = marked.objects["segmentation"].dataset
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "DimensionOrganizationSequence"):
        assert made[keyword] == again[keyword]


def test_a_private_code_comes_with_its_scheme(tmp_path) -> None:
    for k, expected in ((2, []), (8, [PRIVATE_SCHEME])):
        maps = np.zeros((k, GRID, GRID), np.float32)
        maps[np.arange(k), 4, np.arange(k)] = 0.5
        made = study_of(tmp_path, marker_radiograph(), maps, kinds=KIND).objects["segmentation"].dataset
        types = [each.SegmentedPropertyTypeCodeSequence[0] for each in made.SegmentSequence]
        assert (PRIVATE_SCHEME in {each.CodingSchemeDesignator for each in types}) == bool(expected)
        declared = made.get("CodingSchemeIdentificationSequence", ())
        assert [each.CodingSchemeDesignator for each in declared] == expected


@pytest.mark.parametrize("shape", [(2, 3), (1, 7), (20, 21), (33, 31)], ids=str)
def test_frames_follow_bit_after_bit_and_zeros_fill_the_last_byte(tmp_path, shape: tuple[int, int]) -> None:
    study = study_of(tmp_path, marker_radiograph(shape=shape), marker_maps(), kinds=KIND)
    masks = [region.mask for region in evidence_regions(study.explanation, 0.5)]
    packed = np.packbits(np.concatenate([mask.ravel() for mask in masks]), bitorder="little").tobytes()
    assert study.objects["segmentation"].dataset.PixelData == packed + bytes(len(packed) % 2)


def test_a_pixel_of_a_segment_costs_one_bit(tmp_path) -> None:
    shape = (1500, 1200)
    study = study_of(tmp_path, marker_radiograph(shape=shape), marker_maps(), kinds=KIND)
    pixels = 2 * shape[0] * shape[1] // 8
    assert pixels < len(study.objects["segmentation"].to_bytes()) < pixels + 20_000


def _source(study) -> Dataset:
    return pydicom.dcmread(io.BytesIO(study.source))
