"""The objects in the OHIF viewer, which gets them from Orthanc: where they lie, and in which colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from dicom_markers import MarkerStudy, marker_maps, marker_radiograph, study_of
from dicom_sources import changed
from numpy.typing import NDArray
from ohif import Viewer, viewer
from pydicom import Dataset
from scipy.ndimage import binary_dilation, binary_erosion
from viewport_pixels import TINTED, Pixels, Place, colourfulness, overlap
from workstation import Workstation, missing, workstation

from cxr_explain.dicom.identifiers import uid_of
from cxr_explain.dicom.regions import EvidenceRegion, evidence_regions
from cxr_explain.figures.overlay import GAMMA, MAX_OPACITY
from cxr_explain.phantom.dicom import Photometric

pytestmark = [
    pytest.mark.ohif,
    pytest.mark.slow,  # a browser on all cores: `make viewer` runs it by itself
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

KINDS = ("overlay", "report", "segmentation")


def _as_it_is(header: Dataset) -> None:
    pass


def _with_little(header: Dataset) -> None:
    """Without spacing and orientation, and in a frame of reference."""
    del header.ImagerPixelSpacing
    header.PatientOrientation = ""
    header.FrameOfReferenceUID, header.PositionReferenceIndicator = uid_of("frame"), ""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(header, keyword, uid_of("with little", keyword))
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID


SOURCES: dict[str, tuple[Photometric, Callable[[Dataset], None]]] = {
    "MONOCHROME2": ("MONOCHROME2", _as_it_is),
    "MONOCHROME1": ("MONOCHROME1", _as_it_is),
    "with little": ("MONOCHROME2", _with_little),
}


@dataclass(frozen=True)
class Shown:
    """What the viewer showed of a study.

    Args:
        study: the study.
        place: where the image lay.
        radiograph: (h, w, 3) of the radiograph alone, and of each of these over or in place of it:
        capture: the overlay.
        segments: the segmentation.
        report: the structured report.
        labels: what stood over the image with the report.
        complaints: what the console said.
    """

    study: MarkerStudy
    place: Place
    radiograph: Pixels
    capture: Pixels
    segments: Pixels
    report: Pixels
    labels: list[str]
    complaints: list[str]

    @property
    def regions(self) -> tuple[EvidenceRegion, ...]:
        return evidence_regions(self.study.explanation, 0.5)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MarkerStudy]:
    return {
        name: study_of(
            tmp_path_factory.mktemp("study"),
            changed(marker_radiograph(photometric), change),
            marker_maps(),
            kinds=KINDS,
        )
        for name, (photometric, change) in SOURCES.items()
    }


@pytest.fixture(scope="module")
def server(studies, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workstation]:
    with workstation(tmp_path_factory.mktemp("workstation")) as running:
        for study in studies.values():
            running.store(study.files())
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Viewer]:
    pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with viewer() as opened:
        yield opened


@pytest.fixture(scope="module", params=SOURCES)
def shown(request: pytest.FixtureRequest, studies, server: Workstation, browser: Viewer) -> Shown:
    study, begun = studies[request.param], len(browser.complaints)
    radiograph = browser.open(server, study.uid)
    place = Place.of(radiograph)
    capture = browser.show("FM-G-CAM figures", _has_colour)
    segments = browser.show("FM-G-CAM regions", _has_colour, asks=True)
    regions = evidence_regions(study.explanation, 0.5)

    def has_outlines(shot: Pixels) -> bool:  # they come one after the other
        told = {name for label in browser.labels() for name in [label.partition(" probability")[0]]}
        return told >= {each.pathology for each in regions} and (colourfulness(shot) > 100).sum() > 1000

    browser.open(server, study.uid)  # anew: the viewer shows loaded segments again with their image
    report = browser.show("FM-G-CAM report", has_outlines)
    shots = (place.cut(each) for each in (radiograph, capture, segments, report))
    return Shown(study, place, *shots, browser.labels(), browser.complaints[begun:])


def _has_colour(shot: Pixels) -> bool:
    return (colourfulness(shot) > 2 * TINTED).sum() > 1000


def test_the_console_has_no_error(shown: Shown) -> None:
    assert shown.complaints == []


def test_the_radiograph_is_shown_as_it_is_meant(shown: Shown) -> None:
    """Brighter to the right and downwards, in either polarity, and in a white frame."""
    grey = shown.radiograph.mean(axis=2)
    height, width = grey.shape
    rows, columns = (np.array((0.1, 0.9)) * height).astype(int), (np.array((0.1, 0.9)) * width).astype(int)
    (top_left, top_right), (bottom_left, bottom_right) = grey[np.ix_(rows, columns)]
    assert top_left < bottom_left < top_right < bottom_right < grey[0, 0]
    assert colourfulness(shown.radiograph).max() == 0


def test_segments_lie_where_the_regions_do(shown: Shown) -> None:
    """Not mirrored, turned, shifted or scaled: a pixel of the radiograph is more than two of the screen's."""
    tinted, expected = colourfulness(shown.segments) > TINTED, _laid(shown)
    assert overlap(tinted, expected) > 0.98
    for mirrored in (expected[::-1], expected[:, ::-1], expected[::-1, ::-1]):
        assert overlap(tinted, mirrored) < 0.2
    shifts = [(down, right) for down in range(-5, 6) for right in range(-5, 6)]
    best = max(shifts, key=lambda by: overlap(np.roll(tinted, by, axis=(0, 1)), expected))
    assert max(map(abs, best)) <= 1


def test_segments_have_the_colours_of_the_figure(shown: Shown) -> None:
    before, after = shown.radiograph.astype(float), shown.segments.astype(float)
    for region in shown.regions:
        colour, mask = 255 * np.array(region.style.rgb), shown.place.laid(region.mask)
        # Within, the viewer mixes: (1 - a) g + a c.
        within = binary_erosion(mask, iterations=40)
        towards, moved = colour - before[within], after[within] - before[within]
        opacity = (moved * towards).sum() / (towards**2).sum()
        assert 0.3 < opacity < 0.7, region.pathology
        assert np.abs(moved - opacity * towards).max() < 4, region.pathology
        # Its outline is the colour itself.
        line = binary_dilation(mask, iterations=3) & ~binary_erosion(mask, iterations=4)
        assert (np.abs(after[line] - colour).max(axis=1) < 5).sum() > 500, region.pathology


def test_segments_lie_where_the_capture_has_them(shown: Shown) -> None:
    """The overlay, stored as a capture, is half as strong as at its peak along the segments' outlines."""
    tinted, strength = colourfulness(shown.segments) > TINTED, colourfulness(shown.capture)
    for region in shown.regions:
        near = binary_dilation(shown.place.laid(region.mask), iterations=25)
        half = MAX_OPACITY * region.threshold**GAMMA * np.ptp(255 * np.array(region.style.rgb))
        assert overlap((strength >= half) & near, tinted & near) > 0.98, region.pathology


def test_the_reports_outlines_lie_where_the_segments_do_and_say_which_pathology(shown: Shown) -> None:
    drawn = colourfulness(shown.report) > 100
    for region in shown.regions:
        assert any(label.startswith(f"{region.pathology} probability") for label in shown.labels)
        mask = shown.place.laid(region.mask)
        line = binary_dilation(mask, iterations=4) & ~binary_erosion(mask, iterations=4, border_value=1)
        assert drawn[line].sum() > 300, region.pathology
        assert drawn[binary_erosion(mask, iterations=40)].mean() < 0.15, region.pathology


def _laid(shown: Shown) -> NDArray[np.bool_]:
    return np.any([shown.place.laid(region.mask) for region in shown.regions], axis=0)
