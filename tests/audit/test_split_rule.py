"""No statistic at an operating point is of images that it was fitted on: attempts to break the rule."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tuning_case import NAMES, Folder, folder

from cxr_explain.audit.comparison.document import compare_runs
from cxr_explain.audit.document import Statistics
from cxr_explain.audit.operating_points.fitting import TuningSettings, fit_operating_points
from cxr_explain.audit.operating_points.goals import Goal
from cxr_explain.audit.operating_points.split import TuningPart, rest_of, split_overlap
from cxr_explain.audit.statistics import statistics_of
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import AuditError, OutputError
from cxr_explain.explaining.operating_points import OperatingPoints
from cxr_explain.reference.manifest import Manifest
from cxr_explain.support.strict_json import with_digest


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return folder(tmp_path_factory.mktemp("split") / "images")


@pytest.fixture(scope="module")
def tuned(images: Folder, tmp_path_factory: pytest.TempPathFactory) -> AuditRun:
    """The run that operating points are fitted on."""
    return images.run(tmp_path_factory.mktemp("split") / "tuned")


@pytest.fixture(scope="module")
def points(tuned: AuditRun) -> OperatingPoints:
    return fit_operating_points(
        tuned, TuningSettings(Goal("youden"), TuningPart(split="valid"), "temperature")
    )


def statistics(run: AuditRun, **options: object) -> Statistics:
    return statistics_of(run, **options)


def refused(run: AuditRun, count: str) -> None:
    with pytest.raises(
        AuditError, match=f"found {count} images that the operating points were fitted on"
    ) as told:
        statistics(run)
    assert "\n" not in str(told.value)
    assert "--allow-tuning-images" in str(told.value)


def manifest_of(path: Path, names: list[str], images: Folder, patients: list[str]) -> Folder:
    """Of some files in a folder, all labels from the first rows."""
    files = [f"{name}.png" if "." not in name else name for name in names]
    states = images.manifest.states[: len(names)]
    return Folder(path, Manifest(names, files, pathologies=NAMES, states=states, patients=patients))


def test_the_rest_has_statistics_at_the_fitted_points(
    tuned: AuditRun, points: OperatingPoints, images: Folder, tmp_path: Path
) -> None:
    rest = rest_of(tuned, points.known)
    valid = {images.manifest.patients[row] for row in range(90) if images.manifest.splits[row] == "valid"}
    assert len(rest) == 45
    assert not valid & set(rest.patients)
    run = images.run(tmp_path / "run", points, manifest=rest)
    assert split_overlap(run) is None
    document = statistics(run).document
    mass = document["pathologies"][0]
    assert mass["operating_point"] == points.points[0].operating_point
    assert not any("fitted on images of this audit" in note for note in document["notes"])
    (told,) = (note for note in document["notes"] if note.startswith("Operating points:"))
    assert "2 of 3 fitted for youden" in told
    assert "fitted on 30 images of 30 patients, split=valid, of drawn" in told
    rows = run.results.to_pylist()
    called = np.array([row["probability Mass"] >= mass["operating_point"] for row in rows])
    logits = np.array([row["logit Mass"] for row in rows], np.float64)
    temperature = points.points[0].calibration.temperature
    np.testing.assert_allclose(
        [row["probability Mass"] for row in rows], 1 / (1 + np.exp(-logits / temperature)), rtol=1e-12
    )
    labels = np.array([rest.states[row["row"]][0] == 1 for row in rows])
    assert mass["estimates"]["sensitivity"]["value"] == called[labels].mean()
    assert mass["estimates"]["brier"]["value"] == pytest.approx(
        np.mean([(row["probability Mass"] - y) ** 2 for row, y in zip(rows, labels, strict=True)]), rel=1e-12
    )


def test_the_very_manifest_is_refused_before_anything_is_done(
    points: OperatingPoints, images: Folder, tmp_path: Path
) -> None:
    with pytest.raises(AuditError, match="the manifest on a part of which the operating points were fitted"):
        images.run(tmp_path / "run", points)
    assert not (tmp_path / "run" / "run.json").exists()


def test_what_is_allowed_is_said_first(
    points: OperatingPoints, images: Folder, tuned: AuditRun, tmp_path: Path
) -> None:
    run = images.run(tmp_path / "run", points, allow_tuning_images=True)
    refused(run, "30 of 90")
    with pytest.raises(AuditError, match="found 30 of 90 images that the operating points were fitted on"):
        compare_runs(tuned, run)
    notes = compare_runs(tuned, run, allow_tuning_images=True).document["notes"]
    assert any(note.startswith("B: The operating points were fitted on images of") for note in notes)
    note = statistics(run, allow_tuning_images=True).document["notes"][0]
    assert note == (
        "The operating points were fitted on images of this audit: found 30 of 90 images that the operating "
        "points were fitted on, and 15 further images of their patients. What is at an operating point, and "
        "what is calibrated, looks better than it will be."
    )


def test_it_is_said_on_every_page(points: OperatingPoints, images: Folder, tmp_path: Path) -> None:
    from cxr_explain.audit.results import figure_of, write_statistics
    from cxr_explain.pages.audit_report import build_report

    run = images.run(tmp_path / "run", points, allow_tuning_images=True)
    found = write_statistics(run, allow_tuning_images=True)
    page = build_report(run, tmp_path / "report", statistics=found.document, cases=2)
    said = "The operating points were fitted on images of this audit"
    pages = sorted(Path(page).parent.rglob("*.html"))
    assert pages
    assert all(said in file.read_text(encoding="utf-8") for file in pages), pages
    saved = figure_of(run, "p000-0").save(tmp_path / "one.svg").read_text(encoding="utf-8")
    assert "The operating points were fitted on this image" in "".join(saved.split("\n"))
    warnings = run.case(run.position["p000-1"]).explanation.provenance.warnings
    assert any("were fitted on another image of this patient" in each for each in warnings)
    assert not run.case(run.position["p040-0"]).explanation.provenance.warnings


def test_another_order_of_the_rows_hides_nothing(
    points: OperatingPoints, images: Folder, tmp_path: Path
) -> None:
    order = np.random.default_rng(0).permutation(90)
    run = images.run(tmp_path / "run", points, manifest=images.manifest.select(order.tolist()))
    refused(run, "30 of 90")


def test_another_name_and_another_patient_hide_nothing(
    points: OperatingPoints, images: Folder, tmp_path: Path
) -> None:
    there = tmp_path / "renamed"
    there.mkdir()
    for number in range(12):
        shutil.copy(images.path / f"p{40 + number:03d}-0.png", there / f"x{number}.png")
    shutil.copy(images.path / "p007-0.png", there / "x3.png")
    names = [f"x{number}" for number in range(12)]
    other = manifest_of(there, names, images, [f"stranger {number}" for number in range(12)])
    refused(other.run(tmp_path / "run", points), "1 of 12")


def test_a_file_that_was_written_anew_without_loss_is_known_by_what_the_model_sees(
    points: OperatingPoints, images: Folder, tmp_path: Path
) -> None:
    there = tmp_path / "anew"
    there.mkdir()
    for number in range(6):
        Image.open(images.path / f"p{number:03d}-0.png").save(there / f"x{number}.png", compress_level=1)
        before = (images.path / f"p{number:03d}-0.png").read_bytes()
        assert (there / f"x{number}.png").read_bytes() != before
    other = manifest_of(there, [f"x{n}" for n in range(6)], images, [f"stranger {n}" for n in range(6)])
    refused(other.run(tmp_path / "run", points), "6 of 6")


def test_a_lossy_copy_is_not_known_again(points: OperatingPoints, images: Folder, tmp_path: Path) -> None:
    """The limit that the documentation states."""
    there = tmp_path / "lossy"
    there.mkdir()
    for number in range(6):
        Image.open(images.path / f"p{number:03d}-0.png").save(there / f"x{number}.jpg", quality=90)
    names = [f"x{number}.jpg" for number in range(6)]
    run = manifest_of(there, names, images, [f"stranger {n}" for n in range(6)]).run(tmp_path / "run", points)
    assert split_overlap(run) is None


def test_other_images_of_the_tuning_patients_are_known(
    points: OperatingPoints, images: Folder, tmp_path: Path
) -> None:
    rows = [row for row, split in enumerate(images.manifest.splits) if split == "train"]
    run = images.run(tmp_path / "run", points, manifest=images.manifest.select(rows))
    refused(run, "0 of 60")
    assert split_overlap(run).related == 15


def test_a_patient_who_has_one_known_image_is_known_with_all(
    points: OperatingPoints, images: Folder, tmp_path: Path
) -> None:
    """Also with an image that the tuning run never had."""
    there = tmp_path / "more"
    there.mkdir()
    shutil.copy(images.path / "p001-0.png", there / "old.png")
    Image.fromarray(np.full((40, 40), 99, np.uint8)).save(there / "new.png")
    Image.fromarray(np.full((40, 40), 98, np.uint8)).save(there / "other.png")
    run = manifest_of(there, ["old", "new", "other"], images, ["a", "a", "b"]).run(tmp_path / "run", points)
    overlap = split_overlap(run)
    assert (overlap.fitted_on, overlap.related, overlap.images) == (1, 1, 3)
    refused(run, "1 of 3")


def test_a_copied_run_is_the_same_run(
    points: OperatingPoints, images: Folder, tuned: AuditRun, tmp_path: Path
) -> None:
    run = images.run(tmp_path / "run", points, allow_tuning_images=True)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    refused(AuditRun.open(tmp_path / "copy"), "30 of 90")
    shutil.copytree(tuned.place.name, tmp_path / "tuned")
    again = fit_operating_points(
        AuditRun.open(tmp_path / "tuned"),
        TuningSettings(Goal("youden"), TuningPart(split="valid"), "temperature"),
    )
    assert again.sha256 == points.sha256 == run.record.operating_points_sha256


def test_the_points_of_a_run_cannot_be_exchanged(
    tuned: AuditRun, points: OperatingPoints, images: Folder, tmp_path: Path
) -> None:
    run = images.run(tmp_path / "run", points, allow_tuning_images=True)
    fit_operating_points(tuned, TuningSettings(Goal("youden"), TuningPart(fraction=0.4))).save(
        tmp_path / "run" / "operating_points.json"
    )
    with pytest.raises(AuditError, match=r"operating_points\.json: found operating points with SHA-256"):
        statistics(AuditRun.open(run.place.name), allow_tuning_images=True)
    (tmp_path / "run" / "operating_points.json").unlink()
    with pytest.raises(AuditError, match=r"operating_points\.json"):
        statistics(AuditRun.open(run.place.name), allow_tuning_images=True)


def test_an_edited_file_is_refused(points: OperatingPoints, tmp_path: Path) -> None:
    path = points.save(tmp_path / "points.json")
    document = json.loads(path.read_text())
    document["images"] = document["images"][:1]
    path.write_text(json.dumps(document))
    with pytest.raises(OutputError, match="operating points that were changed since they were written"):
        OperatingPoints.load(path)
    # A digest is no signature: whoever means to deceive writes a new one. It is another file then, and the
    # record of an audit that takes it says so.
    path.write_text(
        json.dumps(with_digest({key: value for key, value in document.items() if key != "sha256"}))
    )
    assert OperatingPoints.load(path).sha256 != points.sha256


def test_a_run_goes_on_with_the_same_points_alone(
    tuned: AuditRun, points: OperatingPoints, images: Folder, tmp_path: Path
) -> None:
    rest = rest_of(tuned, points.known)
    images.run(tmp_path / "run", points, manifest=rest, stop=lambda: True)
    with pytest.raises(AuditError, match="an audit that differs in operating points"):
        images.run(tmp_path / "run", manifest=rest)
    other = fit_operating_points(tuned, TuningSettings(Goal("youden"), TuningPart(split="valid")))
    with pytest.raises(AuditError, match="an audit that differs in operating points"):
        images.run(tmp_path / "run", other, manifest=rest)
    assert images.run(tmp_path / "run", points, manifest=rest).is_complete
