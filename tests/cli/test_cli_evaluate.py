"""`cxr-explain evaluate`, as a user runs it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cxr_explain
from cxr_explain.cli.app import app
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.weights import resolve

RUN = CliRunner()
BUNDLED = Path(cxr_explain.__file__).parent / "weights" / "bundled"


def evaluate(*arguments: object):
    return RUN.invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset") / "phantoms"
    for _ in write_dataset(folder, n=3, seed=62, size=96):
        pass
    return folder


def test_phantoms_are_rendered_where_no_image_is_given(tmp_path: Path) -> None:
    result = evaluate("--n", 1, "--seed", 10_000_002, "--quick", "--top-k", 2, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "Where each class map lies" in result.output
    assert "random map" in result.output
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert report.startswith("# Class maps with the weights phantom, on phantoms of 256 x 256 pixels")
    rows = list(csv.DictReader((tmp_path / "out" / "summary.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["method"] for row in rows} == {"grad-cam", "random map", "reference mask"}


def test_the_validity_is_written_like_a_study_and_goes_on(tmp_path: Path) -> None:
    arguments = ("--validity", "--seed", 10_000_002, "--resamples", 5, "--out", tmp_path)
    first = evaluate(*arguments, "--n", 2)
    assert first.exit_code == 0, first.output
    before = (tmp_path / "parts" / "00000.json").stat().st_mtime_ns
    result = evaluate(*arguments, "--n", 4)
    assert result.exit_code == 0, result.output
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert report.startswith(
        "# Validity of the weights phantom, on phantoms of 256 x 256 pixels from seed 1000"
    )
    assert "in 4 images of 4 patients" in report
    for title in ("At a glance", "Pointing game: grad-cam", "By area", "Class share of FM-G-CAM"):
        assert f"### {title}" in report
        assert title in result.output
    tables = {
        row["table"]
        for row in csv.DictReader((tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines())
    }
    assert {"scores", "removed", "by finding", "by area", "fused, by finding"} <= tables
    assert (tmp_path / "parts" / "00000.json").stat().st_mtime_ns == before
    assert (tmp_path / "parts" / "00001.json").exists()


def test_models_are_compared_side_by_side(tmp_path: Path) -> None:
    path = resolve("phantom")
    other = tmp_path / "other.safetensors"
    other.write_bytes(path.read_bytes())
    models = (
        "--weights",
        path,
        "--weights",
        other,
        "--seed",
        10_000_002,
        "--n",
        1,
        "--out",
        tmp_path / "out",
    )
    result = evaluate(*models, "--validity", "--resamples", 5)
    assert result.exit_code == 0, result.output
    names = ["densenet-res224-phantom", "other"]
    assert {each.name for each in (tmp_path / "out").iterdir() if each.is_dir()} == set(names)
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert report.startswith("# Validity of 2 models, on phantoms of 256 x 256 pixels from seed 10000002")
    assert "| measure" in report
    assert all(name in report for name in names)
    rows = csv.DictReader((tmp_path / "out" / "summary.csv").read_text(encoding="utf-8").splitlines())
    assert {row["weights"] for row in rows} == set(names)


@pytest.mark.parametrize("option", ["masks", "boxes"])
def test_images_are_measured_against_their_masks_or_boxes(dataset: Path, tmp_path: Path, option: str) -> None:
    reference = dataset / "masks" if option == "masks" else dataset / "BBox_List_2017.csv"
    out = tmp_path / "out"
    arguments = (
        dataset / "images",
        f"--{option}",
        reference,
        "--quick",
        "--method",
        "layercam",
        "--top-k",
        1,
        "--out",
        out,
    )
    result = evaluate(*arguments, "--n", 1)
    assert result.exit_code == 0, result.output
    assert ("T(IoBB) 0.25" in result.output) == (option == "boxes")
    rows = list(csv.DictReader((out / "alone.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["method"] for row in rows} == {"layercam", "random map", "reference mask"}
    assert len({row["case"] for row in rows}) == 1
    assert evaluate(*arguments, "--n", 1).output.splitlines()[:8] == result.output.splitlines()[:8]


def test_a_broken_image_fails_and_the_others_are_done(dataset: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    names = sorted({path.stem.rpartition("-")[0] for path in (dataset / "masks").glob("*.png")})
    for name in names[:2]:
        content = (dataset / "images" / f"{name}.png").read_bytes()
        (images / f"{name}.png").write_bytes(content[:100] if name == names[0] else content)
    result = evaluate(
        images, "--masks", dataset / "masks", "--quick", "--top-k", 1, "--out", tmp_path / "out"
    )
    assert result.exit_code == 1, result.output
    (failed,) = (line for line in result.output.splitlines() if line.startswith("failed:"))
    assert names[0] in failed
    assert names[1] in (tmp_path / "out" / "alone.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "gradcam"], "method='gradcam'"),
        (["--validity", "--study"], "the validity together with a study"),
        (["{images}", "--masks", "{masks}", "--validity"], "the validity together with images"),
        (["{images}"], "0 kinds of reference"),
        (["{images}", "--masks", "{masks}", "--boxes", "{boxes}"], "2 kinds of reference"),
        (["--boxes", "{boxes}"], "no image in"),
        (["{images}", "--masks", "{images}"], "no mask"),
        (["{masks}", "--masks", "{masks}"], "none of which has a reference box or mask"),
        (["{images}", "--boxes", "{masks}"], "no readable file"),
        (["{images}", "--segmentations", "{boxes}"], "no JSON"),
    ],
)
def test_usage_errors_are_one_line(dataset: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    places = {
        "images": dataset / "images",
        "masks": dataset / "masks",
        "boxes": dataset / "BBox_List_2017.csv",
    }
    result = evaluate(*(each.format(**places) for each in arguments), "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    lines = result.output.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert "found " in lines[-1]
    assert said in lines[-1]
    assert "Traceback" not in result.output


def test_a_folder_of_another_study_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "study.json").write_text('{"plan": "another"}')
    result = evaluate("--n", 1, "--quick", "--out", out)
    assert result.exit_code == 1
    assert "a study of another" in result.output


@pytest.mark.slow
def test_other_images_in_the_same_folder_are_refused_and_what_is_there_stays(
    dataset: Path, tmp_path: Path
) -> None:
    names = sorted({path.stem.rpartition("-")[0] for path in (dataset / "masks").glob("*.png")})
    out = tmp_path / "out"
    shared = ("--masks", dataset / "masks", "--quick", "--top-k", 2, "--out", out)
    first = evaluate(dataset / "images" / f"{names[0]}.png", *shared)
    assert first.exit_code == 0, first.output
    report = (out / "report.md").read_bytes()
    other = evaluate(dataset / "images" / f"{names[1]}.png", *shared)
    assert other.exit_code == 1
    assert "a study of another choice of cases" in other.output
    assert (out / "report.md").read_bytes() == report
    both = evaluate(*(dataset / "images" / f"{name}.png" for name in names[:2]), *shared)
    assert both.exit_code == 0, both.output
    rows = list(csv.DictReader((out / "alone.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["case"] for row in rows} == set(names[:2])


@pytest.mark.slow
def test_chexlocalizes_outlines_are_a_reference(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    import numpy as np

    from cxr_explain.reference.chexlocalize import OutlineSet, write_segmentations

    for _ in write_dataset(tmp_path / "phantoms", n=1, seed=10_000_000, size=96):
        pass
    (image,) = (tmp_path / "phantoms" / "images").glob("*.png")
    mask = np.zeros((96, 96), bool)
    mask[40:80, 10:40] = True
    outlines = OutlineSet.of_masks({image.stem: {"Edema": mask, "Lung Lesion": mask}})
    path = write_segmentations(tmp_path / "outlines.json", outlines)
    result = evaluate(image, "--segmentations", path, "--quick", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "on radiographs with outlines" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_study_compares_fusions_and_goes_on_in_two_processes(tmp_path: Path) -> None:
    arguments = ("--study", "--quick", "--method", "cam", "--method", "layercam", "--out", tmp_path)
    first = evaluate(*arguments, "--n", 2)
    assert first.exit_code == 0, first.output
    more = evaluate(*arguments, "--n", 4, "--jobs", 2)
    assert more.exit_code == 0, more.output
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    for title in ("by K: cam", "Activations, K = 5", "when weights are random", "when nothing that matters"):
        assert title in text
    assert "in 4 images of 4 patients" in text
    rows = list(csv.DictReader((tmp_path / "fused.csv").read_text(encoding="utf-8").splitlines()))
    assert len({(row["K"], row["normalisation"], row["activation"]) for row in rows}) == 45
    assert {path.name for path in tmp_path.glob("*.png")} >= {"rules.png", "fusions.png", "randomised.png"}


@pytest.mark.long
def test_an_engine_is_named_in_the_report_and_kept_to(tmp_path: Path) -> None:
    arguments = ("--n", 1, "--seed", 10_000_002, "--quick", "--top-k", 2, "--out", tmp_path / "out")
    result = evaluate(*arguments, "--engine", "onnxruntime")
    assert result.exit_code == 0, result.output
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "computed by ONNX Runtime" in report.splitlines()[0]
    assert "in float32" in report.splitlines()[0]
    again = evaluate(*arguments)
    assert again.exit_code == 1
    assert "a study of another engine" in again.output


def test_reduced_precision_is_refused_with_torch(tmp_path: Path) -> None:
    result = evaluate("--n", 1, "--quick", "--dtype", "bfloat16", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "engine='openvino'" in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_several_models_are_measured_on_the_same_cases_and_set_side_by_side(tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((BUNDLED / "densenet-res224-phantom.safetensors").read_bytes())
    arguments = ("--n", 1, "--seed", 10_000_002, "--quick", "--top-k", 2, "--out", tmp_path / "out")
    result = evaluate(*arguments, "--weights", "phantom", "--weights", copy)
    assert result.exit_code == 0, result.output
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert report.startswith("# Class maps of 2 models, on phantoms of 256 x 256 pixels")
    assert "[instrument phantom](instrument-phantom/report.md), [copy](copy/report.md)" in report
    assert str(tmp_path) not in report
    alone = [(tmp_path / "out" / name / "alone.csv").read_bytes() for name in ("instrument-phantom", "copy")]
    assert alone[0] == alone[1]
    own = (tmp_path / "out" / "copy" / "report.md").read_text(encoding="utf-8")
    assert "### Where each class map lies (copy)" in own
    assert str(tmp_path) not in own
