"""The two Secondary Captures: their pixels, what is burnt into them, and what their headers say."""

from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from altered_sources import bare, explained_frame, multi_frame
from dicom_sources import changed, explained, explainer, objects_of, phantom_file
from dicom_tools import dciodvfy_errors
from PIL import Image
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from cxr_explain import Style
from cxr_explain.dicom.burnt_key import with_key
from cxr_explain.dicom.content import ObjectContent
from cxr_explain.dicom.objects import dicom_objects
from cxr_explain.dicom.record_figure import record_figure
from cxr_explain.dicom.settings import ObjectSettings
from cxr_explain.dicom.source import Source
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.pathologies import ReferenceLabels

WHEN = datetime(2020, 1, 2, 3, 4, 5)


def content_of(folder: Path, data: bytes, *, top_k: int = 3, **settings) -> ObjectContent:  # type: ignore[no-untyped-def]
    """What objects of a file's bytes are made from."""
    explanation, _ = explained(folder, data, top_k=top_k)
    radiograph = explanation.own_radiograph()
    return ObjectContent(
        explanation, radiograph, Source.read(data), ReferenceLabels(), ObjectSettings(**settings)
    )


def key_rows(capture: Dataset) -> slice:
    """The rows of an overlay that hold its key, as its own header says."""
    words = capture.DerivationDescription.split("rows ")[1].split()
    return slice(int(words[0]) - 1, int(words[2]))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_overlay_is_the_overlay_outside_of_its_key(tmp_path: Path, photometric: str) -> None:
    data = phantom_file(42, 256, photometric)
    explanation, file = explained(tmp_path, data)
    made = dicom_objects(explanation, file, kinds=("overlay",))["overlay"]
    written = pydicom.dcmread(io.BytesIO(made.to_bytes()))
    burnt, drawn, rows = written.pixel_array, explanation.overlay(), key_rows(written)
    assert burnt.shape == drawn.shape == (256, 256, 3)
    elsewhere = np.ones(256, bool)
    elsewhere[rows] = False
    assert (burnt[elsewhere] == drawn[elsewhere]).all()
    assert 0.05 < (~elsewhere).mean() <= 0.3
    assert rows.start == 0 or rows.stop == 256


def test_the_figure_is_the_figure(tmp_path: Path) -> None:
    explanation, file = explained(tmp_path, phantom_file(42, 96))
    capture = dicom_objects(explanation, file, kinds=("figure",))["figure"].dataset
    with Image.open(io.BytesIO(explanation.figure(style="dark").to_bytes())) as image:
        assert (capture.pixel_array == np.asarray(image.convert("RGB"))).all()


def test_the_key_has_each_colour_and_the_statement_of_use(tmp_path: Path) -> None:
    content = content_of(
        tmp_path, phantom_file(42, 256), top_k=5, style=Style(alert="#00FF00", paper="#000000")
    )
    burnt = with_key(np.zeros((256, 256, 3), np.uint8), content)
    band = burnt.pixels[burnt.first_row : burnt.last_row].reshape(-1, 3)
    for region in content.regions:
        colour = np.frombuffer(bytes.fromhex(region.style.colour[1:]), np.uint8)
        assert (band == colour).all(axis=1).sum() >= 20, region.pathology
    assert (band == (0, 255, 0)).all(axis=1).sum() > 50  # "Research use only - not for diagnosis"


def test_no_style_takes_the_statement_of_use_away(tmp_path: Path) -> None:
    content = content_of(tmp_path, phantom_file(42, 96))
    assert (
        record_figure(content, "dark").to_bytes()
        != content.explanation.figure(style="dark", disclaimer=False).to_bytes()
    )


@pytest.mark.parametrize("shape", [(300, 180), (64, 64), (400, 24), (24, 400)])
def test_the_key_fits_into_any_image(tmp_path: Path, shape: tuple[int, int]) -> None:
    content = content_of(tmp_path, phantom_file(42, 96), top_k=10)
    geometry = replace(content.explanation.geometry, radiograph_shape=shape)
    fitting = replace(content, explanation=replace(content.explanation, geometry=geometry, radiograph=None))
    display = np.zeros(shape, np.uint8)
    radiograph = replace(content.radiograph, pixels=np.zeros(shape, np.float32), display=display)
    burnt = with_key(np.zeros((*shape, 3), np.uint8), replace(fitting, radiograph=radiograph))
    assert burnt.pixels.shape == (*shape, 3)
    assert 0 < burnt.last_row - burnt.first_row <= max(0.35 * shape[0], 24)


def test_the_key_lies_where_it_hides_least(tmp_path: Path) -> None:
    content = content_of(tmp_path, phantom_file(42, 256))
    blank = np.zeros((256, 256, 3), np.uint8)

    def placed(row: int) -> int:
        maps = np.zeros((3, 8, 8), np.float32)
        maps[0, row, 3] = 1
        return with_key(
            blank, replace(content, explanation=replace(content.explanation, maps=maps))
        ).first_row

    assert placed(0) > 0
    assert placed(4) > 0
    assert placed(7) == 0


def test_an_overlay_without_evidence_says_so(tmp_path: Path) -> None:
    content = content_of(tmp_path, phantom_file(42, 256))
    none = replace(content.explanation, maps=np.zeros_like(content.explanation.maps))
    blank = np.zeros((600, 600, 3), np.uint8)
    with_evidence, without = with_key(blank, content), with_key(blank, replace(content, explanation=none))
    assert without.last_row - without.first_row > with_evidence.last_row - with_evidence.first_row


def test_headers_follow_the_source(tmp_path: Path) -> None:
    made = objects_of(tmp_path, phantom_file(42, 96), kinds=("figure", "overlay"))
    source = pydicom.dcmread(tmp_path / "source.dcm")
    for each in made:
        capture = each.dataset
        assert capture.ImageType == ["DERIVED", "SECONDARY"]
        assert capture.BurnedInAnnotation == "YES"
        assert capture.Modality == "DX"
        assert capture.ImageLaterality == source.ImageLaterality == "U"
        assert capture.BodyPartExamined == "CHEST"
        assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert "ReferencedFrameNumber" not in capture.SourceImageSequence[0]
        assert capture.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert "esearch use only" in capture.SeriesDescription
        assert capture.ContributingEquipmentSequence[0].ManufacturerModelName == "phantom"
    overlay, figure = made["overlay"].dataset, made["figure"].dataset
    assert overlay.SourceImageSequence[0].SpatialLocationsPreserved == "YES"
    assert list(overlay.PatientOrientation) == ["L", "F"]
    assert overlay.PixelSpacing == overlay.NominalScannedPixelSpacing == source.ImagerPixelSpacing
    assert figure.SourceImageSequence[0].SpatialLocationsPreserved == "NO"
    assert not figure.PatientOrientation
    assert "PixelSpacing" not in figure


def test_nothing_is_guessed_that_the_source_does_not_say(tmp_path: Path) -> None:
    capture = objects_of(tmp_path, bare(phantom_file(42, 96)), kinds=("overlay",))["overlay"].dataset
    assert not capture.PatientOrientation
    assert capture["Laterality"].is_empty
    for keyword in ("ImageLaterality", "BodyPartExamined", "PixelSpacing", "NominalScannedPixelSpacing"):
        assert keyword not in capture


def test_a_corrected_spacing_stays_apart_from_that_of_the_detector(tmp_path: Path) -> None:
    def calibrate(header: Dataset) -> None:
        header.PixelSpacing, header.ImagerPixelSpacing = ["0.9", "0.9"], ["1.0", "1.0"]

    capture = objects_of(tmp_path, changed(phantom_file(42, 96), calibrate), kinds=("overlay",))["overlay"]
    assert list(capture.dataset.PixelSpacing) == [0.9, 0.9]
    assert list(capture.dataset.NominalScannedPixelSpacing) == [1.0, 1.0]


@pytest.mark.parametrize("ratio", [[2, 1], [1, 1], [0, 1], [2]])
def test_pixels_that_are_not_square_are_said_to_be(tmp_path: Path, ratio: list[int]) -> None:
    def stretch(header: Dataset) -> None:
        header.PixelAspectRatio = ratio
        del header.ImagerPixelSpacing

    made = objects_of(tmp_path, changed(phantom_file(42, 96), stretch), kinds=("overlay", "presentation"))
    (area,) = made["presentation"].dataset.DisplayedAreaSelectionSequence
    if ratio == [2, 1]:
        assert made["overlay"].dataset.PixelAspectRatio == area.PresentationPixelAspectRatio == ratio
    else:
        assert "PixelAspectRatio" not in made["overlay"].dataset
        assert area.PresentationPixelAspectRatio == [1, 1]


def test_orientations_that_highdicom_does_not_know_are_kept(tmp_path: Path) -> None:
    oblique = changed(
        phantom_file(42, 96), lambda header: setattr(header, "PatientOrientation", ["LA", "FR"])
    )
    capture = objects_of(tmp_path, oblique, kinds=("overlay",))["overlay"]
    assert list(capture.dataset.PatientOrientation) == ["LA", "FR"]


def test_the_frame_that_was_explained_is_named(tmp_path: Path) -> None:
    explanation, file = explained_frame(tmp_path, multi_frame(phantom_file(42, 96)), 1)
    made = dicom_objects(explanation, file, kinds=("overlay",))
    assert not made.not_made
    assert made["overlay"].dataset.SourceImageSequence[0].ReferencedFrameNumber == 2


def test_labels_from_a_path_are_not_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, drawn = content_of(tmp_path, phantom_file(42, 96)), list[str]()
    monkeypatch.setattr(Explanation, "figure", lambda self, labels, **_: drawn.append(labels.source))
    for source in ("NIH ChestX-ray14", "/home/x/labels.csv", "C:\\x\\labels.csv"):
        record_figure(replace(content, labels=ReferenceLabels.from_text("Mass", source=source)), "dark")
    assert drawn == ["NIH ChestX-ray14", "not named", "not named"]


@pytest.mark.parametrize("kind", ["figure", "overlay"])
def test_a_de_identified_source_leaves_no_name_of_its_file(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figure names the id, the digest and where labels come from: all three are drawn otherwise."""
    file = tmp_path / "IMG-48151623.dcm"
    file.write_bytes(phantom_file(42, 96))
    explanation = explainer().explain(file, top_k=2)
    labels = ReferenceLabels.from_text("Mass", source="C:/ward/labels.csv")
    drawn: list[object] = []
    draw = Explanation.figure

    def noting(self, labels, **options):  # type: ignore[no-untyped-def]
        drawn.extend((self.id, self.provenance, options["radiograph"].sha256, labels.source))
        return draw(self, labels, **options)

    monkeypatch.setattr(Explanation, "figure", noting)
    source = Source.read(file, change=lambda header: setattr(header, "SOPInstanceUID", "2.25.7"))
    made = dicom_objects(explanation, source, labels, kinds=(kind,))
    assert not made.not_made
    told = repr(drawn) + repr(made[kind].dataset)
    for secret in ("48151623", explanation.provenance.radiograph_sha256[:12], "ward", "labels.csv"):
        assert secret not in told
    assert drawn[:1] == ([] if kind == "overlay" else ["2.25.7"])


def test_the_same_settings_and_time_give_the_same_bytes(tmp_path: Path) -> None:
    data, options = phantom_file(42, 96), {"kinds": ("overlay",), "created": WHEN, "top_k": 2}
    first, second = (objects_of(tmp_path, data, **options) for _ in range(2))
    assert [each.to_bytes() for each in first] == [each.to_bytes() for each in second]
    light = objects_of(tmp_path, data, kinds=("overlay",), created=WHEN, top_k=2, style="light")["overlay"]
    assert light.uid != first["overlay"].uid
    assert (light.dataset.pixel_array != first["overlay"].dataset.pixel_array).any()


@pytest.mark.dicom3tools
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="Debian's dicom3tools is not installed")
@pytest.mark.dcmtk
@pytest.mark.skipif(shutil.which("dcm2pnm") is None, reason="Debian's dcmtk is not installed")
@pytest.mark.parametrize(
    ("photometric", "is_bare"), [("MONOCHROME1", True), ("MONOCHROME1", False), ("MONOCHROME2", True)]
)
def test_other_programs_read_them(tmp_path: Path, photometric: str, is_bare: bool) -> None:
    data = phantom_file(42, 96, photometric)
    kinds = ("figure", "overlay") if is_bare and photometric == "MONOCHROME2" else ("overlay",)
    made = objects_of(tmp_path, bare(data) if is_bare else data, kinds=kinds)
    for path in made.save(tmp_path / "out"):
        assert dciodvfy_errors(path) == []
        subprocess.run(["dcm2json", path, tmp_path / "out.json"], check=True, capture_output=True)
        subprocess.run(["dcm2pnm", path, tmp_path / "out.pnm"], check=True, capture_output=True)
        with Image.open(tmp_path / "out.pnm") as image:
            pixels = np.asarray(image)
        assert (pixels == pydicom.dcmread(path).pixel_array).all()
        assert (hd.imread(path).get_frame(1) == pixels).all()
