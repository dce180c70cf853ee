"""The commands `panel` and `compare`, on saved explanations and on an audit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from cxr_explain.audit.example import example_audit
from cxr_explain.cli.app import app

RUN = CliRunner()


def run(*words: object) -> tuple[int, str]:
    result = RUN.invoke(app, [str(word) for word in words])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantoms, each explained by two methods, and an audit."""
    folder = tmp_path_factory.mktemp("saved")
    phantoms = folder / "phantoms"
    assert run("phantom", "--n", 2, "--size", 128, "--seed", 4, "--out", phantoms)[0] == 0
    for method, top_k in (("grad-cam", 3), ("layercam", 4)):
        options = ("--weights", "phantom", "--offline", "--method", method, "--top-k", top_k)
        assert run("explain", phantoms / "images", *options, "--out", folder / method)[0] == 0
    example_audit(folder / "audit")
    return folder


def jsons(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def test_a_panel_is_drawn_from_saved_explanations(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "panel.png"
    code, said = run(
        "panel", *jsons(saved / "grad-cam"), "--columns", "radiograph, fused,predictions",
        "--radiographs", saved / "phantoms" / "images", "--width-mm", 85, "--row-names", "one|two",
        "--boxes", saved / "phantoms" / "BBox_List_2017.csv", "--out", out,
    )  # fmt: skip
    assert code == 0, said
    with Image.open(out) as image:
        assert image.width / 300 * 25.4 == pytest.approx(85, abs=0.1)


def test_a_panel_is_drawn_from_an_audit(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "panel.svg"
    manifest = next((saved / "audit").rglob("manifest.csv"))
    ids = [line.split(",")[0] for line in manifest.read_text().splitlines()[1:3]]
    code, said = run("panel", manifest.parent, *ids, "--style", "dark", "--size", 6, "--out", out)
    assert code == 0, said
    assert "<text" in out.read_text()
    code, said = run("panel", manifest.parent)
    assert (code, "identifiers of its images" in " ".join(said.split())) == (2, True)


def test_methods_are_compared_and_the_numbers_kept(saved: Path, tmp_path: Path) -> None:
    pair = [jsons(saved / method)[0] for method in ("grad-cam", "layercam")]
    out, numbers = tmp_path / "compare.pdf", tmp_path / "numbers.json"
    code, said = run(
        "compare", *pair, "--radiographs", saved / "phantoms" / "images", "--names", "Grad-CAM,LayerCAM",
        "--class-maps", 1, "--numbers", numbers, "--out", out,
    )  # fmt: skip
    assert code == 0, said
    assert out.read_bytes()[:4] == b"%PDF"
    found = json.loads(numbers.read_text())
    assert found["names"] == ["Grad-CAM", "LayerCAM"]
    assert [each["models"]["Grad-CAM"]["rank"] for each in found["pathologies"]][:3] == [1, 2, 3]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("panel", "grad-cam 0"), 2, "with --radiographs"),
        (("panel", "grad-cam 0", "RADIOGRAPHS", "--columns", "fused,Efusion"), 2, "the column 'Efusion'"),
        (("panel", "grad-cam 0", "RADIOGRAPHS", "--crop", "1,2,3"), 2, "LEFT,TOP,RIGHT,BOTTOM"),
        (("panel", "grad-cam 0", "RADIOGRAPHS", "--colours", "Mass"), 2, "--colours 'Mass'"),
        (("panel", "grad-cam 0", "RADIOGRAPHS", "--language", "xx"), 2, "language='xx'"),
        (("panel", "nowhere", "x"), 1, "found no audit"),
        (("compare", "grad-cam 0", "RADIOGRAPHS"), 2, "two or more"),
        (
            ("compare", "grad-cam 0", "grad-cam 1", "RADIOGRAPHS", "--names", "A,B"),
            2,
            "different radiographs",
        ),
        (("compare", "grad-cam 0", "layercam 0", "RADIOGRAPHS", "--names", "A"), 2, "Name them with --names"),
        (("compare", "grad-cam 0", "nowhere"), 2, "without --id"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    saved: Path, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    given: list[object] = []
    for word in words:
        if word == "RADIOGRAPHS":
            given += ["--radiographs", saved / "phantoms" / "images"]
        elif " " in word:
            method, at = word.split()
            given.append(jsons(saved / method)[int(at)])
        else:
            given.append(word)
    out = tmp_path / "figure.pdf"
    found, said = run(*given, "--out", out)
    assert (found, out.exists()) == (code, False), said
    assert message in " ".join(said.split())
    assert said.count("error:") == 1


def test_folders_and_globs_name_saved_explanations(saved: Path, tmp_path: Path) -> None:
    radiographs = ("--radiographs", saved / "phantoms" / "images")
    for given in (saved / "grad-cam", saved / "grad-cam" / "*.json"):
        out = tmp_path / "panel.svg"
        code, said = run("panel", given, *radiographs, "--letters", "A", "--out", out)
        assert code == 0, said
        assert ">D<" in out.read_text()  # two rows of two pictures
    first = jsons(saved / "grad-cam")[0].name
    code, said = run(
        "compare", saved / "*" / first, *radiographs, "--class-maps", 0, "--out", tmp_path / "compare.svg"
    )
    assert code == 0, said
    assert ">A grad-cam<" in (tmp_path / "compare.svg").read_text()


@pytest.mark.parametrize(
    "command", ["panel", "compare", "numbers over an input", "numbers over a radiograph"]
)
def test_nothing_that_is_read_is_written_over(command: str, saved: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    shutil.copytree(saved / "grad-cam", copies)
    radiograph = shutil.copy(sorted((saved / "phantoms" / "images").glob("*.png"))[0], tmp_path / "a.png")
    first = jsons(copies)[0]
    before = {path: path.read_bytes() for path in (radiograph, first)}
    pair = (first, jsons(saved / "layercam")[0])
    beside = ("--radiographs", radiograph, "--names", "A,B")
    words = {
        "panel": ("panel", first, "--radiographs", radiograph, "--out", radiograph),
        "compare": ("compare", *pair, *beside, "--out", radiograph),
        "numbers over an input": ("compare", *pair, *beside, "--out", tmp_path / "c.png", "--numbers", first),
        "numbers over a radiograph": (
            "compare", *pair, *beside, "--out", tmp_path / "c.png", "--numbers", radiograph,
        ),
    }[command]  # fmt: skip
    code, said = run(*words)
    assert code == 2
    assert "would replace the file of" in said
    assert {path: path.read_bytes() for path in before} == before


def test_the_help_says_how_options_are_spelt() -> None:
    code, said = run("panel", "--help")
    assert code == 0
    assert "--scale_bar" not in said
    assert "animation" not in said
    assert "animation" in run("figure", "--help")[1]
