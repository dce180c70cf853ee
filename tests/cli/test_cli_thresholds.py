"""`cxr-explain thresholds`, and the commands that take what it writes: on phantoms and the bundled model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxr_explain.audit.store import AuditRun
from cxr_explain.cli.app import app
from cxr_explain.explaining.operating_points import OperatingPoints
from cxr_explain.phantom.dataset import write_dataset

RUN = CliRunner()


def called(*words: object) -> tuple[int, str]:
    result = RUN.invoke(app, [*map(str, words)], env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audit of phantoms, and operating points that were fitted on half of them."""
    folder = tmp_path_factory.mktemp("thresholds")
    for _ in write_dataset(folder / "data", n=84, size=64):
        pass
    all_of, run, images = folder / "all.csv", folder / "run", folder / "data/images"
    fit = ("--for", "sensitivity=0.8", "--fraction", 0.8, "--calibrate", "temperature")
    for words in (
        ("manifest", "nih", "--source", folder / "data", "--out", all_of),
        ("audit", all_of, "--images", images, "--weights", "phantom", "--out", run),
        ("thresholds", run, *fit, "--out", folder / "points.json", "--rest", folder / "rest.csv"),
    ):
        code, output = called(*words)
        assert code == 0, output
    return folder


def audited(folder: Path, manifest: str, out: Path, *more: object) -> tuple[int, str]:
    return called(
        "audit", folder / manifest, "--images", folder / "data/images", "--weights", "phantom", "--out", out,
        "--operating-points", folder / "points.json", *more,
    )  # fmt: skip


def test_what_it_prints(folder: Path) -> None:
    code, output = called(
        "thresholds",
        folder / "run",
        "--for",
        "sensitivity=0.8",
        "--fraction",
        0.8,
        "--out",
        folder / "again.json",
    )
    assert code == 0
    points = OperatingPoints.load(folder / "again.json")
    assert "Operating points for sensitivity=0.8, fitted on 67 images of 67 patients" in output
    for each in points.points:
        if not each.not_fitted:
            assert f"{each.sensitivity.value:.3f} ({each.sensitivity.low:.3f} to" in output
    assert any(not each.not_fitted for each in points.points)
    assert "Go on with: cxr-explain audit MANIFEST --operating-points" in output


def test_an_audit_of_the_rest_and_its_statistics(folder: Path, tmp_path: Path) -> None:
    assert audited(folder, "rest.csv", tmp_path / "run")[0] == 0
    code, output = called("stats", tmp_path / "run")
    assert code == 0, output
    assert "Operating points:" in output
    assert "probabilities of" in output
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["operating_points_sha256"] == OperatingPoints.load(folder / "points.json").sha256
    assert record["tuning"]["goal"] == "sensitivity=0.8"


def test_the_images_that_they_were_fitted_on_are_refused_unless_allowed(folder: Path, tmp_path: Path) -> None:
    code, output = audited(folder, "all.csv", tmp_path / "run")
    assert code == 1
    assert "found the manifest on a part of which the operating points were fitted" in output
    assert audited(folder, "all.csv", tmp_path / "run", "--allow-tuning-images")[0] == 0
    marked = tmp_path / "marked.txt"
    marked.write_text(AuditRun.open(tmp_path / "run").results["image_id"][0].as_py() + "\n")
    for command in (["stats"], ["report"], ["report", "--ids", marked]):
        code, output = called(*command, tmp_path / "run")
        assert code == 1, output
        assert "67 of 84 images that the operating points were fitted on" in output.replace("\n", " ")
    code, output = called("stats", tmp_path / "run", "--allow-tuning-images")
    assert code == 0
    assert "The operating points were fitted on images of this audit: found 67 of 84" in output
    code, output = called("report", tmp_path / "run", "--cases", 1, "--allow-tuning-images")
    assert code == 0
    assert "fitted on images of this audit" in (tmp_path / "run/report/index.html").read_text(
        encoding="utf-8"
    )


def test_explain_takes_them(folder: Path, tmp_path: Path) -> None:
    image = sorted((folder / "data/images").iterdir())[0]
    code, output = called(
        "explain",
        image,
        "--weights",
        "phantom",
        "--out",
        tmp_path,
        "--operating-points",
        folder / "points.json",
    )
    assert code == 0, output
    saved = json.loads(next(tmp_path.glob("*.json")).read_text())
    points = {each.pathology: each for each in OperatingPoints.load(folder / "points.json").points}
    for each in saved["ranking"]["predictions"]:
        assert each["operating_point"] == points[each["pathology"]].operating_point


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--for", "f1", "--fraction", "0.5"), "found the goal 'f1'; expected youden"),
        (("--for", "youden"), "expected a split of the manifest, or a fraction of the patients"),
        (
            ("--for", "youden", "--split", "test", "--fraction", "0.5"),
            "expected a split of the manifest, or a",
        ),
        (("--for", "youden", "--split", "valid"), "found no explained image in the split 'valid'"),
        (("--for", "youden", "--fraction", "7"), "fraction=7"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    folder: Path, words: tuple[str, ...], match: str, tmp_path: Path
) -> None:
    code, output = called("thresholds", folder / "run", *words, "--out", tmp_path / "points.json")
    assert code == 2
    assert match in output
    assert len(output.strip().splitlines()) == 1
    assert not (tmp_path / "points.json").exists()


@pytest.mark.parametrize("command", ["explain", "audit"])
@pytest.mark.parametrize("content", ["", "{}", '{"schema": "cxr-explain/operating-points/1", "x": 1}', None])
def test_a_file_that_holds_none_is_one_line(
    folder: Path, command: str, content: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "points.json"
    if content is not None:
        path.write_text(content)
    more = ("--images", folder / "data/images") if command == "audit" else ()
    subject = folder / ("rest.csv" if command == "audit" else "data/images")
    code, output = called(
        command, subject, *more, "--weights", "phantom", "--out", tmp_path / "out", "--operating-points", path
    )
    assert code != 0
    assert re.search(r"points\.json: found .*operating points", output)
    assert "Traceback" not in output
    assert not (tmp_path / "out" / "run.json").exists()


def test_other_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    """A copy of the bundled weights with one number changed."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    import cxr_explain

    source = next(Path(cxr_explain.__file__).parent.glob("weights/bundled/*.safetensors"))
    with safe_open(source, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        metadata = file.metadata()
    name = sorted(tensors)[0]
    tensors[name] = tensors[name] + 1e-3
    save_file(tensors, tmp_path / "other.safetensors", metadata)
    image = sorted((folder / "data/images").iterdir())[0]
    code, output = called(
        "explain", image, "--weights", tmp_path / "other.safetensors", "--out", tmp_path / "out",
        "--operating-points", folder / "points.json",
    )  # fmt: skip
    assert code == 2
    assert "found weights of SHA-256" in output
    assert "for which the operating points were fitted" in output
